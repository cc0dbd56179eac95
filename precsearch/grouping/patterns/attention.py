"""The core of an attention: two products with a softmax between them."""

from __future__ import annotations

from precsearch.graph.operators import PASSING
from precsearch.graph.view import NodeView
from precsearch.grouping.patterns.lookup import Lookup, Pattern

__all__ = ["Attention"]

_SHAPERS = (*PASSING, "Reshape", "Transpose", "Squeeze", "Unsqueeze")
_MAX_STEPS = 10


class Attention(Lookup):
    """Starts from the softmax."""

    def attention(self, softmax: NodeView) -> Pattern | None:
        """Product, scale, mask, softmax and second product, with what reshapes in between."""
        before = self._scores(softmax.inputs[0], _MAX_STEPS)
        after = self._weighted(softmax.outputs[0], _MAX_STEPS)
        if before is None or after is None:
            return None
        scores = before[0]
        scales = [n for t in scores.inputs for n in self._scale(t)]
        nodes = {n.index for n in (*scales, *before, softmax, *after)}
        return Pattern("attention", tuple(sorted(nodes)))

    def _scores(self, tensor: str, steps: int) -> list[NodeView] | None:
        """The nodes from the product of Q and K to ``tensor``."""
        node = self.graph.producer.get(tensor)
        if node is None or steps == 0:
            return None
        if node.is_op("MatMul"):
            return None if self.constant_operand(node) else [node]
        if not node.is_op("Add", "Where", "Mul", "Div", *_SHAPERS):
            return None
        for source in node.inputs:
            if source and self.graph.is_float(source) and source not in self.graph.weights:
                path = self._scores(source, steps - 1)
                if path is not None:
                    return [*path, node]
        return None

    def _weighted(self, tensor: str, steps: int) -> list[NodeView] | None:
        """The nodes from ``tensor`` to the product with V."""
        for user in self.graph.users(tensor) if steps else ():
            if user.is_op("MatMul") and not self.constant_operand(user):
                return [user]
            scaled = user.is_op("Mul") and self.is_scalar(self.constant_operand(user))
            if scaled or user.is_op("Where", *_SHAPERS):
                path = self._weighted(user.outputs[0], steps - 1)
                if path is not None:
                    return [user, *path]
        return None

    def _scale(self, tensor: str) -> list[NodeView]:
        """The multiplication by one number before a product, with what reshapes after it."""
        found: list[NodeView] = []
        while self.graph.only_user(tensor) is not None:
            node = self.graph.producer.get(tensor)
            if node is None:
                break
            found.append(node)
            if node.is_op("Mul", "Div") and any(self.is_scalar(t) for t in node.inputs):
                return found
            if not node.is_op(*_SHAPERS):
                break
            tensor = node.inputs[0]
        return []
