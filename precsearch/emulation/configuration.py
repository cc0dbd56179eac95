"""Configurations to look into: an assignment of a model, and its emulation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from precsearch.calibration.ranges import Calibration, collect_ranges
from precsearch.core.backend import Backend, BackendOptions, Feed, GraphForm, QuantScheme
from precsearch.core.precision import Precision
from precsearch.core.space import Assignment, SearchSpace
from precsearch.emulation.single import FlatProxy
from precsearch.graph.reading.read import SourceModel
from precsearch.graph.view import GraphView
from precsearch.grouping.group import group
from precsearch.lowering.context import LoweringContext
from precsearch.lowering.lower import Lowered, Lowering
from precsearch.lowering.qdq.reach import quantizable
from precsearch.lowering.qdq.scales import RangeScales, ScaleSource
from precsearch.reference.inner_tensors import OrtTensors
from precsearch.registry import BackendFactory

__all__ = ["MAX_EMULATED_FEEDS", "Configuration", "outputs_of"]

MAX_EMULATED_FEEDS = 64
"""Feeds that a configuration is looked at with: more take time and change no finding."""


@dataclass(frozen=True)
class Configuration:
    """An assignment of a model.

    Attributes:
        asked: In words.
        graph: The prepared model.
        space: Its groups.
        assignment: Canonical.
        backend: Whose rules are followed.
        scheme, form: Those rules.
        scales: A plan's; ``None`` is to be calibrated on the samples.
        model_folder: Folder of external weights.
        source: The model as read.
        factory, options: Construct the backend in a worker, if its engines may be looked into.
        told: What is to be said about the plan's file.
    """

    asked: str
    graph: GraphView
    space: SearchSpace
    assignment: Assignment
    backend: Backend
    scheme: QuantScheme
    form: GraphForm
    scales: ScaleSource | None
    model_folder: str
    source: SourceModel
    factory: BackendFactory | None = None
    options: BackendOptions = field(default_factory=BackendOptions)
    told: tuple[str, ...] = ()

    def lowered(self, assignment: Assignment, scales: ScaleSource) -> Lowered:
        """The model of an assignment as its engine is built from it.

        Raises:
            ModelError: A tensor to quantize was not calibrated.
        """
        return Lowering(self.graph, self.space, self.scheme, scales, self.form).lower(assignment)

    def context(self, scales: ScaleSource) -> LoweringContext:
        """How assignments of this model are written with these scales."""
        return LoweringContext(self.graph, self.space, self.scheme, scales, self.form)

    def of(self, graph: GraphView) -> Configuration:
        """The same for a rewritten graph: everything that can, in the lowest precision of this."""
        lowest = max((p for _, p in self.assignment.entries), key=lambda p: p.rank)
        precisions = frozenset({Precision.FP32, *(p for _, p in self.assignment.entries)})
        space = group(graph, self.scheme, precisions, self.space.granularity, self.form)
        same = {g.key: self.assignment[g.key] for g in space.groups if g.key in self.space.by_key}
        new = {g.key: g.nearest(lowest) for g in space.free if g.key not in self.space.by_key}
        fits = {k: p for k, p in same.items() if p in space.by_key[k].choices}
        assignment = space.canonical(Assignment.of({**fits, **new}))
        return replace(self, graph=graph, space=space, assignment=assignment)

    def flat(self, assignment: Assignment, scales: ScaleSource) -> FlatProxy:
        """The emulation of an assignment.

        Raises:
            ModelError: A tensor to quantize was not calibrated.
        """
        return FlatProxy(self.context(scales), assignment)

    def inside(self, flat: FlatProxy, tensors: tuple[str, ...], how: str) -> OrtTensors:
        """A look into an emulation."""
        return OrtTensors(
            how, tensors, flat.with_outputs, flat.name, exact=True, model_folder=self.model_folder
        )

    def assigned(self, feeds: Sequence[Feed]) -> tuple[ScaleSource, Assignment]:
        """The scales, and the assignment without INT8 where there are none.

        Raises:
            ModelError: ONNX Runtime refuses the model.
        """
        if self.scales is not None:
            return self.scales, self.assignment
        tensors = quantizable(self.graph, self.scheme, self.space)
        wanted = tuple(sorted(frozenset().union(*tensors.values())))
        if not self.assignment.keys_at(Precision.INT8):
            return RangeScales({}, self.scheme), self.assignment
        whole = FlatProxy(
            LoweringContext(self.graph, self.space, self.scheme, RangeScales({}, self.scheme)),
            Assignment(),
        )
        names = {whole.name(t): t for t in wanted}
        model = whole.with_outputs([o.name for o in self.graph.outputs])
        calibration = Calibration(model, self.model_folder, tuple(names))
        ranges = {names[n]: r for n, r in collect_ranges(calibration, feeds).items()}
        bad = {key for key, ts in tensors.items() if not ts <= ranges.keys()}
        kept = self.space.canonical(self.assignment.with_(dict.fromkeys(bad, Precision.FP32)))
        return RangeScales(ranges, self.scheme), kept


def outputs_of(
    configuration: Configuration,
    scales: ScaleSource,
    assignment: Assignment,
    feeds: Sequence[Feed],
) -> list[dict[str, np.ndarray]]:
    """The model's float outputs in an assignment, emulated.

    Raises:
        ModelError: ONNX Runtime refuses the model.
        RunError: It fails on the samples.
    """
    graph = configuration.graph
    outputs = tuple(o.name for o in graph.outputs if graph.is_float(o.name))
    if not outputs:  # integers or sequences alone: there is nothing to be off by
        return [{} for _ in feeds]
    flat = configuration.flat(assignment, scales)
    look = configuration.inside(flat, outputs, "").open(outputs)
    return [look.run(feed) for feed in feeds]
