"""What every pattern asks of a graph."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from precsearch.graph.view import GraphView, NodeView

__all__ = ["Lookup", "Pattern"]


@dataclass(frozen=True)
class Pattern:
    """Nodes that belong together.

    Attributes:
        kind: What it is.
        nodes: Their indices, ascending.
        parts: Those that may be decided apart where FP16 is at hand: disjoint, in graph order, all
            nodes together. Empty for most kinds.
    """

    kind: str
    nodes: tuple[int, ...]
    parts: tuple[Pattern, ...] = ()


class Lookup:
    """Questions about a graph that every pattern asks."""

    def __init__(self, graph: GraphView) -> None:
        self.graph = graph

    def is_scalar(self, tensor: str) -> bool:
        """Whether a tensor holds one number, constant or not."""
        weight = self.graph.weights.get(tensor)
        shape = self.graph.shapes.get(tensor) if weight is None else weight.shape
        return shape is not None and all(d == 1 for d in shape)

    def is_number(self, tensor: str, value: float) -> bool:
        """Whether a tensor is a constant close to ``value``."""
        weight = self.graph.weights.get(tensor)
        if weight is None or weight.size != 1:
            return False
        return bool(np.isclose(float(weight.array.reshape(-1)[0]), value, rtol=1e-3))

    def made_by(self, tensor: str, *op_types: str) -> NodeView | None:
        """The node that writes a tensor if it is one of these operators."""
        node = self.graph.producer.get(tensor)
        return node if node is not None and node.is_op(*op_types) else None

    def next_is(self, tensor: str, *op_types: str) -> NodeView | None:
        """The only reader of a tensor if it is one of these operators."""
        node = self.graph.only_user(tensor)
        return node if node is not None and node.is_op(*op_types) else None

    def other(self, node: NodeView, tensor: str) -> str:
        """The operand of a binary node beside ``tensor``."""
        return node.inputs[1] if node.inputs[0] == tensor else node.inputs[0]

    def constant_operand(self, node: NodeView) -> str:
        """The constant operand of a binary node, "" without one."""
        return next((t for t in node.inputs if t in self.graph.weights), "")
