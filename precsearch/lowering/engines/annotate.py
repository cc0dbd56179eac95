"""Precisions by name, for engines that do not take them from the types of the graph.

TensorRT 8.6 is given an FP32 graph and told layer by layer what to compute in. It must not be told
anything about a layer whose output is quantized: the layer's kernel then writes INT8, and one that
was pinned to a float type has no candidate left ("incorrectly marked as an int8 node"). What the
engine fuses with such a layer is left to it as well.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import onnx

from precsearch.core.precision import Encoding, Precision
from precsearch.graph.operators import BINARY_ARITHMETIC, FUSED_ACTIVATIONS, QDQ, REARRANGING
from precsearch.graph.residual import residual
from precsearch.graph.view import GraphView, NodeView

__all__ = ["METADATA_KEY", "Annotation", "annotate", "unpinned"]

METADATA_KEY = "precsearch.precisions"
"""Of the entry of ``ModelProto.metadata_props`` that holds an `Annotation`."""

_FREE = "free"
_MOVES = (*REARRANGING, "Dropout", "Slice", "MaxPool")
_FUSED = (*FUSED_ACTIVATIONS, "BatchNormalization", "LeakyRelu")


@dataclass(frozen=True)
class Annotation:
    """What the nodes of a graph compute in, by node name; those not listed compute in FP32.

    Attributes:
        asked: Precision → the nodes that must compute in it, sorted.
        free: Nodes of which the builder may choose the precision, sorted.
    """

    asked: Mapping[Precision, tuple[str, ...]] = field(default_factory=dict)
    free: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.asked or self.free)

    @property
    def fp16(self) -> tuple[str, ...]:
        """Nodes that must compute in FP16, sorted."""
        return self.asked.get(Precision.FP16, ())

    def to_json(self) -> str:
        """Canonical: equal annotations give equal text. FP16 is named even where no node is."""
        rows = {p.value: list(nodes) for p, nodes in self.asked.items()}
        rows = {Precision.FP16.value: [], **rows, _FREE: list(self.free)}
        return json.dumps(rows, sort_keys=True, separators=(",", ":"))

    @classmethod
    def of(cls, model: onnx.ModelProto) -> Annotation:
        """The annotation of a lowered model; empty if it has none."""
        for entry in model.metadata_props:
            if entry.key == METADATA_KEY:
                rows = json.loads(entry.value)
                free = tuple(rows[_FREE])
                asked = {p: tuple(nodes) for p, nodes in rows.items() if nodes and p != _FREE}
                return cls({Precision(p): nodes for p, nodes in asked.items()}, free)
        return cls()


def annotate(
    graph: GraphView,
    nodes: Iterable[onnx.NodeProto],
    owners: Mapping[str, Precision],
    floats: Mapping[int, Precision],
    quantized: Iterable[str],
) -> Annotation:
    """What each node of a lowered graph is to compute in.

    Args:
        graph: The prepared model.
        nodes: The lowered graph's. Those that the lowering added are named after a node or tensor
            of the model and something after ``//``.
        owners: Name of each of them → precision of the group that it belongs to.
        floats: Index of each of the model's nodes that was asked for another float precision → it.
        quantized: Tensors of the model that the lowering quantizes.
    """
    free = {graph.nodes[i].key for i in unpinned(graph, quantized)}
    keys = {graph.nodes[i].key: p for i, p in floats.items()}
    left: list[str] = []
    asked: dict[Precision, list[str]] = {}
    for node in nodes:
        base = node.name.partition("//")[0]
        view = graph.by_key.get(node.name)
        moves_float = view is None or any(t and graph.is_float(t) for t in view.outputs)
        if node.op_type in QDQ or not moves_float:
            continue
        if base in free or owners[node.name].spec.encoding is Encoding.QDQ:
            left.append(node.name)
        elif base in keys:
            asked.setdefault(keys[base], []).append(node.name)
    return Annotation({p: tuple(sorted(n)) for p, n in asked.items()}, tuple(sorted(left)))


def unpinned(graph: GraphView, quantized: Iterable[str]) -> frozenset[int]:
    """Indices of the nodes whose output an engine writes in INT8, or may: a Q reads it.

    From each quantized tensor back through what only moves values, and through what the engine
    fuses (an activation, a constant shift or scale, the convolution's side of a residual Add) up to
    the operator that it is fused with.

    Args:
        graph: The prepared model.
        quantized: The tensors that the lowering quantizes; those that the model's author has
            quantized are added.
    """
    own = (n.inputs[0] for n in graph.nodes if n.is_op("QuantizeLinear"))
    pending = [(tensor, False) for tensor in (*quantized, *own)]
    unpinned_nodes: set[int] = set()
    while pending:
        tensor, fused = pending.pop()
        node = graph.producer.get(tensor)
        if node is None or node.index in unpinned_nodes or node.is_op(*QDQ):
            continue
        if fused and graph.only_user(tensor) is None:
            continue  # another reader needs the float value: nothing is fused across it
        unpinned_nodes.add(node.index)
        moves = node.is_op(*_MOVES)
        pending += [(t, not moves or fused) for t in _behind(node, graph, moves)]
    return frozenset(unpinned_nodes)


def _behind(node: NodeView, graph: GraphView, moves: bool) -> tuple[str, ...]:
    """The input through which a node is fused with its producer, if there is one."""
    if moves or node.is_op(*_FUSED):
        return node.inputs[:1]
    if not node.is_op(*BINARY_ARITHMETIC):
        return ()
    live = tuple(t for t in node.inputs if t not in graph.weights)
    if len(live) == 1:
        return live
    split = residual(node, graph)
    return () if split is None else (node.inputs[split.branch],)
