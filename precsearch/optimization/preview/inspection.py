"""`inspect`: what precsearch sees in a model, and with data, what FP16 would get wrong in it.

What only some options need is imported late: most of precsearch, and a third of the CPU time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from precsearch.backends.auto import backend_name
from precsearch.core.errors import OptionError
from precsearch.core.precision import Encoding, Precision
from precsearch.core.space import SearchSpace
from precsearch.data.spec import InputSpec, input_specs
from precsearch.graph.reading.read import read_model
from precsearch.grouping.control import NO_CONTROL, Control
from precsearch.grouping.group import group
from precsearch.hazards import suspected
from precsearch.optimization.explanation.authors_qdq import products_kept
from precsearch.optimization.preview.counted import Counted, counted, counted_for
from precsearch.optimization.preview.fp32_time import Fp32Time, found_beside
from precsearch.setup.target import Target, open_target

if TYPE_CHECKING:
    from precsearch.core.problem import Prior
    from precsearch.data import Dataset
    from precsearch.graph.view import GraphView
    from precsearch.hazards.statistics import ScreenStatistics

__all__ = ["Inspection", "inspect"]

_HALF = frozenset({Precision.FP32, Precision.FP16})


@dataclass(frozen=True)
class Inspection:
    """A model and its groups.

    Attributes:
        model: File name.
        sha256: Of the file and its external weights, as hex.
        opset: Of the default operators, as in the file.
        nodes: Of the prepared main graph.
        weights_bytes: Of its constants.
        inputs, outputs: A description each.
        space: The groups, with their work for one sample.
        counted: How much the model computes, and what of it no search can decide.
        hazards: Groups that a search would start without a precision, and why. Where the backend
            runs no float format below FP32, those that FP16 would have on another one.
        samples: Samples that hazards were looked for in; 0: in the constants alone.
        judged: Float precisions that hazards were looked for in, the most precise first.
        fp32: Time of the FP32 engine by group, ``None`` where nobody has measured it.
        products: Convolutions and matrix products of the main graph.
        kept: How many of them stand between the author's Q/DQ, and keep those.
    """

    model: str
    sha256: str
    opset: int
    nodes: int
    weights_bytes: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    space: SearchSpace
    counted: Counted
    hazards: tuple[Prior, ...] = ()
    samples: int = 0
    judged: tuple[Precision, ...] = ()
    fp32: Fp32Time | None = None
    products: int = 0
    kept: int = 0

    @property
    def decidable_time(self) -> tuple[float, float, float] | None:
        """Share of the FP32 time in groups with more than one choice: mean, lowest, highest."""
        return None if self.fp32 is None else self.fp32.share({g.key for g in self.space.free})


def inspect(
    model: str | Path,
    *,
    backend: str = "auto",
    precisions: tuple[Precision, ...] | None = None,
    granularity: str = "group",
    data: str | Path | None = None,
    run: str | Path | None = None,
    profile: bool = False,
    threads: int = 0,
    control: Control = NO_CONTROL,
    preprocess: str = "",
) -> Inspection:
    """Read, prepare and group a model; with data, run it once for each sample.

    The FP32 time of the groups is that of ``run``, of a new profile, or of a run of this model that
    is found beside it or in the working directory.

    Args:
        model: The ONNX file.
        backend: Name of the engine.
        precisions: What groups may be given; ``None`` is everything that the backend truly runs.
        granularity: ``node``, ``group`` or ``block``.
        data: Samples to look for hazards in, and to time with.
        run: The run directory or journal of an earlier `precsearch.optimize` of this model.
        profile: Time the FP32 engine now, for some seconds.
        threads: CPU threads of one inference that is timed; 0 is the number of physical cores.
        control: What a search would be told to leave as it is.
        preprocess: Steps that make samples of pictures or sounds.

    Raises:
        InputError: The model or the data cannot be read, or an option is wrong.
        WorkerError: ONNX Runtime crashed or hung on the model.
    """
    _check_profile(profile, data, run)
    source, named = read_model(Path(model)), backend_name(backend)
    target = open_target(source, named, precisions, granularity, threads, control=control)
    source, graph = target.source, target.graph
    specs = input_specs(graph.inputs)
    given = None if data is None else _loaded(Path(data), specs, preprocess)
    offered = precisions or target.facts.offered or target.backend.precisions
    work = counted(target, offered) if given is None else counted_for(target, given, offered)
    judged = _judged(target, precisions)
    kept, products = products_kept(graph)
    return Inspection(
        model=source.path.name,
        sha256=source.digest,
        opset=source.opset,
        nodes=len(graph.nodes),
        weights_bytes=int(sum(w.size * w.tensor.dtype.itemsize for w in graph.weights.values())),
        inputs=tuple(map(str, specs)),
        outputs=tuple(o.name for o in graph.outputs),
        space=work.space,
        counted=work,
        hazards=_hazards(target, judged, given, work.graph),
        samples=0 if given is None else sum(given.sizes),
        judged=judged,
        products=products,
        kept=kept,
        fp32=_fp32_time(target, run, given if profile else None),
    )


def _check_profile(profile: bool, data: str | Path | None, run: str | Path | None) -> None:
    if profile and data is None:
        raise OptionError("--profile times the FP32 engine on your samples; add --data")
    if profile and run is not None:
        raise OptionError("the FP32 time is either a run's or timed now; drop --run or --profile")


def _loaded(data: Path, specs: tuple[InputSpec, ...], preprocess: str) -> Dataset:
    from precsearch.data.load import load

    return load(data, specs, preprocess=preprocess)


def _fp32_time(target: Target, run: str | Path | None, timed: Dataset | None) -> Fp32Time | None:
    """Of the groups: timed now on these samples, or by a run."""
    if timed is not None:
        from precsearch.optimization.preview.fp32_sources import profiled

        return profiled(target, timed)
    if run is not None:
        from precsearch.optimization.preview.fp32_sources import from_run

        return from_run(target, Path(run))
    return found_beside(target)


def _screened(target: Target, samples: Dataset) -> ScreenStatistics:
    from precsearch.executors.open import worker_here
    from precsearch.optimization.stages.screen import screen_feeds

    with worker_here(target.source, target.facts) as worker:
        return screen_feeds(target, samples.feeds, worker)


def _judged(target: Target, precisions: tuple[Precision, ...] | None) -> tuple[Precision, ...]:
    """Float precisions below FP32 of a search; FP16, where the backend has none to choose from."""
    offered = target.space.precisions
    casts = tuple(p for p in offered if p.spec.encoding is Encoding.CAST)
    return casts or ((Precision.FP16,) if precisions is None else ())


def _hazards(
    target: Target,
    judged: tuple[Precision, ...],
    samples: Dataset | None,
    sized: GraphView,
) -> tuple[Prior, ...]:
    statistics = None if samples is None else _screened(target, samples)
    if not judged:
        return ()
    if set(judged).isdisjoint(target.space.precisions):
        if not suspected(sized, statistics):
            return ()  # grouping once more takes long in a large model
        space = group(target.graph, target.scheme, _HALF, target.space.granularity, target.form)
        target = replace(target, space=space)
    from precsearch.optimization.stages.screen import priors_of

    return priors_of(replace(target, graph=sized), statistics)
