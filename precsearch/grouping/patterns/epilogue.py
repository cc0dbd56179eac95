"""Chains of operators that engines fuse into the operator before them."""

from __future__ import annotations

from collections.abc import Iterator

from precsearch.graph.operators import FUSED_ACTIVATIONS
from precsearch.graph.view import NodeView
from precsearch.grouping.patterns.kinds import HEADS, kind_of
from precsearch.grouping.patterns.lookup import Lookup, Pattern

__all__ = ["Chains"]


class Chains(Lookup):
    """Conv, MatMul, Gemm, residual Add …: one operator and what follows it element by element."""

    def chain(self, node: NodeView) -> Pattern | None:
        """An operator, the constant shift and scale after it, and the Relu or Clip after that."""
        kind = kind_of(node, self.graph)
        if kind not in HEADS:
            return None
        nodes = [node.index]
        tensor = node.outputs[0]
        for step in self._affine(node, kind):
            nodes.append(step.index)
            tensor = step.outputs[0]
        while (clip := self.next_is(tensor, *FUSED_ACTIVATIONS)) is not None:
            if any(t and t not in self.graph.weights for t in clip.inputs[1:]):
                break
            nodes.append(clip.index)
            tensor = clip.outputs[0]
        return Pattern(kind, tuple(sorted(nodes)))

    def _affine(self, node: NodeView, kind: str) -> Iterator[NodeView]:
        tensor = node.outputs[0]
        if kind == "matmul":
            add = self.next_is(tensor, "Add")
            if add is not None and self._along(self.constant_operand(add), 1):
                yield add
        elif kind == "conv":
            weight = self.graph.weights.get(node.inputs[1])
            rank = len(weight.shape) if weight is not None else self.graph.rank(tensor) or 0
            while (step := self.next_is(tensor, "BatchNormalization", "Add", "Mul")) is not None:
                if step.is_op("BatchNormalization"):
                    fits = step.inputs[0] == tensor
                else:
                    fits = self._along(self.constant_operand(step), rank - 1)
                if not fits:
                    return
                yield step
                tensor = step.outputs[0]

    def _along(self, tensor: str, from_end: int) -> bool:
        """Whether a constant differs along one axis at most, counted from the last as 1."""
        weight = self.graph.weights.get(tensor)
        if weight is None:
            return False
        axes = [len(weight.shape) - i for i, d in enumerate(weight.shape) if d != 1]
        return not axes or axes == [from_end]
