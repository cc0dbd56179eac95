"""Engines that `diagnose` looks into: how one is opened, and what its kernels tell."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

from precsearch.core.backend import Backend, Feed, facts_of
from precsearch.core.precision import Precision
from precsearch.diagnosis.cut_engine import Cutter, EngineCuts, open_cutter
from precsearch.diagnosis.exposed_engine import EngineTensors
from precsearch.emulation.configuration import Configuration
from precsearch.executors.open import open_executor
from precsearch.graph.view import GraphView
from precsearch.lowering.lower import Lowered
from precsearch.measurement.build_service import BUILD_LIMIT_S
from precsearch.measurement.profiling import achieved_precisions
from precsearch.reference.inner_tensors import TensorSource
from precsearch.setup.shapes import shape_table

__all__ = ["OpenedEngine", "open_cuts", "open_outputs"]


@dataclass(frozen=True)
class OpenedEngine:
    """An engine that can be looked into.

    Attributes:
        inside: Its tensors.
        achieved: What groups ran in, where it tells.
        notes: What looking changed, known once it was looked.
        close: Frees it.
    """

    inside: TensorSource
    achieved: Mapping[str, Precision]
    notes: Callable[[], tuple[str, ...]]
    close: Callable[[], None]


def open_outputs(
    backend: Backend, graph: GraphView, lowered: Lowered, tensors: Sequence[str], feed: Feed
) -> OpenedEngine:
    """An engine of ONNX Runtime, with extra outputs.

    Raises:
        EngineError: The engine does not build or run.
    """
    engine = EngineTensors(backend, graph, lowered, tensors)
    session = backend.open(backend.build(lowered.model), profiled=True)
    kernels = session.profile(feed, 1)
    session.close()
    achieved = achieved_precisions(kernels, lowered.asked, lowered.owners)
    return OpenedEngine(engine, achieved, lambda: _told(engine), lambda: None)


def _told(engine: EngineTensors) -> tuple[str, ...]:
    if not engine.changed:
        return ("looking inside did not change what the engine gives",)
    return (
        f"looking inside changed what the engine gives by {engine.changed:.2g} (relative L2): "
        "what is exposed is fused no more",
    )


def open_cuts(
    configuration: Configuration,
    lowered: Lowered,
    tensors: Sequence[str],
    feeds: Sequence[Feed],
) -> OpenedEngine:
    """Build an engine in a process of its own, ready to be cut.

    Args:
        configuration: Its model, and what constructs its backend there.
        lowered: What the engine is built from.
        tensors: Tensors to show.
        feeds: What it will be run on.

    Raises:
        OptionError: The backend is not installed here.
        EngineError: The engine does not build or run.
        WorkerError: It crashed, or took too long.
    """
    shaped = replace(configuration.options, shapes=shape_table(feeds), model_folder="", cache="")
    facts = facts_of(configuration.backend)
    with ExitStack() as stack:
        executor = stack.enter_context(open_executor(configuration.source, facts))
        worker = executor.open(
            executor.devices()[0],
            open_cutter,
            configuration.factory,
            shaped,
            limit_s=BUILD_LIMIT_S,
        )
        stack.callback(worker.close)
        kernels = worker.call(Cutter.plain, lowered.model, feeds[0])
        inside = EngineCuts(worker, configuration.graph, lowered, tensors)
        achieved = achieved_precisions(
            kernels,
            lowered.asked,
            lowered.owners,
            unlisted=facts.unlisted_node,
            told=worker.call(Cutter.told, lowered.products),
        )
        return OpenedEngine(inside, achieved, inside.notes, stack.pop_all().close)
