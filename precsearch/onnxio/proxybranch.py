"""One group of a proxy in one precision, written in FP32 with the rounding that its storage means.

FP16: every tensor that a node stores in FP16, and every one that it reads so, goes through FP32 →
FP16 → FP32. INT8: what an INT8 node reads, and what it writes where that is stored quantised, goes
through QuantizeLinear and DequantizeLinear. Both are idempotent, so a branch rounds what it reads
without knowing who wrote it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import onnx
from onnx import helper

from precsearch.onnxio.graph import GraphView, NodeView
from precsearch.onnxio.layout import fused_tail
from precsearch.onnxio.proxyweights import ProxyWeights, cast_pair
from precsearch.onnxio.roles import (
    Role,
    data_slots,
    fp16_outputs,
    fp16_slots,
    int8_role,
    weight_slot,
)
from precsearch.space import LayerGroup, Precision

__all__ = ["Branch", "scale_name", "zero_name"]

_MOVES = frozenset(
    {"Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Slice", "Split", "Identity"}
    | {"MaxPool", "Gather", "GatherElements", "GatherND", "Expand", "Tile", "Concat", "Neg", "Abs"}
    | {"DepthToSpace", "SpaceToDepth", "Relu", "Max", "Min", "Where"}
)
"""Operators that give back numbers they were given: on FP16's grid if those were."""


def scale_name(tensor: str) -> str:
    """The proxy's input for an activation's scale."""
    return f"{tensor}//scale"


def zero_name(tensor: str) -> str:
    """The proxy's input for an activation's zero point."""
    return f"{tensor}//zero"


class Branch:
    """Collects the nodes of one branch.

    Tensors that it makes are named ``<tensor>//<precision>``, so that those of the whole graph keep
    their names.

    Args:
        graph: The prepared model.
        group: The group.
        precision: What it runs in.
        weights: Makes constants.
        owners: Node key → group key.
        half: Whether FP16 surrounds INT8.

    Attributes:
        nodes: What was written.
        scaled: The activations whose scales it reads.
    """

    def __init__(
        self,
        graph: GraphView,
        group: LayerGroup,
        precision: Precision,
        weights: ProxyWeights,
        owners: Mapping[str, str],
        *,
        half: bool = False,
    ) -> None:
        self.graph = graph
        self.precision = precision
        self.weights = weights
        self.nodes: list[onnx.NodeProto] = []
        self.scaled: set[str] = set()
        self._half = precision is Precision.FP16 or (precision is Precision.INT8 and half)
        self._local: dict[str, str] = {}
        self._made: dict[str, str] = {}
        self._grid: set[str] = set()
        views = [graph.by_key[key] for key in group.nodes]
        self._roles: dict[int, Role] = {}
        self._stored: set[str] = set()
        if precision is Precision.INT8:
            self._place(views, group, owners)
        for view in views:
            self._write(view)

    def name(self, tensor: str) -> str:
        """The name under which this branch has a tensor."""
        return self._local.get(tensor, tensor)

    def _place(
        self, views: Iterable[NodeView], group: LayerGroup, owners: Mapping[str, str]
    ) -> None:
        """Which nodes read quantised tensors, and which tensors are stored quantised."""
        scheme = self.weights.scheme
        for node in views:
            role = int8_role(node, self.graph, scheme)
            if role is Role.ACTIVE or (role is Role.PASSIVE and group.passive):
                self._roles[node.index] = role
                if role is Role.PASSIVE or node.op_type in scheme.outputs_of:
                    self._stored.add(fused_tail(node, self.graph, owners))

    def _write(self, node: NodeView) -> None:
        graph = self.graph
        halves = frozenset(fp16_slots(node, graph)) if self._half else frozenset()
        role = self._roles.get(node.index)
        quantised = frozenset(data_slots(node, graph)) if role else frozenset()
        weight = weight_slot(node, graph) if role is Role.ACTIVE else None
        inputs = [
            self.weights.quantised(node, self.nodes)
            if slot == weight
            else self._read(tensor, half=slot in halves, quantised=slot in quantised)
            for slot, tensor in enumerate(node.inputs)
        ]
        outputs = [f"{t}//{self.precision}" if t else "" for t in node.outputs]
        self._copy(node, inputs, outputs)
        exact = node.is_op(*_MOVES) and all(
            slot in halves for slot, t in enumerate(node.inputs) if t and graph.is_float(t)
        )
        stored_half = frozenset(fp16_outputs(node, graph)) if self._half else frozenset()
        for position, tensor in enumerate(node.outputs):
            if tensor:
                self._local[tensor] = outputs[position]
                if position in stored_half:
                    self._store_half(tensor, exact)
                if tensor in self._stored:
                    self._local[tensor] = self._requantised(tensor)

    def _read(self, tensor: str, *, half: bool, quantised: bool) -> str:
        if not tensor:
            return ""
        if tensor in self.graph.weights:
            return self.weights.rounded(tensor, self.nodes) if half else tensor
        name = self.name(tensor)
        if quantised and tensor not in self._stored:
            name = self._requantised(tensor)
        return self._rounded(name) if half else name

    def _store_half(self, tensor: str, exact: bool) -> None:
        name = self._local[tensor]
        if exact:
            self._grid.add(name)
        else:
            self._local[tensor] = self._rounded(name)

    def _rounded(self, name: str) -> str:
        if name in self._grid:
            return name
        if name not in self._made:
            made = self._made[name] = f"{name}//{self.precision}r"
            self._grid.add(made)
            self.nodes += cast_pair(name, made)
        return self._made[name]

    def _requantised(self, tensor: str) -> str:
        """The tensor's values after QuantizeLinear and DequantizeLinear."""
        source = self.name(tensor)
        made = f"{tensor}//{self.precision}//dq"
        if made not in self._made:
            self._made[made] = source
            self.scaled.add(tensor)
            args = [scale_name(tensor), zero_name(tensor)]
            quantised = f"{made}//q"
            self.nodes.append(helper.make_node("QuantizeLinear", [source, *args], [quantised]))
            self.nodes.append(helper.make_node("DequantizeLinear", [quantised, *args], [made]))
        return made

    def _copy(self, node: NodeView, inputs: list[str], outputs: list[str]) -> None:
        made = onnx.NodeProto()
        made.CopyFrom(node.proto)
        made.input[:] = inputs
        made.output[:] = outputs
        made.name = f"{node.key}//{self.precision}"
        if node.captures & self._local.keys():
            for attribute in made.attribute:
                for graph in (
                    *([attribute.g] if attribute.HasField("g") else []),
                    *attribute.graphs,
                ):
                    _rename(graph, self._local)
        self.nodes.append(made)


def _rename(graph: onnx.GraphProto, names: Mapping[str, str]) -> None:
    """Let a subgraph read tensors of the graph around it by other names."""
    for node in graph.node:
        node.input[:] = [names.get(t, t) for t in node.input]
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                _rename(inner, names)
    for output in graph.output:
        output.name = names.get(output.name, output.name)
