"""Everything before the first trial: model, data, groups, reference outputs, calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from precsearch._version import __version__
from precsearch.api.config import OptimizeConfig
from precsearch.api.shapes import (
    SetData,
    ShapeSet,
    ShapeTable,
    Timed,
    in_terms_of_sets,
    open_data,
    set_data,
    shape_table,
    timed_again,
    timed_feeds,
    timed_sets,
)
from precsearch.api.unsearched import unsearched
from precsearch.backend import Backend, BackendOptions, Feed, GraphForm, QuantScheme
from precsearch.codec import dumps, unstructure
from precsearch.data import Dataset, InputSpec, Parts, input_specs
from precsearch.errors import DataError, ModelError, OptionError
from precsearch.measure import Load
from precsearch.metrics import Metric, code_digest, metric, resolution
from precsearch.onnxio.convert import without_names
from precsearch.onnxio.cures import Recorded
from precsearch.onnxio.graph import GraphView
from precsearch.onnxio.group import group
from precsearch.onnxio.prepare import prepare
from precsearch.onnxio.read import SourceModel, read_model
from precsearch.onnxio.undecided import hidden_layers
from precsearch.reference.ranges import check_method
from precsearch.registry import BackendFactory, backend_factory
from precsearch.space import Precision, SearchSpace

__all__ = [
    "Inputs",
    "Target",
    "identity",
    "open_inputs",
    "open_target",
]


@dataclass(frozen=True)
class Target:
    """A model and the backend that it is for.

    Attributes:
        source: The model as read.
        graph: Prepared.
        space: Its groups.
        backend: For its declarations; engines are opened in workers.
        scheme: How INT8 is written: the backend's own, or that of a plan.
        form: What kind of graph it builds from, likewise.
        factory: Constructs the backend there.
        options: Its knobs.
        cures: Rewrites that the source has gone through since it was read.
    """

    source: SourceModel
    graph: GraphView
    space: SearchSpace
    backend: Backend
    scheme: QuantScheme
    form: GraphForm
    factory: BackendFactory
    options: BackendOptions
    cures: tuple[Recorded, ...] = ()

    @property
    def digest(self) -> str:
        """Of the model, with its cures if it has any."""
        digest = self.source.digest
        return f"{digest} {_cures(self)}" if self.cures else digest

    @property
    def reference_model(self) -> bytes | str:
        """What the reference runs: the file itself, so that external weights are found."""
        source = read_model(self.source.path) if self.cures else self.source
        anonymous = without_names(source.proto)
        if anonymous is not None:
            return bytes(anonymous.SerializeToString())
        return str(self.source.path.resolve())


def open_target(
    source: SourceModel,
    backend: str,
    precisions: tuple[Precision, ...] | None,
    granularity: str,
    threads: int,
    scheme: str | None = None,
    *,
    form: str | None = None,
    build: Mapping[str, str] | None = None,
    shapes: ShapeTable = (),
) -> Target:
    """Prepare and group a model for a backend.

    Args:
        source: The model as read.
        backend: Name of the backend.
        precisions: What groups may be given; ``None`` is all that the backend truly runs.
        granularity: ``node``, ``group`` or ``block``.
        threads: CPU threads of one inference.
        scheme: Name of a plan's quantisation scheme; ``None`` is the one for this machine.
        form: Name of a plan's graph form, likewise.
        build: Options that the backend alone knows, by name.
        shapes: Sets of input shapes that engines are built for, if known already.

    Raises:
        OptionError: The backend is unknown or does not truly run a precision.
        ModelError: The graph is malformed, or of a newer operator set than the backend reads.
    """
    factory = backend_factory(backend)
    folder = str(source.folder) if source.external else ""
    options = BackendOptions(threads, folder, shapes, dict(build or {}))
    made = factory(options)
    wanted = frozenset(precisions or made.precisions) | {Precision.FP32}
    missing = wanted - made.precisions
    if missing:
        raise OptionError(
            f"the {backend} backend does not truly run {min(missing)}: {made.refusal}; leave it "
            "out of --precisions"
        )
    chosen = made.scheme if scheme is None else made.scheme_named(scheme)
    written = made.form if form is None else made.form_named(form)
    if written.max_opset is not None and source.opset > written.max_opset:
        raise ModelError(
            f"the {backend} backend reads operator sets up to {written.max_opset} here, the model "
            f"has {source.opset}; export it with opset {written.max_opset}"
        )
    graph = prepare(source, written.min_opset)
    space = group(graph, chosen, wanted, granularity)
    return Target(source, graph, space, made, chosen, written, factory, options)


@dataclass(frozen=True)
class Inputs:
    """A run's data.

    Attributes:
        data: Samples to calibrate and search with.
        parts: How they are split.
        metric: The loss.
        bound: The user's tolerance as a bound on the loss.
        loads: What is timed.
        notes: What the user should know of that.
        specs: The model's inputs.
        sets: Sets of input shapes that the user named.
        seed: Of random numbers.
    """

    data: Dataset
    parts: Parts
    metric: Metric
    bound: float
    loads: tuple[Load, ...]
    notes: tuple[str, ...] = ()
    specs: tuple[InputSpec, ...] = ()
    sets: tuple[ShapeSet, ...] = ()
    seed: int = 0

    def beside(self, part: Dataset) -> tuple[SetData, ...]:
        """What engines are scored on beside a part of the data: its samples at other shapes."""
        found = (set_data(one, part, self.specs, self.seed)[0] for one in self.sets)
        return tuple(one for one in found if one.judged)

    def warnings(self, tolerance: float) -> tuple[str, ...]:
        """What the user should know before the search."""
        said = [*self.data.notes, *self.parts.notes, *self.notes]
        if self.data.random:
            said.insert(
                0,
                "no --data was given: losses are measured on random numbers and say little about "
                "real inputs",
            )
        step = resolution(self.metric, self.parts.search.samples)
        if step > tolerance:
            said.append(
                f"{self.parts.search.samples} samples resolve {self.metric.name} in steps of "
                f"{step:.2g}, coarser than the tolerance {tolerance:g}: give more samples"
            )
        return tuple(said)

    @property
    def shapes(self) -> ShapeTable:
        """The sets of input shapes that an engine will meet, those of the data first."""
        timed = (feed for load in self.loads for feed in load.feeds)
        return shape_table((*self.data.feeds, *self._held_out(), *timed))

    def _held_out(self) -> Sequence[Feed]:
        return () if self.parts.holdout is None else self.parts.holdout.feeds

    def facts(self) -> dict[str, str | int | bool]:
        """What the plan says about the data."""
        holdout = self.parts.holdout
        return {
            "digest": self.data.digest,
            "random": self.data.random,
            "calibration_samples": sum(self.parts.calibration.sizes),
            "search_samples": sum(self.parts.search.sizes),
            "holdout_samples": sum(holdout.sizes) if holdout is not None else 0,
            "holdout": "none" if holdout is None else holdout.digest,
        }


def open_inputs(
    config: OptimizeConfig,
    graph: GraphView,
    timed_at: Mapping[str, tuple[int, ...]] | None = None,
) -> Inputs:
    """Read and split the data.

    Args:
        config: What was asked.
        graph: The prepared model.
        timed_at: The shapes that a plan was timed at, which is timed again; ``None`` for a search.

    Raises:
        DataError: A source does not fit the model.
        OptionError: The metric is unknown or lacks what it needs.
    """
    check_method(config.calibration_method)
    specs: tuple[InputSpec, ...] = input_specs(graph.inputs)
    outputs = tuple(o.name for o in graph.outputs)

    def opened(path: Path | None) -> Dataset:
        return open_data(
            path,
            specs,
            batch=config.batch,
            shapes=config.data_shapes,
            seed=config.seed,
            outputs=outputs,
        )

    with in_terms_of_sets() if config.shapes else nullcontext():
        data = opened(config.data)
        holdout = opened(config.holdout) if config.holdout else None
        calibration = opened(config.calibration) if config.calibration else None
    parts = data.split(holdout=holdout, calibration=calibration, seed=config.seed)
    measure = metric(config.metric)
    for name, part in (("data", parts.search), ("holdout", parts.holdout)):
        if measure.needs_labels and part is not None and part.labels is None:
            raise DataError(
                f"the metric {config.metric!r} needs labels, which the {name} lacks: store them "
                "under the key 'labels', or choose another --metric"
            )
    if timed_at is None or config.shapes:
        timed = _timed(config, parts.search, specs)
    else:
        timed = timed_again(data, specs, timed_at)
    notes, sets = (*unsearched(hidden_layers(graph)), *timed.notes), tuple(config.shapes)
    bound = measure.bound(config.tol)
    return Inputs(data, parts, measure, bound, timed.loads, notes, specs, sets, config.seed)


def _timed(config: OptimizeConfig, part: Dataset, specs: tuple[InputSpec, ...]) -> Timed:
    if not config.shapes:
        return timed_feeds(part, specs, config.input_shapes)
    with in_terms_of_sets():
        return timed_sets(config.shapes, part, specs, config.seed)


def identity(config: OptimizeConfig, target: Target, inputs: Inputs) -> dict[str, str]:
    """What a resumed run must agree in, by name."""
    holdout = inputs.parts.holdout
    calibration = inputs.parts.calibration
    return {
        "model": target.source.digest,
        "cures": _cures(target),
        "precisions": ",".join(str(p) for p in target.space.precisions),
        "space": target.space.digest,
        "data": inputs.data.digest,
        "calibration": f"{config.calibration_method} {calibration.digest}",
        "holdout": "none" if holdout is None else holdout.digest,
        "backend": config.backend,
        "scheme": target.scheme.name,
        "tol": repr(config.tol),
        "metric": f"{inputs.metric.name} {code_digest(inputs.metric)}".rstrip(),
        "strategy": config.strategy,
        "seed": str(config.seed),
        "threads": str(config.threads),
        "build": dumps(unstructure(dict(config.build_options))),
        "batch": str(config.batch),
        "input-shape": dumps(unstructure(dict(config.input_shapes))),
        "shapes": " ".join(map(str, config.shapes)),
        "version": __version__,
    }


def _cures(target: Target) -> str:
    return dumps([[name, dict(params)] for name, params in target.cures])
