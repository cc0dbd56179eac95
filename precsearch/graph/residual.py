"""Residual Adds: which input is the shortcut, and which the branch that an engine fuses with it."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

from precsearch.graph.operators import BINARY_ARITHMETIC, FUSED_ACTIVATIONS, PASSING, PRODUCTS
from precsearch.graph.view import GraphView, NodeView

__all__ = ["Residual", "residual"]

_FUSED = (*FUSED_ACTIVATIONS, *PASSING, "BatchNormalization")


@dataclass(frozen=True)
class Residual:
    """The two inputs of a residual Add.

    Attributes:
        branch: Input slot of the branch: it ends in an operator with weights that the Add can be
            fused into.
        shortcut: The other slot.
        op_type: What the branch ends in.
        end: Key of that node.
    """

    branch: int
    shortcut: int
    op_type: str
    end: str


def residual(node: NodeView, graph: GraphView) -> Residual | None:
    """How an Add of two activations is residual, ``None`` if neither input ends in a weighted op.

    Where both do (a projection in the shortcut), the branch is the one that is further from the
    last tensor that both are computed from, of equals the first. The rule is that of NVIDIA's Model
    Optimizer.
    """
    if not node.is_op("Add") or len(set(node.inputs)) != 2:
        return None
    if any(t in graph.weights or not graph.is_float(t) for t in node.inputs):
        return None
    ends = [_backbone(t, graph) for t in node.inputs]
    if not any(ends):
        return None
    if all(ends):
        first, second = _depths(node, graph)
        branch = 0 if first >= second else 1
    else:
        branch = 0 if ends[0] else 1
    end = ends[branch]
    assert end is not None
    return Residual(branch, 1 - branch, end.op_type, end.key)


def _backbone(tensor: str, graph: GraphView) -> NodeView | None:
    """The weighted node whose result only the Add reads, ``None`` if that is not what it adds."""
    while graph.only_user(tensor) is not None:
        node = graph.producer.get(tensor)
        if node is None:
            return None
        if node.is_op(*PRODUCTS):
            return node if node.inputs[1] in graph.weights else None
        live = [t for t in node.inputs if t and t not in graph.weights]
        if not node.is_op(*_FUSED, *BINARY_ARITHMETIC) or len(live) != 1:
            return None
        tensor = live[0]
    return None


def _depths(add: NodeView, graph: GraphView) -> tuple[int, int]:
    """Longest paths, in nodes, from the last common ancestor of both inputs to each of them.

    Nodes are visited from the last to the first, so that all paths through a node are known when
    its turn comes. Without a common node each depth is that of the whole graph before the input.
    """
    depths: dict[int, list[int]] = {}
    queue: list[int] = []

    def reach(tensor: str, side: int, depth: int) -> None:
        maker = graph.producer.get(tensor)
        if maker is None:
            totals[side] = max(totals[side], depth)
            return
        if maker.index not in depths:
            depths[maker.index] = [-1, -1]
            heapq.heappush(queue, -maker.index)
        depths[maker.index][side] = max(depths[maker.index][side], depth)

    totals = [0, 0]
    for side, tensor in enumerate(add.inputs):
        reach(tensor, side, 0)
    while queue:
        node = graph.nodes[-heapq.heappop(queue)]
        first, second = depths[node.index]
        if first >= 0 and second >= 0:
            return first, second
        side, depth = (0, first) if first >= 0 else (1, second)
        for tensor in (*node.inputs, *node.captures):
            if tensor and tensor not in graph.weights:
                reach(tensor, side, depth + 1)
    return totals[0], totals[1]
