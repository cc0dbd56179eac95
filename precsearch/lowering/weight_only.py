"""Weights alone in INT4: blocks of the reduced axis share a scale, activations stay in floats.

A MatMul reads DequantizeLinear of an INT4 constant. ONNX Runtime makes MatMulNBits of the two, and
TensorRT a kernel that dequantizes while it multiplies. ONNX has blocks and INT4 from operator set
21 on. A Gemm is written as a MatMul and its bias, with the weight transposed: engines know that
form alone.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx

from precsearch.core.errors import ModelError
from precsearch.core.formats import FLOAT16, INT4, NumberFormat
from precsearch.graph.encode import rounded, stored
from precsearch.graph.view import GraphView, NodeView
from precsearch.lowering.capabilities import is_product, weight_slot
from precsearch.lowering.qdq.scales import round_up_to_half
from precsearch.lowering.tensor_names import SEPARATOR, short
from precsearch.lowering.writer import GraphWriter

__all__ = [
    "BLOCK",
    "PackedTensors",
    "PackedWeight",
    "fits",
    "packed_tensor",
    "packed_weight",
    "unpacked",
]

BLOCK = 32
"""Values that share a scale. Engines take 16 to 128: smaller blocks are more exact, and a scale of
16 bits for 32 values makes 4.5 bits a weight."""

_LIMIT = np.float32(INT4.largest)
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
        values: From -7 to 7, of that shape.
        scales: FP32, shape (reduced / `BLOCK`, outputs).
    """

    values: npt.NDArray[np.int8]
    scales: npt.NDArray[np.float32]


def fits(node: NodeView, graph: GraphView) -> bool:
    """Whether the weight of a node can be kept in INT4: a MatMul's or Gemm's of two dimensions.

    The reduced dimension consists of whole blocks, and the number of outputs is even, since two
    values share a byte.
    """
    if not node.is_op("MatMul", "Gemm") or weight_slot(node, graph) is None:
        return False
    shape = graph.weights[node.inputs[1]].shape
    if len(shape) != 2 or not is_product(node, graph):
        return False
    reduced, outputs = shape[::-1] if _turned(node) else shape
    return reduced % BLOCK == 0 and reduced >= _LEAST_BLOCKS * BLOCK and outputs % 2 == 0


def _turned(node: NodeView) -> bool:
    return node.is_op("Gemm") and bool(node.int_attribute("transB", 0))


def packed_weight(node: NodeView, graph: GraphView, around: NumberFormat) -> PackedWeight:
    """The weight of a node that `fits`, reduced axis first.

    Args:
        node: MatMul or Gemm.
        graph: The prepared model.
        around: The float format that it is dequantized to, which holds the scales.

    Raises:
        ModelError: The weight has values that are not finite.
    """
    weight = np.asarray(graph.weights[node.inputs[1]].load(), np.float32)
    weight = np.ascontiguousarray(weight.T) if _turned(node) else weight
    blocks = weight.reshape(-1, BLOCK, weight.shape[1])
    full = np.max(np.abs(blocks), axis=1, keepdims=True) / _LIMIT
    if not np.all(np.isfinite(full)):
        raise ModelError("a weight holds values that are not finite; export the model again")
    full = np.where(full == 0, np.float32(1), full)
    best = _held(full, around)
    least = _squared_error(blocks, best)
    for share in _SHARES:
        scale = _held(full * share, around)
        error = _squared_error(blocks, scale)
        best, least = np.where(error < least, scale, best), np.minimum(error, least)
    values = _nearest(blocks, best).astype(np.int8)
    return PackedWeight(values.reshape(weight.shape), best.reshape(-1, weight.shape[1]))


def _held(scale: Floats, around: NumberFormat) -> Floats:
    """Scales that a float format holds."""
    return round_up_to_half(scale) if around == FLOAT16 else rounded(scale, around)


def _nearest(blocks: Floats, scale: Floats) -> Floats:
    return np.asarray(np.clip(np.rint(blocks / scale), -_LIMIT, _LIMIT), np.float32)


def _squared_error(blocks: Floats, scale: Floats) -> Floats:
    """Of each block, added one value after the other: the sum is the same with every NumPy."""
    error = np.square(_nearest(blocks, scale) * scale - blocks)
    total = np.zeros_like(scale)
    for position in range(BLOCK):
        total[:, 0] += error[:, position]
    return total


def unpacked(node: NodeView, packed: PackedWeight, around: NumberFormat) -> npt.NDArray[np.float32]:
    """What DequantizeLinear gives, in the shape that the node's own weight has.

    Args:
        node: MatMul or Gemm.
        packed: Its weight.
        around: The float format that the result is rounded to.
    """
    wide = packed.values.astype(np.float32) * np.repeat(packed.scales, BLOCK, axis=0)
    wide = rounded(wide, around)
    return np.ascontiguousarray(wide.T) if _turned(node) else wide


def packed_tensor(name: str, values: npt.NDArray[np.int8]) -> onnx.TensorProto:
    """A constant of type INT4: two values share a byte, the first in its lower half.

    Args:
        name: Of the constant.
        values: From -8 to 7, an even number of them.
    """
    nibbles = (values.reshape(-1) & np.int8(0x0F)).astype(np.uint8)
    data = nibbles[0::2] | (nibbles[1::2] << np.uint8(4))
    return onnx.TensorProto(
        name=name, data_type=INT4.elem_type, dims=values.shape, raw_data=data.tobytes()
    )


class PackedTensors:
    """Weights as INT4 constant → DequantizeLinear by blocks.

    Args:
        writer: Where they are written.
        nodes: Indices of the nodes whose weights alone are quantized.
    """

    def __init__(self, writer: GraphWriter, nodes: Collection[int]) -> None:
        self.writer = writer
        self.graph = writer.graph
        self._nodes = nodes

    def operand(self, node: NodeView, slot: int, wanted: NumberFormat, /) -> str | None:
        """See `precsearch.lowering.writer.EncodedTensors.operand`."""
        if node.index not in self._nodes or slot != weight_slot(node, self.graph):
            return None
        stem = f"{node.inputs[1]}{SEPARATOR}i4{short(wanted)}"
        scale = f"{stem}/scale"
        if not self.writer.begins(stem):
            return f"{stem}/dq"
        cache = self.writer.cache
        if stem not in cache.protos:
            made = packed_weight(node, self.graph, wanted)
            cache.keep(stem, packed_tensor(stem, made.values))
            cache.keep(scale, stored(scale, made.scales, wanted))
        for part in (stem, scale):
            self.writer.weights[part] = cache.protos[part]
        written = self.writer.node("DequantizeLinear", [stem, scale], f"{stem}/dq")
        attributes = {"axis": 0, "block_size": BLOCK}
        written.attribute.extend(onnx.helper.make_attribute(k, v) for k, v in attributes.items())
        return f"{stem}/dq"
