"""LayerNorm and RMSNorm as exporters write them, in many small nodes."""

from __future__ import annotations

from precsearch.graph.operators import BINARY_ARITHMETIC
from precsearch.graph.view import NodeView
from precsearch.grouping.patterns.lookup import Lookup, Pattern

__all__ = ["Norms"]


class Norms(Lookup):
    """Starts from the square root of a variance."""

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
        tail = self._normalized(root.outputs[0], known)
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

    def _normalized(self, root: str, known: set[str]) -> set[int]:
        """What turns the root into the norm's output: division, gamma, beta, in any arrangement.

        Grows along nodes that read nothing but constants and tensors of the norm. One constant
        factor and one constant summand at most, so that what comes after is left alone.
        """
        inputs = frozenset(known)
        known = known | {root}
        nodes: set[int] = set()
        budget = {"scale": 1, "shift": 1}
        frontier = [root]
        while frontier:
            tensor = frontier.pop(0)
            for user in self.graph.users(tensor):
                if user.index in nodes or not self._is_norm_step(user, known, inputs):
                    continue
                constant = self.constant_operand(user)
                if constant and not (user.is_op("Div") and constant == user.inputs[0]):
                    use = "scale" if user.is_op("Mul", "Div") else "shift"
                    if budget[use] == 0:
                        continue
                    budget[use] -= 1
                nodes.add(user.index)
                known.add(user.outputs[0])
                frontier.append(user.outputs[0])
        return nodes

    def _is_norm_step(self, node: NodeView, known: set[str], inputs: frozenset[str]) -> bool:
        if not node.is_op(*BINARY_ARITHMETIC, "Reciprocal"):
            return False
        if any(t not in known and t not in self.graph.weights for t in node.inputs):
            return False
        # x + norm(x) is a residual connection, not a part of the norm.
        return node.is_op("Div", "Mul", "Reciprocal") or inputs.isdisjoint(node.inputs)
