"""One group of a proxy in one precision, written in FP32 with the rounding that its storage means.

FP16, BF16: every tensor that a node stores in that format, and every one that it reads so, goes
through FP32 → the format → FP32. INT8: what an INT8 node reads, and what it writes where that is
stored quantized, goes through QuantizeLinear and DequantizeLinear. Both are idempotent, so a branch
rounds what it reads without knowing who wrote it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import onnx
from onnx import helper

from precsearch.core.formats import FLOAT32, NumberFormat
from precsearch.core.precision import Encoding, Precision
from precsearch.core.quantization import Trait
from precsearch.core.space import LayerGroup
from precsearch.emulation.fused import in_registers
from precsearch.emulation.round_nodes import cast_pair
from precsearch.emulation.weights import ProxyWeights
from precsearch.graph.operators import REARRANGING, SELECTING
from precsearch.graph.view import NodeView
from precsearch.lowering.capabilities import cast_outputs, cast_slots, weight_slot
from precsearch.lowering.context import LoweringContext
from precsearch.lowering.qdq.placement import BRANCH_SUFFIX, Placed, placed
from precsearch.lowering.qdq.reach import fused_tail, reaches_all
from precsearch.lowering.tensor_names import scale_key

__all__ = ["FLOAT_ZERO", "Branch", "Scope", "flag_name", "only_name", "scale_name", "zero_name"]

_MOVES = frozenset(
    {*REARRANGING, *SELECTING, "GatherElements", "GatherND", "Tile", "DepthToSpace", "SpaceToDepth"}
    | {"MaxPool", "Concat", "Neg", "Abs", "Relu", "Max", "Min", "Where"}
)
"""Operators that give back numbers they were given: a format holds them if it held those."""


def scale_name(tensor: str) -> str:
    """The scale of an activation in a proxy, by its `scale_key`."""
    return f"{tensor}//scale"


def zero_name(tensor: str) -> str:
    """The zero point of an activation in a proxy, by its `scale_key`."""
    return f"{tensor}//zero"


def flag_name(key: str, precision: Precision) -> str:
    """What gives a group of a proxy this precision, or a lower one."""
    return f"{key}//is//{precision}"


def only_name(key: str, precision: Precision) -> str:
    """What gives a group of a proxy this precision and no other."""
    return f"{key}//only//{precision}"


FLOAT_ZERO = "//zero//float8e4m3"
"""The zero point of every activation in that format."""


@dataclass
class Scope:
    """What is known where nodes are written: of one branch, or of a whole graph without branches.

    Attributes:
        nodes: What was written.
        local: The name here of a tensor of the model.
        made: The names of requantized tensors.
        rounded: The name of a tensor that was rounded to a format, by its own and the format.
        grid: Names whose values a format holds, with the format.
        scaled: The activations whose scales are read, by `scale_key` → what they are quantized to.
        asked: Groups and precisions that something here depends on.
    """

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    local: dict[str, str] = field(default_factory=dict)
    made: set[str] = field(default_factory=set)
    rounded: dict[tuple[str, NumberFormat], str] = field(default_factory=dict)
    grid: set[tuple[str, NumberFormat]] = field(default_factory=set)
    scaled: dict[str, Precision] = field(default_factory=dict)
    asked: set[tuple[str, Precision]] = field(default_factory=set)


class Branch:
    """Writes the nodes of one group in one precision.

    Tensors that it makes are named ``<tensor>//<precision>``, so that those of the whole graph keep
    their names.

    Args:
        context: The model, its groups, and how an assignment is quantized.
        group: The group.
        precision: What it runs in.
        weights: Makes constants.
        scope: Where it writes.
        decided: Whether another group that this one depends on (an Add on its branch) is at a
            precision, by its key; ``None`` makes that an input of the graph.
    """

    def __init__(
        self,
        context: LoweringContext,
        group: LayerGroup,
        precision: Precision,
        weights: ProxyWeights,
        scope: Scope,
        *,
        decided: Callable[[str, Precision], bool] | None = None,
    ) -> None:
        context.check(group.key, precision)
        self.graph = context.graph
        self.precision = precision
        self.weights = weights
        self.scope = scope
        self._stored_as = context.around(precision)
        self._typed_as = context.form.typed_as(self._stored_as)
        self._decided = decided
        self._placed: dict[int, Placed] = {}
        self._beside: dict[int, tuple[str, ...]] = {}
        self._stored: set[str] = set()
        self._unrounded = in_registers(context, group, precision)
        views = [self.graph.by_key[key] for key in group.nodes]
        if precision.spec.encoding is Encoding.QDQ:
            self._place(views, group, context)
        alone = precision.spec.encoding is Encoding.WEIGHT_ONLY
        self._packed = context.packed_of(group, precision) if alone else {}
        for view in views:
            self._write(view)

    def name(self, tensor: str) -> str:
        """The name under which this branch has a tensor."""
        return self.scope.local.get(tensor, tensor)

    def _place(
        self, views: Iterable[NodeView], group: LayerGroup, context: LoweringContext
    ) -> None:
        """Which nodes read quantized tensors, and which tensors are stored quantized."""
        owners = context.owners
        for node in views:
            placement = placed(node, self.graph, context.scheme, group.passive, self.precision)
            if placement is None:
                continue
            if placement.end and owners[placement.end] != group.key:
                # Without this group at the precision, too, it has no effect: `quantize_layout`.
                end = context.space.by_key[owners[placement.end]]
                if self.precision not in end.choices:
                    continue
                self._beside[node.index] = (end.key,)
            self._placed[node.index] = placement
            if placement.output:
                tail = fused_tail(node, self.graph, owners)
                if reaches_all(node, tail, self.graph, context.scheme):
                    self._stored.add(tail)

    def _write(self, node: NodeView) -> None:
        graph, scope = self.graph, self.scope
        placement = self._placed.get(node.index)
        active = placement is not None and placement.trait is Trait.INPUTS_QUANTIZABLE
        own = FLOAT32 if active and self.weights.fine(node, self.precision) else self._typed_as
        slots = frozenset(cast_slots(node, graph, own) if own != FLOAT32 else ())
        inputs = [self._input(node, slot, cast=slot in slots) for slot in range(len(node.inputs))]
        outputs = [f"{t}//{self.precision}" if t else "" for t in node.outputs]
        self._copy(node, inputs, outputs)
        exact = node.is_op(*_MOVES) and all(
            slot in slots and t not in self._unrounded
            for slot, t in enumerate(node.inputs)
            if t and graph.is_float(t)
        )
        stored = frozenset(cast_outputs(node, graph, own) if own != FLOAT32 else ())
        for position, tensor in enumerate(node.outputs):
            if tensor:
                scope.local[tensor] = outputs[position]
                if position in stored and tensor not in self._unrounded:
                    self._store(tensor, exact)
                if tensor in self._stored:
                    scope.local[tensor] = self._requantized(tensor)

    def _input(self, node: NodeView, slot: int, *, cast: bool) -> str:
        tensor, placement = node.inputs[slot], self._placed.get(node.index)
        if not tensor:
            return ""
        if tensor in self.graph.weights:
            active = placement is not None and placement.trait is Trait.INPUTS_QUANTIZABLE
            if node.index in self._packed and slot == weight_slot(node, self.graph):
                around = self._stored_as if cast else FLOAT32
                return self.weights.packed(node, around, self._packed[node.index])
            if active and slot == weight_slot(node, self.graph):
                return self.weights.quantized(node, self.precision, self.scope.nodes)
            if not cast:
                return tensor
            return self.weights.rounded(tensor, self._stored_as, self.scope.nodes)
        name = self.name(tensor)
        if placement is not None and tensor not in self._stored:
            beside = self._beside.get(node.index, ())
            if slot in placement.slots:
                name = self._perhaps(tensor, beside)
            elif slot in placement.branch:
                name = self._perhaps(tensor, (f"{node.key}{BRANCH_SUFFIX}", *beside))
        return self._rounded(name) if cast and tensor not in self._unrounded else name

    def _store(self, tensor: str, exact: bool) -> None:
        name = self.scope.local[tensor]
        if exact:
            self.scope.grid.add((name, self._stored_as))
        else:
            self.scope.local[tensor] = self._rounded(name)

    def _rounded(self, name: str) -> str:
        scope, key = self.scope, (name, self._stored_as)
        if key in scope.grid:
            return name
        if key not in scope.rounded:
            rounded = scope.rounded[key] = f"{name}//{self.precision}r"
            scope.grid.add((rounded, self._stored_as))
            scope.nodes += cast_pair(name, rounded, self._stored_as)
        return scope.rounded[key]

    def _requantized(self, tensor: str) -> str:
        """The tensor's values after QuantizeLinear and DequantizeLinear."""
        requantized = f"{tensor}//{self.precision}//dq"
        if requantized not in self.scope.made:
            self.scope.made.add(requantized)
            self.scope.nodes += self._pair(tensor, requantized)
        return requantized

    def _pair(self, tensor: str, output: str) -> list[onnx.NodeProto]:
        key = scale_key(tensor, self.precision)
        self.scope.scaled[key] = self.precision
        zero = zero_name(key) if self.precision.spec.format.is_integer else FLOAT_ZERO
        args = [scale_name(key), zero]
        return [
            helper.make_node("QuantizeLinear", [self.name(tensor), *args], [f"{output}//q"]),
            helper.make_node("DequantizeLinear", [f"{output}//q", *args], [output]),
        ]

    def _perhaps(self, tensor: str, keys: tuple[str, ...]) -> str:
        """Requantized if these other groups are all at this precision."""
        decided = self._decided
        if decided is not None or not keys:
            certain = decided is None or all(decided(key, self.precision) for key in keys)
            return self._requantized(tensor) if certain else self.name(tensor)
        output = "//".join([tensor, str(self.precision), *keys])
        self.scope.asked.update((key, self.precision) for key in keys)
        flags = [only_name(key, self.precision) for key in keys]
        if len(flags) > 1:
            self.scope.nodes.append(helper.make_node("And", flags, [f"{output}//if"]))
            flags = [f"{output}//if"]
        bodies = []
        for way in ("then", "else"):
            inner = f"{output}//{way}"
            same = [helper.make_node("Identity", [self.name(tensor)], [inner])]
            body = onnx.GraphProto(name=way)
            body.node.extend(self._pair(tensor, inner) if way == "then" else same)
            body.output.add(name=inner).type.tensor_type.elem_type = onnx.TensorProto.FLOAT
            bodies.append(body)
        self.scope.nodes.append(
            helper.make_node("If", flags, [output], then_branch=bodies[0], else_branch=bodies[1])
        )
        return output

    def _copy(self, node: NodeView, inputs: list[str], outputs: list[str]) -> None:
        copy = onnx.NodeProto()
        copy.CopyFrom(node.proto)
        copy.input[:] = inputs
        copy.output[:] = outputs
        copy.name = f"{node.key}//{self.precision}"
        if node.captures & self.scope.local.keys():
            for attribute in copy.attribute:
                for graph in (
                    *([attribute.g] if attribute.HasField("g") else []),
                    *attribute.graphs,
                ):
                    _rename(graph, self.scope.local)
        self.scope.nodes.append(copy)


def _rename(graph: onnx.GraphProto, names: Mapping[str, str]) -> None:
    """Let a subgraph read tensors of the graph around it by other names."""
    for node in graph.node:
        node.input[:] = [names.get(t, t) for t in node.input]
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                _rename(inner, names)
    for output in graph.output:
        output.name = names.get(output.name, output.name)
