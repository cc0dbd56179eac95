"""DequantizeLinear of a constant: a way to store a weight, or its author's quantization."""

from __future__ import annotations

import onnx_ir as ir

__all__ = ["keeps_quantized"]

_LAYERS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul", "Einsum"})
_MOVING = frozenset({"Identity", "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten"})


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
    if node.op_type in _MOVING:
        return slot != 0 or keeps_quantized(node.outputs[0])
    if node.op_type not in _LAYERS:
        return True
    activation = node.inputs[0 if slot else 1]
    if activation is None or _made_by(activation, "DequantizeLinear"):
        return True
    return any(use.node.op_type == "QuantizeLinear" for use in node.outputs[0].uses())


def _made_by(value: ir.Value, op_type: str) -> bool:
    node = value.producer()
    return node is not None and node.op_type == op_type
