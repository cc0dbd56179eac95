"""Opens a configuration, and what its inner tensors are read from: its engine, or an emulation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from precsearch.backends.auto import backend_name
from precsearch.core.backend import Feed, facts_of
from precsearch.core.errors import EngineError, OptionError, WorkerError
from precsearch.core.precision import Precision
from precsearch.core.space import Assignment
from precsearch.diagnosis.engine_tensors import OpenedEngine, open_cuts, open_outputs
from precsearch.emulation.configuration import Configuration
from precsearch.emulation.single_group import SingleGroupLoss
from precsearch.graph.reading.read import read_model
from precsearch.grouping.group import group
from precsearch.lowering.qdq.reach import node_groups
from precsearch.lowering.qdq.scales import ScaleSource
from precsearch.plan.plan import read_plan
from precsearch.reference.inner_tensors import OrtTensors, TensorSource
from precsearch.replay.materialize import materialize
from precsearch.setup.target import open_target

__all__ = ["OpenedConfiguration", "look", "open_configuration"]

_ROUNDED = (
    "FP32 arithmetic with every stored tensor truly rounded: accumulation inside a kernel is "
    "exact, which an engine's is not"
)


@dataclass(frozen=True)
class OpenedConfiguration:
    """A configuration that is ready to be looked into.

    Attributes:
        reference: FP32.
        inside: The configuration.
        assignment: Of the configuration, without INT8 where the samples give no range.
        achieved: What groups ran in, where the engine tells.
        alone: The loss of the outputs if one group alone is in the configuration.
        notes: What looking changed, known once it was looked.
        close: Frees what was opened for it.
    """

    reference: OrtTensors
    inside: TensorSource
    assignment: Assignment
    achieved: Mapping[str, Precision]
    alone: Callable[[str], float | None]
    notes: Callable[[], tuple[str, ...]] = field(default=lambda: ())
    close: Callable[[], None] = field(default=lambda: None)

    def of(self, engine: OpenedEngine) -> OpenedConfiguration:
        """The same with an engine's inside."""
        return replace(
            self,
            inside=engine.inside,
            achieved=engine.achieved,
            notes=engine.notes,
            close=engine.close,
        )


def look(configuration: Configuration, feeds: Sequence[Feed]) -> OpenedConfiguration:
    """Make a configuration ready to be looked into, for these samples.

    Raises:
        ModelError: ONNX Runtime refuses the model, or a tensor cannot be quantized.
    """
    scales, assignment = configuration.assigned(feeds)
    plain = configuration.flat(Assignment(), scales)
    flat = configuration.flat(assignment, scales)
    tensors = tuple(
        t for n in configuration.graph.nodes for t in n.outputs if configuration.graph.is_float(t)
    )
    reference = configuration.inside(plain, tensors, "FP32")
    context = configuration.context(scales)
    alone = SingleGroupLoss(context, assignment, configuration.model_folder, feeds)
    emulated = OpenedConfiguration(
        reference, configuration.inside(flat, tensors, _ROUNDED), assignment, {}, alone.loss
    )
    asked = {p for _, p in assignment.entries}
    if not asked or not asked <= configuration.backend.precisions:
        return emulated
    facts = facts_of(configuration.backend)
    if facts.can_be_cut and configuration.factory is not None:
        return _cut(configuration, emulated, assignment, scales, feeds)
    if asked == {Precision.INT8} and facts.artifact_is_model:
        lowered = configuration.lowered(assignment, scales)
        engine = open_outputs(
            configuration.backend, configuration.graph, lowered, _handed_on(configuration), feeds[0]
        )
        return emulated.of(engine)
    return emulated


def _cut(
    configuration: Configuration,
    emulated: OpenedConfiguration,
    assignment: Assignment,
    scales: ScaleSource,
    feeds: Sequence[Feed],
) -> OpenedConfiguration:
    """A look into engines that are cut; into the emulation if there is no engine here."""
    assert configuration.factory is not None, "or there is nothing to cut"
    lowered, tensors = configuration.lowered(assignment, scales), _handed_on(configuration)
    try:
        cut = open_cuts(configuration, lowered, tensors, feeds)
    except (EngineError, WorkerError, OptionError) as error:
        note = f"the engine itself does not run here, so that it was emulated: {error}"
        return replace(emulated, notes=lambda: (note,))
    return emulated.of(cut)


def _handed_on(configuration: Configuration) -> list[str]:
    """What another group reads, or the user."""
    owners = node_groups(configuration.space)
    tensors = []
    for node in configuration.graph.nodes:
        for tensor in node.outputs:
            readers = {owners.get(u.key) for u in configuration.graph.users(tensor)}
            handed = tensor in configuration.graph.output_names or readers - {owners.get(node.key)}
            if tensor and configuration.graph.is_float(tensor) and handed:
                tensors.append(tensor)
    return tensors


def _planned(plan: Path, model: Path) -> Configuration:
    materialized = materialize(read_plan(plan), model, None)
    target, lowering = materialized.target, materialized.lowering
    return Configuration(
        f"the plan {plan.name}",
        target.graph,
        target.space,
        materialized.plan.recipe.assignment,
        target.backend,
        target.scheme,
        target.form,
        lowering.scales,
        target.options.model_folder,
        target.source,
        target.factory,
        target.options,
        told=materialized.plan.notes,
    )


def open_configuration(
    model: Path, precision: Precision, plan: Path | None, backend: str, granularity: str
) -> Configuration:
    """Read a model, and a plan if there is one.

    Raises:
        InputError: One cannot be read, or an option is wrong.
        ReplayError: The plan is another model's.
    """
    if plan is not None:
        return _planned(plan, model)
    target = open_target(
        read_model(model), backend_name(backend), (Precision.FP32,), granularity, 0
    )
    precisions = frozenset({Precision.FP32, precision})
    space = group(target.graph, target.scheme, precisions, granularity, target.form)
    if precision is not Precision.FP32 and not space.free:
        raise OptionError(f"nothing in this model can run in {precision}; choose another one")
    return Configuration(
        f"all that can in {precision.value.upper()}",
        target.graph,
        space,
        space.uniform(precision),
        target.backend,
        target.scheme,
        target.form,
        None,
        target.options.model_folder,
        target.source,
        target.factory,
        target.options,
    )
