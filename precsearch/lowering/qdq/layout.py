"""Which tensors are quantized, where, and which share a scale: decided before anything is written.

Placement follows the backend's `QuantScheme`: one Q per tensor shared by its INT8 readers; the
output of a Conv (after the Relu or Clip that the engine fuses) where the backend runs it in INT8
only then; Add, Concat and pooling keep their tensors quantized where they were asked to, a residual
Add as `precsearch.lowering.qdq.placement` says; Reshape, MaxPool and the like pass a quantized
tensor on with its scale.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from precsearch.core.precision import Encoding, Precision
from precsearch.core.quantization import QuantScheme, Quirk, Trait
from precsearch.core.space import Assignment, SearchSpace
from precsearch.graph.view import GraphView, NodeView
from precsearch.lowering.capabilities import quantized_trait
from precsearch.lowering.qdq.dynamic import is_dynamic
from precsearch.lowering.qdq.lift import lifted
from precsearch.lowering.qdq.placement import BRANCH_SUFFIX, placed
from precsearch.lowering.qdq.reach import PAIRED, fused_tail, node_groups, quantizing, reaches_all
from precsearch.lowering.qdq.scales import QuantParams, ScaleSource, Tie
from precsearch.lowering.qdq.shifts import Floats, bias_holder, shift_of
from precsearch.lowering.tensor_names import scale_key

__all__ = ["QuantLayout", "quantize_layout"]


@dataclass(frozen=True)
class QuantLayout:
    """The part of a lowering that Q/DQ writes.

    Attributes:
        replaced: Tensors of which only the quantized form exists: every reader, FP32 ones too,
            reads what DequantizeLinear gives back.
        reads: (node index, input slot) → those inputs read the dequantized tensor.
        spared: Tensors that are not replaced for the sake of float readers, though all their values
            were dequantized before.
        written: The tensors of both, which the graph has a QuantizeLinear for.
        params: Scale and zero point by `precsearch.lowering.tensor_names.scale_key`, for all of
            both and what else was asked to be quantized: a proxy does that, where the graph has the
            same values without.
        active: Indices of the nodes that compute in INT8 or FP8, in graph order.
        passive: Indices of the nodes that keep their tensors quantized, in graph order.
        nodes: Index of each node that reads something dequantized → the precision of that.
        stored: Tensor of ``replaced`` → the precision that it is quantized to.
        quantized: The tensors of ``params``.
        shifts: Index of the node that holds the bias of one in INT8 → what that is shifted by.
        dynamic: Indices of the nodes in INT8 that round by the range of each inference.
    """

    replaced: frozenset[str]
    reads: frozenset[tuple[int, int]]
    spared: frozenset[str]
    written: frozenset[str]
    params: Mapping[str, QuantParams]
    active: tuple[int, ...]
    passive: tuple[int, ...]
    nodes: Mapping[int, Precision] = field(default_factory=dict)
    stored: Mapping[str, Precision] = field(default_factory=dict)
    quantized: frozenset[str] = frozenset()
    shifts: Mapping[int, Floats] = field(default_factory=dict)
    dynamic: frozenset[int] = frozenset()


class _Placement:
    """Collects what one assignment quantizes."""

    def __init__(
        self,
        graph: GraphView,
        scheme: QuantScheme,
        space: SearchSpace,
        asked: frozenset[str],
        precision: Precision,
        scales: ScaleSource,
    ) -> None:
        self.scales = scales
        self.asked = asked
        self.precision = precision
        self.graph = graph
        self.scheme = scheme
        self.groups = node_groups(space)
        self.passive = frozenset(g.key for g in space.groups if g.passive)
        self.replaced: set[str] = set()
        self.reads: set[tuple[int, int]] = set()
        self.active: list[int] = []
        self.kept: list[int] = []
        self.ties: list[Tie] = []
        self.moved: set[str] = set()  # dequantized values, by a Concat or what carries them
        self.apart: set[str] = set()  # quantized for INT8 readers alone
        self.dynamic: set[int] = set()  # rounds by the range of each inference

    def place(self, node: NodeView, branch: bool) -> None:
        """Quantize what an INT8 node reads and, where needed, what it writes."""
        passive = self.groups[node.key] in self.passive
        placement = placed(node, self.graph, self.scheme, passive, self.precision)
        if placement is None or (placement.end and self.groups[placement.end] not in self.asked):
            # A quantized shortcut makes TensorRT fuse convolution and Add into one INT8 kernel; for
            # a convolution that is not in INT8 it has none, and does not build.
            return
        if self.precision is Precision.INT8 and is_dynamic(self.scales, node):
            self.dynamic.add(node.index)
            return
        slots = (*placement.slots, *placement.branch) if branch else placement.slots
        self.reads |= {(node.index, s) for s in slots}
        computes = placement.trait is Trait.INPUTS_QUANTIZABLE
        (self.active if computes else self.kept).append(node.index)
        if not placement.output:
            return
        tail = fused_tail(node, self.graph, self.groups)
        self.replaced.add(tail)
        if not reaches_all(node, tail, self.graph, self.scheme):
            self.apart.add(tail)
        if node.is_op("Concat"):
            # One scale for all, so that joining is a copy and not a requantization.
            self.ties += [Tie(tail, node.inputs[s], exact=False) for s in slots]
            self.moved.add(tail)

    def carry(self, tensors: frozenset[str]) -> None:
        """Let quantized tensors through the nodes that do not change values."""
        for node in self.graph.nodes:
            if not node.inputs or node.inputs[0] not in self.replaced:
                continue
            if node.inputs[0] in self.apart:
                continue
            if node.outputs[0] not in tensors or node.outputs[0] in self.replaced:
                continue
            if self._carries(node):
                self.reads.add((node.index, 0))
                self.replaced.add(node.outputs[0])
                self.ties.append(Tie(node.inputs[0], node.outputs[0], exact=True))
                self.moved.add(node.outputs[0])

    def _carries(self, node: NodeView) -> bool:
        trait = quantized_trait(node, self.graph, self.scheme, self.precision)
        return trait is Trait.QUANTIZATION_AGNOSTIC

    def spare(self) -> frozenset[str]:
        """Leave a tensor unquantized for its float readers, where one of them cannot do otherwise.

        Where data and weight are dequantized together or not at all (`Quirk.PAIRED_INPUTS`),
        a float operator with weights reads what a Concat joined or a MaxPool chose, not what was
        made of that for INT8 readers. The values are the same: they were dequantized before, with
        the scale that the tensor has. For what computes see `reaches_all`.
        """
        if Quirk.PAIRED_INPUTS not in self.scheme.quirks:
            return frozenset()
        before = frozenset(self.replaced)
        for tensor in self.moved | self.apart:
            uses = self.graph.consumers.get(tensor, ())
            unquantized = [n for n, slot in uses if (n.index, slot) not in self.reads]
            apart = tensor in self.apart and (unquantized or tensor in self.graph.output_names)
            if apart or any(n.is_op(*PAIRED) for n in unquantized):
                self.replaced.discard(tensor)
        return before - self.replaced - self.apart

    def wanted(self) -> frozenset[str]:
        """Tensors that an INT8 node reads, directly or through nodes that carry."""
        tensors = {self.graph.nodes[i].inputs[s] for i, s in self.reads}
        for node in reversed(self.graph.nodes):
            wants = bool(node.outputs) and node.outputs[0] in tensors
            if wants and self._carries(node):
                tensors.add(node.inputs[0])
        return frozenset(tensors)


def quantize_layout(
    graph: GraphView,
    scheme: QuantScheme,
    space: SearchSpace,
    assignment: Assignment,
    scales: ScaleSource,
) -> QuantLayout:
    """Decide the quantized tensors of an assignment.

    Args:
        graph: The prepared model.
        scheme: The backend's placement rules.
        space: Its groups.
        assignment: Canonical.
        scales: Calibrated ranges, or a plan's scales.

    Raises:
        ModelError: A tensor that must be quantized was not calibrated.
        PlanError: The plan's scales do not fit.
    """
    cast = (k for k, p in assignment.entries if p.spec.encoding is Encoding.CAST)
    floats = frozenset(node for key in cast for node in space.by_key[key].nodes)
    layouts = [
        _layout_of(_Placement(graph, scheme, space, asked, precision, scales), floats)
        for precision in quantizing(Precision.ordered())
        if (asked := assignment.keys_at(precision))
    ]
    return QuantLayout(
        frozenset().union(*(m.replaced for m in layouts)),
        frozenset().union(*(m.reads for m in layouts)),
        frozenset().union(*(m.spared for m in layouts)),
        frozenset().union(*(m.written for m in layouts)),
        dict(sorted((key, p) for m in layouts for key, p in m.params.items())),
        tuple(sorted(i for m in layouts for i in m.active)),
        tuple(sorted(i for m in layouts for i in m.passive)),
        {i: p for m in layouts for i, p in m.nodes.items()},
        {t: p for m in layouts for t, p in m.stored.items()},
        frozenset().union(*(m.quantized for m in layouts)),
        {i: shift for m in layouts for i, shift in m.shifts.items()},
        frozenset().union(*(m.dynamic for m in layouts)),
    )


def _layout_of(placement: _Placement, floats: frozenset[str]) -> QuantLayout:
    """The part of one precision; ``floats`` are nodes in another float format than FP32."""
    graph, asked, precision = placement.graph, placement.asked, placement.precision
    scales = placement.scales
    for node in graph.nodes:
        if placement.groups.get(node.key) in asked:
            placement.place(node, branch=f"{node.key}{BRANCH_SUFFIX}" in asked)
    if Quirk.BEFORE_POOLING in placement.scheme.quirks:
        placement.replaced |= lifted(graph, placement.reads, floats)
    placement.carry(placement.wanted())
    read = frozenset(graph.nodes[i].inputs[s] for i, s in placement.reads)
    params = scales.assign(placement.replaced | read, placement.ties, precision)
    spared = placement.spare()
    return QuantLayout(
        frozenset(placement.replaced),
        frozenset(placement.reads),
        spared,
        read.union(placement.replaced),
        {scale_key(t, precision): p for t, p in params.items()},
        tuple(placement.active),
        tuple(placement.kept),
        {i: precision for i, _ in placement.reads},
        dict.fromkeys(placement.replaced, precision),
        frozenset(params),
        _shifts(graph, placement.active, scales) if precision is Precision.INT8 else {},
        frozenset(placement.dynamic),
    )


def _shifts(graph: GraphView, active: Iterable[int], scales: ScaleSource) -> dict[int, Floats]:
    held = (bias_holder(graph.nodes[i], graph) for i in active)
    shifts = {n.index: shift_of(scales, n) for n in held if n is not None}
    return {index: shift for index, shift in shifts.items() if shift is not None}
