"""GELU and SiLU as exporters write them, in many small nodes."""

from __future__ import annotations

from precsearch.graph.view import NodeView
from precsearch.grouping.patterns.lookup import Lookup, Pattern

__all__ = ["Activations"]

_MAX_STEPS = 10


class Activations(Lookup):
    """Starts from the curve: erf, tanh or a sigmoid."""

    def gelu(self, curve: NodeView) -> Pattern | None:
        """GELU: x * 0.5 * (1 + erf(x / sqrt 2)) or its tanh form, the factors in any order."""
        plus = self.next_is(curve.outputs[0], "Add")
        if plus is None or not self.is_number(self.constant_operand(plus), 1.0):
            return None
        nodes = [curve.index, plus.index]
        tensor = plus.outputs[0]
        product = self.next_is(tensor, "Mul")
        halved = product is not None and bool(self.constant_operand(product))
        if product is not None and halved:
            nodes.append(product.index)
            tensor = product.outputs[0]
            product = self.next_is(tensor, "Mul")
        if product is None or self.constant_operand(product):
            return None
        nodes.append(product.index)
        factor = self.other(product, tensor)
        inner = self._between(curve.inputs[0], factor)
        if inner is None:
            half = self.made_by(factor, "Mul", "Div")
            constant = self.constant_operand(half) if half is not None else ""
            if half is None or not self.is_scalar(constant):
                return None
            inner = self._between(curve.inputs[0], self.other(half, constant))
            nodes.append(half.index)
        elif not halved:
            last = self.next_is(product.outputs[0], "Mul", "Div")
            if last is not None and self._halves(last):
                nodes.append(last.index)
        return None if inner is None else Pattern("gelu", tuple(sorted({*nodes, *inner})))

    def _halves(self, node: NodeView) -> bool:
        if node.is_op("Div"):
            return self.is_number(node.inputs[1], 2.0)
        return self.is_number(self.constant_operand(node), 0.5)

    def silu(self, gate: NodeView) -> Pattern | None:
        """SiLU: x * sigmoid(x); with a factor, x * sigmoid(a x), it is a quick GELU."""
        product = self.next_is(gate.outputs[0], "Mul")
        if product is None:
            return None
        inner = self._between(gate.inputs[0], self.other(product, gate.outputs[0]))
        if inner is None or len(inner) > 1:
            return None
        kind = "gelu" if inner else "silu"
        return Pattern(kind, tuple(sorted({gate.index, product.index, *inner})))

    def _between(self, tensor: str, source: str) -> set[int] | None:
        """The arithmetic that computes ``tensor`` from ``source`` and constants alone."""
        nodes: set[int] = set()
        pending = [tensor]
        while pending:
            current = pending.pop()
            if current == source or current in self.graph.weights:
                continue
            node = self.made_by(current, "Mul", "Div", "Add", "Pow")
            if node is None or len(nodes) > _MAX_STEPS:
                return None
            if node.index not in nodes:
                nodes.add(node.index)
                pending.extend(node.inputs)
        return None if source in self.graph.weights else nodes
