"""Weights alone: blocks of the reduced axis share a scale, activations stay in floats.

A MatMul reads DequantizeLinear of an INT4 constant. ONNX Runtime makes MatMulNBits of the two, and
TensorRT a kernel that dequantizes while it multiplies. ONNX has blocks and INT4 from operator set
21 on. A Gemm is written as a MatMul and its bias, with the weight transposed: engines know that
form alone. A backend's scheme says which precisions there are, and how large a block is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx

from precsearch.core.errors import ModelError
from precsearch.core.formats import FLOAT16, INT4, NumberFormat
from precsearch.core.precision import Precision
from precsearch.core.quantization import PerBlock, QuantScheme, TensorFormat
from precsearch.graph.encode import coded, rounded, stored
from precsearch.graph.view import GraphView, NodeView
from precsearch.lowering.capabilities import is_product, weight_slot
from precsearch.lowering.qdq.scales import round_up_to_half
from precsearch.lowering.tensor_names import SEPARATOR, short
from precsearch.lowering.writer import GraphWriter

__all__ = [
    "PackedTensors",
    "PackedWeight",
    "block_of",
    "fits",
    "packed_stem",
    "packed_tensor",
    "packed_weight",
    "unpacked",
]

_SHARES = tuple(np.float32(share) for share in (0.95, 0.9, 0.85, 0.8, 0.75))
"""Of the scale that clips nothing: clipping the largest value of a block often costs less than the
wider steps do. The share with the least squared error is taken, block by block."""

_LEAST_BLOCKS = 2
"""With one block, TensorRT-RTX dequantizes by a kernel of its own, which gains nothing."""


Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class PackedWeight:
    """A weight of shape (reduced, outputs).

    Attributes:
        values: In units of the scales, of that shape; whole numbers as int8, others as FP32.
        scales: FP32, shape (reduced / size of a block, outputs).
    """

    values: npt.NDArray[np.generic]
    scales: npt.NDArray[np.float32]


def fits(node: NodeView, graph: GraphView, scheme: QuantScheme, precision: Precision) -> bool:
    """Whether a scheme keeps the weight of a node in a precision: of two dimensions.

    The reduced dimension consists of whole blocks, and the number of outputs is even, since two
    values of 4 bits share a byte.
    """
    stored_as = scheme.packed(node.op_type, precision)
    if stored_as is None or node.domain:
        return False
    if not node.is_op("MatMul", "Gemm") or weight_slot(node, graph) is None:
        return False
    shape = graph.weights[node.inputs[1]].shape
    if len(shape) != 2 or not is_product(node, graph):
        return False
    reduced, outputs = shape[::-1] if _turned(node) else shape
    block = block_of(stored_as)
    return reduced % block == 0 and reduced >= _LEAST_BLOCKS * block and outputs % 2 == 0


def block_of(stored_as: TensorFormat) -> int:
    """Values that share a scale.

    Raises:
        TypeError: The format has no blocks.
    """
    if not isinstance(stored_as.granularity, PerBlock):
        raise TypeError(f"weights alone in {stored_as.format.name} are written in blocks")
    return stored_as.granularity.size


def _turned(node: NodeView) -> bool:
    return node.is_op("Gemm") and bool(node.int_attribute("transB", 0))


def packed_weight(
    node: NodeView, graph: GraphView, around: NumberFormat, stored_as: TensorFormat
) -> PackedWeight:
    """The weight of a node that `fits`, reduced axis first.

    Args:
        node: MatMul or Gemm.
        graph: The prepared model.
        around: The float format that it is dequantized to, which holds the scales.
        stored_as: What it is quantized to.

    Raises:
        ModelError: The weight has values that are not finite.
    """
    weight = np.asarray(graph.weights[node.inputs[1]].load(), np.float32)
    weight = np.ascontiguousarray(weight.T) if _turned(node) else weight
    blocks = weight.reshape(-1, block_of(stored_as), weight.shape[1])
    largest = np.asarray(np.max(np.abs(blocks), axis=1, keepdims=True), np.float32)
    full = largest / np.float32(stored_as.largest)
    if not np.all(np.isfinite(full)):
        raise ModelError("a weight holds values that are not finite; export the model again")
    full = np.asarray(np.where(full == 0, 1, full), np.float32)
    best = _held(full, around)
    least = _squared_error(blocks, best, stored_as)
    for share in _SHARES:
        scale = _held(full * share, around)
        error = _squared_error(blocks, scale, stored_as)
        best, least = np.where(error < least, scale, best), np.minimum(error, least)
    values = _nearest(blocks, best, stored_as)
    kept = values.astype(np.int8) if stored_as.format.is_integer else values
    return PackedWeight(kept.reshape(weight.shape), best.reshape(-1, weight.shape[1]))


def _held(scale: Floats, around: NumberFormat) -> Floats:
    """Scales that a float format holds."""
    return round_up_to_half(scale) if around == FLOAT16 else rounded(scale, around)


def _nearest(blocks: Floats, scale: Floats, stored_as: TensorFormat) -> Floats:
    steps, limit = blocks / scale, np.float32(stored_as.largest)
    nearest = np.rint(steps) if stored_as.format.is_integer else rounded(steps, stored_as.format)
    return np.asarray(np.clip(nearest, -limit, limit), np.float32)


def _squared_error(blocks: Floats, scale: Floats, stored_as: TensorFormat) -> Floats:
    """Of each block, added one value after the other: the sum is the same with every NumPy."""
    error = np.square(_nearest(blocks, scale, stored_as) * scale - blocks)
    total = np.zeros_like(scale)
    for position in range(blocks.shape[1]):
        total[:, 0] += error[:, position]
    return total


def unpacked(node: NodeView, packed: PackedWeight, around: NumberFormat) -> npt.NDArray[np.float32]:
    """What DequantizeLinear gives, in the shape that the node's own weight has.

    Args:
        node: MatMul or Gemm.
        packed: Its weight.
        around: The float format that the result is rounded to.
    """
    block = len(packed.values) // len(packed.scales)
    wide = packed.values.astype(np.float32) * np.repeat(packed.scales, block, axis=0)
    wide = rounded(wide, around)
    return np.ascontiguousarray(wide.T) if _turned(node) else wide


def packed_tensor(
    name: str, values: npt.NDArray[np.generic], own: NumberFormat = INT4
) -> onnx.TensorProto:
    """A constant in a format; in INT4 two values share a byte, the first in its lower half.

    Args:
        name: Of the constant.
        values: That the format holds; for INT4 an even number of them.
        own: INT4, INT8 or FP8.
    """
    if own != INT4:
        return coded(name, values, own)
    nibbles = (values.astype(np.int8).reshape(-1) & np.int8(0x0F)).astype(np.uint8)
    data = nibbles[0::2] | (nibbles[1::2] << np.uint8(4))
    return onnx.TensorProto(
        name=name, data_type=INT4.elem_type, dims=values.shape, raw_data=data.tobytes()
    )


def packed_stem(name: str, stored_as: TensorFormat, number_format: NumberFormat) -> str:
    """What the names around a weight in blocks begin with."""
    block = block_of(stored_as)
    kind = "i4" if (stored_as.format, block) == (INT4, 32) else f"{stored_as.format.name}b{block}"
    return f"{name}{SEPARATOR}{kind}{short(number_format)}"


class PackedTensors:
    """Weights as constant → DequantizeLinear by blocks.

    Args:
        writer: Where they are written.
        nodes: Index of each node whose weight alone is quantized → what it is quantized to.
    """

    def __init__(self, writer: GraphWriter, nodes: Mapping[int, TensorFormat]) -> None:
        self.writer = writer
        self.graph = writer.graph
        self._nodes = nodes

    def operand(self, node: NodeView, slot: int, number_format: NumberFormat, /) -> str | None:
        """See `precsearch.lowering.writer.EncodedTensors.operand`."""
        stored_as = self._nodes.get(node.index)
        if stored_as is None or slot != weight_slot(node, self.graph):
            return None
        stem = packed_stem(node.inputs[1], stored_as, number_format)
        scale = f"{stem}/scale"
        if not self.writer.begins(stem):
            return f"{stem}/dq"
        cache = self.writer.cache
        if stem not in cache.protos:
            packed = packed_weight(node, self.graph, number_format, stored_as)
            cache.keep(stem, packed_tensor(stem, packed.values, stored_as.format))
            cache.keep(scale, stored(scale, packed.scales, number_format))
        for part in (stem, scale):
            self.writer.weights[part] = cache.protos[part]
        written = self.writer.node("DequantizeLinear", [stem, scale], f"{stem}/dq")
        attributes = {"axis": 0, "block_size": block_of(stored_as)}
        written.attribute.extend(onnx.helper.make_attribute(k, v) for k, v in attributes.items())
        return f"{stem}/dq"
