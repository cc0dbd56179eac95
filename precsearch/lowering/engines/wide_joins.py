"""Concats in FP16 of dequantized tensors alone, where FP16 does not hold all of their scales.

A tensor whose scale is below FP16's normal range is dequantized in FP32 and cast. TensorRT-RTX
1.7.1 joins quantized data before it dequantizes them, and fails where one operand of the Concat has
an FP16 scale and another an FP32 one ("CHECK(opnd->type() == output_type)"). In FP32, with one Cast
behind it, the same Concat builds, has the same values and is one kernel, too. A LeakyRelu in
between does not help.
"""

from __future__ import annotations

from collections.abc import Mapping

from precsearch.core.formats import FLOAT16, FLOAT32, NumberFormat
from precsearch.graph.operators import REARRANGING, SELECTING
from precsearch.graph.view import GraphView, NodeView
from precsearch.lowering.qdq.layout import QuantLayout
from precsearch.lowering.qdq.scales import fits_half
from precsearch.lowering.tensor_names import scale_key

__all__ = ["wide_joins"]

_BEFORE_DEQUANTIZING = frozenset(
    {
        *(*REARRANGING, *SELECTING, "Abs", "DepthToSpace", "Dropout", "GatherND", "GlobalMaxPool"),
        *("MaxPool", "Neg", "ReduceMax", "ReduceMin", "SpaceToDepth", "Tile"),
    }
)
"""What the builder computes on quantized data that only a later operator needs in floats."""


def wide_joins(
    graph: GraphView, layout: QuantLayout, floats: Mapping[int, NumberFormat]
) -> frozenset[int]:
    """Indices of the Concats in FP16 that have to be written in FP32.

    Args:
        graph: The prepared model.
        layout: Its quantized tensors.
        floats: Index of each node that computes in another float format than FP32 → the format.
    """
    scales = _Scales(graph, layout)
    found = set()
    for node in graph.nodes:
        own = floats.get(node.index, FLOAT32)
        formats = scales.behind(node, own)
        if node.is_op("Concat") and own == FLOAT16 and {FLOAT16, FLOAT32} <= formats:
            found.add(node.index)
            formats = scales.behind(node, FLOAT32)
        if formats:
            scales.of.update(dict.fromkeys(filter(None, node.outputs), formats))
    return frozenset(found)


class _Scales:
    """The formats of the scales that tensors were dequantized with.

    Attributes:
        of: Tensor that is made of dequantized values alone → the formats of their scales.
    """

    def __init__(self, graph: GraphView, layout: QuantLayout) -> None:
        self.graph = graph
        self.layout = layout
        self.of: dict[str, frozenset[NumberFormat]] = {}

    def behind(self, node: NodeView, own: NumberFormat) -> frozenset[NumberFormat]:
        """Those behind what a node in the format ``own`` writes, empty if it is not made of such.

        Args:
            node: In graph order: the nodes before it are in ``of``.
            own: The float format that it computes in.
        """
        if node.is_op("DequantizeLinear"):  # the author's
            return frozenset({FLOAT32})
        if node.is_op("Concat"):
            operands = [self._read(node, slot, own) for slot in range(len(node.inputs))]
            return frozenset().union(*operands) if all(operands) else frozenset()
        live = self._live(node)
        return frozenset() if live is None else self._read(node, live, own)

    def _live(self, node: NodeView) -> int | None:
        """The slot of the data, if the builder takes the node before a DequantizeLinear."""
        if node.is_op(*_BEFORE_DEQUANTIZING):
            return 0
        if not node.is_op("Mul", "Div"):
            return None
        scalars = [self._is_scalar(t) for t in node.inputs]
        return scalars.index(False) if sorted(scalars) == [False, True] else None

    def _is_scalar(self, tensor: str) -> bool:
        weight = self.graph.weights.get(tensor)
        return weight is not None and all(size == 1 for size in weight.shape)

    def _read(self, node: NodeView, slot: int, own: NumberFormat) -> frozenset[NumberFormat]:
        tensor, layout = node.inputs[slot], self.layout
        precision = layout.stored.get(tensor)
        if (node.index, slot) in layout.reads:
            precision = layout.nodes[node.index]
        if precision is None:
            return self.of.get(tensor, frozenset())
        held = fits_half(layout.params[scale_key(tensor, precision)].scale)
        return frozenset({FLOAT16 if held and own == FLOAT16 else FLOAT32})
