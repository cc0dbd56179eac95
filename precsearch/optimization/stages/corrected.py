"""The lowering of a run with its corrections of INT8."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from precsearch.codec import dumps, unstructure
from precsearch.codec.vectors import decode_halves
from precsearch.core.precision import Precision
from precsearch.core.space import Assignment, SearchSpace
from precsearch.graph.prepare import prepare
from precsearch.graph.view import GraphView
from precsearch.grouping.group import group
from precsearch.lowering.lower import Lowered, Lowering
from precsearch.lowering.qdq.scales import RangeScales
from precsearch.optimization.stages.corrections_file import Corrections
from precsearch.rewrites import Recorded, with_rewrites
from precsearch.setup.target import Target

__all__ = ["Calibrate", "Corrected", "CorrectedLowerings", "shipped_target"]

Calibrate = Callable[[Target], tuple[Target, Lowering] | None]
"""Ranges of a target that was rewritten; ``None`` if they are not to be had."""


@dataclass(frozen=True)
class Corrected:
    """What corrections made of a run.

    Attributes:
        target: The model with its rewrites.
        lowering: Lowers with corrections what has INT8, and everything else as the model is.
        corrections: What was kept.
    """

    target: Target
    lowering: Lowering
    corrections: Corrections = field(default_factory=Corrections)


class _CorrectedLowering(Lowering):
    """Corrections are for INT8: an assignment without it is lowered from the plain model."""

    def __init__(self, plain: Lowering, corrected: Lowering) -> None:
        super().__init__(
            corrected.graph, corrected.space, corrected.scheme, corrected.scales, corrected.form
        )
        self._plain = plain

    def lower(self, assignment: Assignment) -> Lowered:
        """See `Lowering.lower`."""
        if not assignment.keys_at(Precision.INT8):
            return self._plain.lower(assignment)
        return super().lower(assignment)


def shipped_target(target: Target, assignment: Assignment) -> Target:
    """The target of a plan: without the rewrites that correct INT8, if it has none."""
    plain = target.plain
    if plain is None or assignment.keys_at(Precision.INT8):
        return target
    return replace(
        target,
        source=plain.source,
        graph=plain.graph,
        space=plain.space,
        rewrites=plain.rewrites,
        plain=None,
    )


class CorrectedLowerings:
    """Makes the lowering that goes with some corrections.

    Args:
        target: The model, calibrated.
        lowering: Of it.
        calibrate: Gives the lowering of a model that corrections have rewritten.
    """

    def __init__(self, target: Target, lowering: Lowering, calibrate: Calibrate) -> None:
        self._target = target
        self._lowering = lowering
        self._calibrate = calibrate
        self._known: dict[str, tuple[Target, Lowering] | None] = {}

    def made(self, corrections: Corrections) -> Corrected | None:
        """The run with corrections; ``None`` if they do not leave the groups as they are."""
        rewritten = self._rewritten(corrections.rewrites)
        if rewritten is None:
            return None
        target, lowering = rewritten
        scales = lowering.scales
        if corrections.ranges:
            ranges = {
                tensor: tensor_range for tensor, (_, tensor_range) in corrections.ranges.items()
            }
            scales = RangeScales(ranges, target.scheme)
        if corrections.dynamic and isinstance(scales, RangeScales):
            scales = scales.measured(frozenset(corrections.dynamic))
        if corrections.shifts and isinstance(scales, RangeScales):
            shifts = {node: decode_halves(text) for node, text in corrections.shifts.items()}
            scales = scales.shifted(shifts)
        if scales is not lowering.scales:
            lowering = Lowering(target.graph, target.space, target.scheme, scales, target.form)
        if lowering is self._lowering:
            return Corrected(target, lowering, corrections)
        return Corrected(target, _CorrectedLowering(self._lowering, lowering), corrections)

    def _rewritten(self, rewrites: tuple[Recorded, ...]) -> tuple[Target, Lowering] | None:
        if not rewrites:
            return self._target, self._lowering
        key = dumps(unstructure([[name, dict(params)] for name, params in rewrites]))
        if key not in self._known:
            self._known[key] = self._newly_rewritten(rewrites)
        return self._known[key]

    def _newly_rewritten(self, rewrites: tuple[Recorded, ...]) -> tuple[Target, Lowering] | None:
        plain = self._target
        source = with_rewrites(plain.source, rewrites)
        graph = prepare(source, plain.form.min_opset)
        space = _grouped_alike(plain, graph)
        if space is None:
            return None
        made = (*plain.rewrites, *rewrites)
        target = replace(plain, source=source, graph=graph, space=space, rewrites=made, plain=plain)
        opened = self._calibrate(target)
        return opened if opened and opened[0].space.digest == space.digest else None


def _grouped_alike(plain: Target, graph: GraphView) -> SearchSpace | None:
    """The groups of a graph that corrections have changed.

    Returns:
        ``None`` if anything but FP32 nodes is new, or if a group is another one.
    """
    if _structure(graph) == _structure(plain.graph):
        return plain.space
    before = plain.space
    space = group(graph, plain.scheme, frozenset(before.precisions), before.granularity, plain.form)
    added = [g for g in space.groups if g.key not in before.by_key]
    known = [(g.key, g.nodes, g.passive) for g in space.groups if g.key in before.by_key]
    if known != [(g.key, g.nodes, g.passive) for g in before.groups]:
        return None
    if any(len(g.choices) > 1 for g in added):
        return None
    return replace(space, groups=tuple(before.by_key.get(g.key, g) for g in space.groups))


def _structure(graph: GraphView) -> list[tuple[str, str]]:
    return [(n.key, n.op_type) for n in graph.nodes]
