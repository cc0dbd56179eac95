"""Shapes that are known without shape inference, whose rules differ between versions of onnx."""

from __future__ import annotations

import onnx_ir as ir

from precsearch.graph.operators import SOFTMAXES

__all__ = ["Shapes"]

_KEEPING = frozenset(
    {
        *("Identity", "Cast", "Relu", "Abs", "Neg", "Sqrt", "Exp", "Log", "Tanh", "Sigmoid", "Erf"),
        *(*SOFTMAXES, "Clip", "LeakyRelu", "Elu", "Gelu", "HardSigmoid", "Softplus"),
        *("HardSwish", "Mish", "Sin", "Cos", "Floor", "Ceil", "Round", "Not", "Sign", "Dropout"),
        *("LayerNormalization", "BatchNormalization", "InstanceNormalization"),
    }
)
"""Operators whose first output has the shape of their first input."""

Dims = tuple[int | None, ...]


class Shapes:
    """Looks up declared shapes of graph inputs and follows them through what keeps a shape."""

    def __init__(self, graph: ir.Graph) -> None:
        self._known: dict[ir.Value, Dims] = {}
        for value in graph.inputs:
            if value.shape is not None:
                dims = (d if isinstance(d, int) and d >= 0 else None for d in value.shape)
                self._known[value] = tuple(dims)

    def __getitem__(self, value: ir.Value) -> Dims | None:
        return self._known.get(value)

    def pass_on(self, node: ir.Node) -> None:
        """Note what a node makes of a known shape; nodes come in topological order."""
        if node.domain not in ("", "ai.onnx") or not node.inputs or node.inputs[0] is None:
            return
        known = self._known.get(node.inputs[0])
        if known is None:
            return
        if node.op_type in _KEEPING:
            self._known[node.outputs[0]] = known
        elif node.op_type == "Transpose":
            perm = node.attributes.get("perm")
            order = range(len(known))[::-1] if perm is None else perm.as_ints()
            if sorted(order) == list(range(len(known))):
                self._known[node.outputs[0]] = tuple(known[i] for i in order)
