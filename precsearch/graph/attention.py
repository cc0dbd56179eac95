"""Attention cores: product of Q and K, scale, mask, Softmax, product with V, found by structure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from precsearch.graph.operators import PASSING
from precsearch.graph.view import Dim, GraphView, NodeView

__all__ = ["AttentionCore", "attention_core", "attention_cores"]

_SHAPERS = (*PASSING, "Reshape", "Transpose", "Squeeze", "Unsqueeze")
_MAX_STEPS = 10


@dataclass(frozen=True)
class AttentionCore:
    """One core.

    Attributes:
        first: The product of Q and K.
        last: The product with V.
        nodes: Indices of these, of what stands between them and of the scaling before, ascending.
        head: Values that one product of Q and K sums over.
        keys: Tokens that are attended to.
    """

    first: NodeView
    last: NodeView
    nodes: tuple[int, ...]
    head: Dim
    keys: Dim


def attention_cores(graph: GraphView) -> Mapping[str, AttentionCore]:
    """Key of the product with V → the core that it ends; found once for a graph."""
    known = graph.memo.get("attention cores")
    if known is None:
        cores = (attention_core(n, graph) for n in graph.nodes if n.is_op("Softmax"))
        known = {core.last.key: core for core in cores if core is not None}
        graph.memo["attention cores"] = known
    return cast("Mapping[str, AttentionCore]", known)


def attention_core(softmax: NodeView, graph: GraphView) -> AttentionCore | None:
    """The core around a Softmax, ``None`` if it is part of none."""
    before = _scores(softmax.inputs[0], graph, _MAX_STEPS)
    after = _weighted(softmax.outputs[0], graph, _MAX_STEPS)
    if before is None or after is None:
        return None
    first, last = before[0], after[-1]
    scales = [n for t in first.inputs for n in _scale(t, graph)]
    nodes = {n.index for n in (*scales, *before, softmax, *after)}
    head = _dim(first.inputs[0], -1, graph) or _dim(first.inputs[1], -2, graph)
    return AttentionCore(first, last, tuple(sorted(nodes)), head, _dim(first.outputs[0], -1, graph))


def _dim(tensor: str, axis: int, graph: GraphView) -> Dim:
    shape = graph.shapes.get(tensor, ())
    return shape[axis] if len(shape) >= -axis else None


def _constant(node: NodeView, graph: GraphView) -> str:
    """The constant operand of a binary node, "" without one."""
    return next((t for t in node.inputs if t in graph.weights), "")


def _is_scalar(tensor: str, graph: GraphView) -> bool:
    """Whether a tensor holds one number, constant or not."""
    weight = graph.weights.get(tensor)
    shape = graph.shapes.get(tensor) if weight is None else weight.shape
    return shape is not None and all(d == 1 for d in shape)


def _scores(tensor: str, graph: GraphView, steps: int) -> list[NodeView] | None:
    """The nodes from the product of Q and K to ``tensor``."""
    node = graph.producer.get(tensor)
    if node is None or steps == 0:
        return None
    if node.is_op("MatMul"):
        return None if _constant(node, graph) else [node]
    if not node.is_op("Add", "Where", "Mul", "Div", *_SHAPERS):
        return None
    for source in node.inputs:
        if source and graph.is_float(source) and source not in graph.weights:
            path = _scores(source, graph, steps - 1)
            if path is not None:
                return [*path, node]
    return None


def _weighted(tensor: str, graph: GraphView, steps: int) -> list[NodeView] | None:
    """The nodes from ``tensor`` to the product with V."""
    for user in graph.users(tensor) if steps else ():
        if user.is_op("MatMul") and not _constant(user, graph):
            return [user]
        scaled = user.is_op("Mul") and _is_scalar(_constant(user, graph), graph)
        if scaled or user.is_op("Where", *_SHAPERS):
            path = _weighted(user.outputs[0], graph, steps - 1)
            if path is not None:
                return [user, *path]
    return None


def _scale(tensor: str, graph: GraphView) -> list[NodeView]:
    """The multiplication by one number before a product, with what reshapes after it."""
    nodes: list[NodeView] = []
    while graph.only_user(tensor) is not None:
        node = graph.producer.get(tensor)
        if node is None:
            break
        nodes.append(node)
        if node.is_op("Mul", "Div") and any(_is_scalar(t, graph) for t in node.inputs):
            return nodes
        if not node.is_op(*_SHAPERS):
            break
        tensor = node.inputs[0]
    return []
