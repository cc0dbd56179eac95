"""Configurations to look into: what is asked for, and how its inner tensors are seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from precsearch.api.alone import Alone
from precsearch.api.opening import Opened, open_cuts, open_outputs
from precsearch.api.replay import materialise
from precsearch.api.setup import open_target
from precsearch.backend import (
    Backend,
    BackendOptions,
    Feed,
    GraphForm,
    QuantScheme,
)
from precsearch.errors import EngineError, OptionError, WorkerError
from precsearch.onnxio.graph import GraphView
from precsearch.onnxio.group import group
from precsearch.onnxio.layout import node_groups, quantisable
from precsearch.onnxio.lower import Lowered, Lowering
from precsearch.onnxio.proxyflat import FlatProxy
from precsearch.onnxio.read import SourceModel, read_model
from precsearch.onnxio.scales import RangeScales, ScaleSource
from precsearch.plan import read_plan
from precsearch.reference.inside import Inside, OrtInside
from precsearch.reference.ranges import Calibration, collect_ranges
from precsearch.registry import BackendFactory, backend_name
from precsearch.space import Assignment, Precision, SearchSpace

__all__ = ["Configuration", "Looked", "open_configuration", "outputs_of"]

_ROUNDED = (
    "FP32 arithmetic with every stored tensor truly rounded: accumulation inside a kernel is "
    "exact, which an engine's is not"
)


@dataclass(frozen=True)
class Looked:
    """A configuration that is ready to be looked into.

    Attributes:
        reference: FP32.
        inside: The configuration.
        achieved: What groups ran in, where the engine tells.
        alone: The loss of the outputs if one group alone is in the configuration.
        notes: What looking changed, known once it was looked.
        close: Frees what was opened for it.
    """

    reference: OrtInside
    inside: Inside
    achieved: Mapping[str, Precision]
    alone: Callable[[str], float | None]
    notes: Callable[[], tuple[str, ...]] = field(default=lambda: ())
    close: Callable[[], None] = field(default=lambda: None)

    def of(self, engine: Opened) -> Looked:
        """The same with an engine's inside."""
        return replace(
            self,
            inside=engine.inside,
            achieved=engine.achieved,
            notes=engine.notes,
            close=engine.close,
        )


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

    def look(self, feeds: Sequence[Feed]) -> Looked:
        """Make it ready for these samples.

        Raises:
            ModelError: ONNX Runtime refuses the model, or a tensor cannot be quantised.
        """
        scales, assignment = self.assigned(feeds)
        plain = self.flat(Assignment(), scales)
        flat = self.flat(assignment, scales)
        tensors = tuple(t for n in self.graph.nodes for t in n.outputs if self.graph.is_float(t))
        reference = self.inside(plain, tensors, "FP32")
        alone = Alone(
            self.graph,
            self.space,
            self.scheme,
            self.form,
            self.model_folder,
            assignment,
            scales,
            feeds,
        )
        emulated = Looked(reference, self.inside(flat, tensors, _ROUNDED), {}, alone.loss)
        asked = {p for _, p in assignment.entries}
        if not asked or not asked <= self.backend.precisions:
            return emulated
        if self.backend.compiles and self.factory is not None:
            return self._cut(emulated, assignment, scales, feeds)
        if asked == {Precision.INT8} and self.backend.name == "onnxruntime":
            lowered = self._lowered(assignment, scales)
            engine = open_outputs(self.backend, self.graph, lowered, self._handed_on(), feeds[0])
            return emulated.of(engine)
        return emulated

    def _cut(
        self,
        emulated: Looked,
        assignment: Assignment,
        scales: ScaleSource,
        feeds: Sequence[Feed],
    ) -> Looked:
        """A look into engines that are cut; into the emulation if there is no engine here."""
        assert self.factory is not None, "or there is nothing to cut"
        lowered, wanted = self._lowered(assignment, scales), self._handed_on()
        try:
            cut = open_cuts(self.factory, self.options, self.graph, lowered, wanted, feeds)
        except (EngineError, WorkerError, OptionError) as error:
            said = f"the engine itself does not run here, so that it was emulated: {error}"
            return replace(emulated, notes=lambda: (said,))
        return emulated.of(cut)

    def _lowered(self, assignment: Assignment, scales: ScaleSource) -> Lowered:
        return Lowering(self.graph, self.space, self.scheme, scales, self.form).lower(assignment)

    def _handed_on(self) -> list[str]:
        """What another group reads, or the user."""
        owners = node_groups(self.space)
        found = []
        for node in self.graph.nodes:
            for tensor in node.outputs:
                readers = {owners.get(u.key) for u in self.graph.users(tensor)}
                handed = tensor in self.graph.output_names or readers - {owners.get(node.key)}
                if tensor and self.graph.is_float(tensor) and handed:
                    found.append(tensor)
        return found

    def of(self, graph: GraphView) -> Configuration:
        """The same for a rewritten graph: everything that can, in the lowest precision of this."""
        lowest = min((p for _, p in self.assignment.entries), key=lambda p: p.bits)
        wanted = frozenset({Precision.FP32, *(p for _, p in self.assignment.entries)})
        space = group(graph, self.scheme, wanted, self.space.granularity)
        same = {g.key: self.assignment[g.key] for g in space.groups if g.key in self.space.by_key}
        new = {g.key: g.nearest(lowest) for g in space.free if g.key not in self.space.by_key}
        fits = {k: p for k, p in same.items() if p in space.by_key[k].choices}
        assignment = space.canonical(Assignment.of({**fits, **new}))
        return replace(self, graph=graph, space=space, assignment=assignment)

    def flat(self, assignment: Assignment, scales: ScaleSource) -> FlatProxy:
        """The emulation of an assignment.

        Raises:
            ModelError: A tensor to quantise was not calibrated.
        """
        return FlatProxy(self.graph, self.space, self.scheme, scales, assignment, self.form)

    def inside(self, flat: FlatProxy, tensors: tuple[str, ...], how: str) -> OrtInside:
        """A look into an emulation."""
        return OrtInside(
            how, tensors, flat.with_outputs, flat.name, exact=True, model_folder=self.model_folder
        )

    def assigned(self, feeds: Sequence[Feed]) -> tuple[ScaleSource, Assignment]:
        """The scales, and the assignment without INT8 where there are none.

        Raises:
            ModelError: ONNX Runtime refuses the model.
        """
        if self.scales is not None:
            return self.scales, self.assignment
        tensors = quantisable(self.graph, self.scheme, self.space)
        wanted = tuple(sorted(frozenset().union(*tensors.values())))
        if not self.assignment.keys_at(Precision.INT8):
            return RangeScales({}, self.scheme), self.assignment
        whole = FlatProxy(
            self.graph, self.space, self.scheme, RangeScales({}, self.scheme), Assignment()
        )
        names = {whole.name(t): t for t in wanted}
        model = whole.with_outputs([o.name for o in self.graph.outputs])
        calibration = Calibration(model, self.model_folder, tuple(names))
        found = {names[n]: r for n, r in collect_ranges(calibration, feeds).items()}
        bad = {key for key, ts in tensors.items() if not ts <= found.keys()}
        kept = self.space.canonical(self.assignment.with_(dict.fromkeys(bad, Precision.FP32)))
        return RangeScales(found, self.scheme), kept


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


def open_configuration(
    model: Path, precision: Precision, plan: Path | None, backend: str, granularity: str
) -> Configuration:
    """Read a model, and a plan if there is one.

    Raises:
        InputError: One cannot be read, or an option is wrong.
        ReplayError: The plan is another model's.
    """
    if plan is not None:
        made = materialise(read_plan(plan), model, None)
        target, lowering = made.target, made.lowering
        return Configuration(
            f"the plan {plan.name}",
            target.graph,
            target.space,
            made.plan.recipe.assignment,
            target.backend,
            target.scheme,
            target.form,
            lowering.scales,
            target.options.model_folder,
            target.source,
            target.factory,
            target.options,
            made.plan.notes,
        )
    target = open_target(
        read_model(model), backend_name(backend), (Precision.FP32,), granularity, 0
    )
    wanted = frozenset({Precision.FP32, precision})
    space = group(target.graph, target.scheme, wanted, granularity)
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
