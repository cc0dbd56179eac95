"""Graphs that no typed network takes, told before TensorRT's parser is asked.

What the lowering writes is always taken; Q/DQ that a model's author put into it may not be. Found
with the parser of TensorRT-RTX 1.7.1, which shares its rules with TensorRT 11
(docs/tensorrt-versions.md). An unsigned type it takes and computes as if it were signed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import onnx
from onnx import TensorProto

from precsearch.core.errors import OptionError
from precsearch.graph.operators import PRODUCTS, QDQ

__all__ = ["refuse_unbuildable"]

_QUANTIZED = {
    TensorProto.INT8: "int8",
    TensorProto.FLOAT8E4M3FN: "float8e4m3",
    TensorProto.INT4: "int4",
    23: "float4e2m1",
}
"""Types that quantized tensors may have."""
_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16)
_INTEGERS = (TensorProto.INT32, TensorProto.INT64, TensorProto.UINT32, TensorProto.UINT64)
_DEFAULT = TensorProto.UINT8
"""What QuantizeLinear gives without a zero point and without being told."""
_LAST = 2
"""Blocks lie along one of the last so many axes."""
_CURE = (
    "add --lift, which makes INT8 a choice again, or export the model without these nodes and let "
    "precsearch quantize it"
)


def refuse_unbuildable(model: onnx.ModelProto) -> None:
    """Refuse Q/DQ that a typed network has no form for.

    Raises:
        OptionError: There is some; the message names the node and what to do.
    """
    constants = {t.name: t for t in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type in QDQ and node.domain in ("", "ai.onnx"):
            for reason in _reasons(node, constants):
                raise OptionError(f"TensorRT does not take {node.op_type} {node.name!r}: {reason}")
    for node in _integer_products(model.graph, constants):
        raise OptionError(
            f"TensorRT multiplies no matrices of integers, and {node.name!r} is such a MatMul: "
            "export the model with a Cast to float before it"
        )
    for node, first, second in _mixed(model.graph, constants):
        raise OptionError(
            f"TensorRT has no {node.op_type} of {first} by {second}, as {node.name!r} is: {_CURE}"
        )


def _reasons(node: onnx.NodeProto, constants: Mapping[str, onnx.TensorProto]) -> Iterator[str]:
    held = constants.get(node.input[1])
    if held is not None and held.data_type not in _FLOATS:
        word = TensorProto.DataType.Name(held.data_type).lower()
        yield f"its scale must be of a float type and not of {word}; {_CURE}"
        return
    scale = _values(node, 1, constants)
    if scale is not None and bool(np.any(np.asarray(scale, np.float32) <= 0)):
        yield f"its scale must be positive; {_CURE}"
    kind = _kind(node, constants)
    if kind == TensorProto.INT32:
        yield f"a bias stays in floats there; {_CURE}"
    if kind is not None and kind not in _QUANTIZED:
        word = TensorProto.DataType.Name(kind).lower()
        yield f"it quantizes to int8, float8e4m3fn, int4 or float4e2m1 and not to {word}; {_CURE}"
    zero = _values(node, 2, constants)
    if zero is not None and bool(np.any(np.asarray(zero, np.float32) != 0)):
        yield f"quantization is symmetric there, and its zero point is not 0; {_CURE}"
    block = _attribute(node, "block_size", 0)
    held = constants.get(node.input[0])
    if block and held is not None:
        rank = len(held.dims)
        axis = _attribute(node, "axis", 1) % max(rank, 1)
        if axis < rank - _LAST:
            yield f"blocks lie along one of the last two axes, not along axis {axis}; {_CURE}"


def _kind(node: onnx.NodeProto, constants: Mapping[str, onnx.TensorProto]) -> int | None:
    """The quantized type of a Q or DQ, ``None`` where the node alone does not tell."""
    zero = constants.get(node.input[2]) if len(node.input) > 2 else None
    if zero is not None:
        return zero.data_type
    if node.op_type == "QuantizeLinear":
        return None if len(node.input) > 2 and node.input[2] else _written(node)
    held = constants.get(node.input[0])
    return None if held is None else held.data_type


def _written(node: onnx.NodeProto) -> int:
    return _attribute(node, "output_dtype", 0) or _DEFAULT


def _attribute(node: onnx.NodeProto, name: str, default: int) -> int:
    return next((int(a.i) for a in node.attribute if a.name == name), default)


def _values(
    node: onnx.NodeProto, slot: int, constants: Mapping[str, onnx.TensorProto]
) -> np.ndarray | None:
    held = constants.get(node.input[slot]) if len(node.input) > slot else None
    return None if held is None or held.data_location else onnx.numpy_helper.to_array(held)


def _integer_products(
    graph: onnx.GraphProto, constants: Mapping[str, onnx.TensorProto]
) -> Iterator[onnx.NodeProto]:
    types = {v.name: v.type.tensor_type.elem_type for v in graph.input}
    types |= {name: held.data_type for name, held in constants.items()}
    for node in graph.node:
        if node.op_type == "MatMul" and any(types.get(t) in _INTEGERS for t in node.input):
            yield node


def _mixed(
    graph: onnx.GraphProto, constants: Mapping[str, onnx.TensorProto]
) -> Iterator[tuple[onnx.NodeProto, str, str]]:
    """Products of two quantized tensors of unlike types that have no kernel."""
    makers = {t: n for n in graph.node for t in n.output}

    def quantized(tensor: str) -> str:
        maker = makers.get(tensor)
        while maker is not None and maker.op_type == "Cast":
            maker = makers.get(maker.input[0])
        if maker is None or maker.op_type != "DequantizeLinear":
            return ""
        kind = _kind(maker, constants)
        if kind is None and (before := makers.get(maker.input[0])) is not None:
            kind = _kind(before, constants) if before.op_type == "QuantizeLinear" else None
        return _QUANTIZED.get(kind or 0, "")

    for node in graph.node:
        if node.op_type in PRODUCTS and len(node.input) > 1:
            first, second = (quantized(t) for t in node.input[:2])
            if first == "float8e4m3" and second in ("int8", "int4"):
                yield node, first, second
            if first == "int8" and second == "float8e4m3":
                yield node, first, second
