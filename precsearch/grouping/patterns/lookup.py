"""Operations that exporters write as many small nodes: norms, GELU, SiLU, the attention core."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from precsearch.graph.attention import attention_core
from precsearch.graph.view import GraphView, NodeView

__all__ = ["Composites", "Lookup", "Pattern"]

_MAX_STEPS = 10


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


class Composites(Lookup):
    """Matchers, each of which starts from the node that tells the pattern apart."""

    # LayerNorm and RMSNorm.

    def norm(self, root: NodeView) -> Pattern | None:
        """LayerNorm or RMSNorm around the square root of its variance.

        Its parts are the subtraction of the mean, the statistics (the square, its mean, its root),
        and what scales with them. Squares overflow FP16 where nothing else in the norm does: in a
        ViT with outliers on an H200, the statistics alone in FP32 cost no time and left an error of
        6e-4 where all-FP16 has 0.78, whole norms in FP32 cost 9 %.
        """
        if root.is_op("Pow") and not any(self.is_number(root.inputs[1], p) for p in (0.5, -0.5)):
            return None
        shifted = self.made_by(root.inputs[0], "Add")
        if shifted is None or not self.is_scalar(self.constant_operand(shifted)):
            return None
        variance = next((n for t in shifted.inputs if (n := self.made_by(t, "ReduceMean"))), None)
        square = self.made_by(variance.inputs[0], "Pow", "Mul") if variance is not None else None
        if variance is None or square is None:
            return None
        is_square = (
            self.is_number(square.inputs[1], 2.0)
            if square.is_op("Pow")
            else square.inputs[0] == square.inputs[1]
        )
        if not is_square:
            return None
        statistics = {square.index, variance.index, shifted.index, root.index}
        region: set[int] = set()
        known = {square.inputs[0]}
        centred = self._centred(square.inputs[0])
        for node in centred:
            region.add(node.index)
            known |= {t for t in (*node.inputs, *node.outputs) if t}
        tail = self._normalised(root.outputs[0], known)
        if not tail:
            return None
        kind = "layernorm" if centred else "rmsnorm"
        named = ((f"{kind}-mean", region), (f"{kind}-statistics", statistics), (kind, tail))
        parts = tuple(Pattern(name, tuple(sorted(nodes))) for name, nodes in named if nodes)
        return Pattern(kind, tuple(sorted(region | statistics | tail)), parts)

    def _centred(self, tensor: str) -> tuple[NodeView, ...]:
        """The mean and the subtractions of it, twins included, if ``tensor`` is such a one."""
        sub = self.made_by(tensor, "Sub")
        mean = self.made_by(sub.inputs[1], "ReduceMean") if sub is not None else None
        if sub is None or mean is None or mean.inputs[0] != sub.inputs[0]:
            return ()
        users = self.graph.users(mean.outputs[0])
        twins = [u for u in users if u.is_op("Sub") and u.inputs == sub.inputs]
        return (mean, *twins)

    def _normalised(self, root: str, known: set[str]) -> set[int]:
        """What turns the root into the norm's output: division, gamma, beta, in any arrangement.

        Grows along nodes that read nothing but constants and tensors of the norm. One constant
        factor and one constant summand at most, so that what comes after is left alone.
        """
        inputs = frozenset(known)
        known = known | {root}
        found: set[int] = set()
        budget = {"scale": 1, "shift": 1}
        frontier = [root]
        while frontier:
            tensor = frontier.pop(0)
            for user in self.graph.users(tensor):
                if user.index in found or not self._is_norm_step(user, known, inputs):
                    continue
                constant = self.constant_operand(user)
                if constant and not (user.is_op("Div") and constant == user.inputs[0]):
                    use = "scale" if user.is_op("Mul", "Div") else "shift"
                    if budget[use] == 0:
                        continue
                    budget[use] -= 1
                found.add(user.index)
                known.add(user.outputs[0])
                frontier.append(user.outputs[0])
        return found

    def _is_norm_step(self, node: NodeView, known: set[str], inputs: frozenset[str]) -> bool:
        if not node.is_op("Div", "Mul", "Add", "Sub", "Reciprocal"):
            return False
        if any(t not in known and t not in self.graph.weights for t in node.inputs):
            return False
        # x + norm(x) is a residual connection, not a part of the norm.
        return node.is_op("Div", "Mul", "Reciprocal") or inputs.isdisjoint(node.inputs)

    # GELU and SiLU.

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
        found: set[int] = set()
        pending = [tensor]
        while pending:
            current = pending.pop()
            if current == source or current in self.graph.weights:
                continue
            node = self.made_by(current, "Mul", "Div", "Add", "Pow")
            if node is None or len(found) > _MAX_STEPS:
                return None
            if node.index not in found:
                found.add(node.index)
                pending.extend(node.inputs)
        return None if source in self.graph.weights else found

    # The attention core.

    def attention(self, softmax: NodeView) -> Pattern | None:
        """Product, scale, mask, softmax and second product, with what reshapes in between."""
        core = attention_core(softmax, self.graph)
        return None if core is None else Pattern("attention", core.nodes)
