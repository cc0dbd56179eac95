"""DequantizeLinear of a constant: a way to store a weight, or its author's quantization."""

from __future__ import annotations

import onnx_ir as ir

from precsearch.graph.operators import FUSED_ACTIVATIONS, PRODUCTS, REARRANGING

__all__ = ["keeps_quantized"]

_LAYERS = frozenset({*PRODUCTS, "Einsum"})
_STEPS = 8
_PASSING = frozenset({*REARRANGING, *FUSED_ACTIVATIONS, "MaxPool", "Slice", "Pad"})


def keeps_quantized(value: ir.Value) -> bool:
    """Whether a dequantized constant must stay as it is.

    A layer whose activation is quantized too computes in integers as its author wants it. Where the
    activation is FP32, the integers only make the file smaller, and the weight is FP32.

    Args:
        value: What DequantizeLinear makes of constants.
    """
    uses = value.uses()
    if not uses or value.is_graph_output():
        return True
    return any(_quantized_at(use.node, use.idx) for use in uses)


def _quantized_at(node: ir.Node, slot: int) -> bool:
    if node.domain not in ("", "ai.onnx"):
        return True
    if node.op_type in REARRANGING:
        return slot != 0 or keeps_quantized(node.outputs[0])
    if node.op_type not in _LAYERS:
        return True
    activation = node.inputs[0 if slot else 1]
    return activation is None or _from_integers(activation) or _to_integers(node.outputs[0])


def _from_integers(value: ir.Value) -> bool:
    """Whether a tensor was quantized, as seen through what keeps it so."""
    node = value.producer()
    for _ in range(_STEPS):
        if node is None or node.op_type not in _PASSING or node.inputs[0] is None:
            break
        node = node.inputs[0].producer()
    return node is not None and node.op_type == "DequantizeLinear"


def _to_integers(value: ir.Value) -> bool:
    """Whether a tensor is quantized, at once or after an activation."""
    for _ in range(_STEPS):
        users = [use.node for use in value.uses()]
        if any(user.op_type == "QuantizeLinear" for user in users):
            return True
        if len(users) != 1 or users[0].op_type not in _PASSING:
            return False
        value = users[0].outputs[0]
    return False
