"""FP32 products among FP16 or BF16 ones, which TensorRT computes in that format all the same.

Where everything that a product reads is cast up from FP16, and everything that it writes is cast
down again, TensorRT-RTX 1.7.1 takes both Casts into the product's kernel and stores its weights in
FP16, without a warning: weights beyond 65504 become infinities. A multiplication by a constant
after a Conv fails to build there. Any operator that the builder cannot see through keeps the types:
a LeakyRelu with slope 1 after the product costs no kernel (docs/tensorrt-versions.md).
"""

from __future__ import annotations

from collections.abc import Mapping

from precsearch.core.formats import FLOAT32, NumberFormat
from precsearch.graph.operators import (
    BINARY_ARITHMETIC,
    MEASURING,
    PRODUCTS,
    REARRANGING,
    SELECTING,
)
from precsearch.graph.view import GraphView, NodeView
from precsearch.lowering.capabilities import (
    cast_outputs,
    cast_slots,
    data_slots,
)
from precsearch.lowering.qdq.layout import QuantLayout

__all__ = ["fp32_islands"]

_INERT = (*REARRANGING, *SELECTING, "Dropout", "Concat", "Pad")


def fp32_islands(
    graph: GraphView, layout: QuantLayout, floats: Mapping[int, NumberFormat]
) -> frozenset[int]:
    """Indices of the FP32 products that Casts from and to another float format surround.

    Operators that only move values, and those that add or multiply by a constant, do not count as
    surroundings: the builder moves Casts across them.

    Args:
        graph: The prepared model.
        layout: Its quantized tensors.
        floats: Index of each node that computes in another float format than FP32 → the format.
    """
    search = _Search(graph, layout, floats)
    return frozenset(
        node.index
        for node in graph.nodes
        if node.is_op(*PRODUCTS)
        and node.index not in floats
        and node.index not in layout.active
        and graph.is_float(node.outputs[0])
        and search.from_other(node)
        and search.to_other(node.outputs[0])
    )


class _Search:
    def __init__(
        self, graph: GraphView, layout: QuantLayout, floats: Mapping[int, NumberFormat]
    ) -> None:
        self.graph = graph
        self.layout = layout
        self.floats = floats

    def from_other(self, node: NodeView) -> bool:
        """Whether all activations that ``node`` reads are cast up from another format."""
        tensors = [node.inputs[s] for s in data_slots(node, self.graph)]
        live = [t for t in tensors if t not in self.graph.weights]
        return bool(live) and all(self._made_in_other(t) for t in live)

    def _made_in_other(self, tensor: str) -> bool:
        maker = self.graph.producer.get(tensor)
        if maker is None or tensor in self.layout.replaced:
            return False
        own = self.floats.get(maker.index, FLOAT32)
        if own != FLOAT32:
            return maker.outputs.index(tensor) in cast_outputs(maker, self.graph, own)
        return self._inert(maker) and self.from_other(maker)

    def to_other(self, tensor: str) -> bool:
        """Whether all readers of ``tensor`` read it cast down to another format."""
        uses = self.graph.consumers.get(tensor, ())
        if not uses or tensor in self.graph.output_names or tensor in self.layout.quantized:
            return False
        return all(self._read_in_other(node, slot) for node, slot in uses)

    def _read_in_other(self, node: NodeView, slot: int) -> bool:
        if node.is_op(*MEASURING):  # reads no value
            return True
        own = self.floats.get(node.index, FLOAT32)
        if own != FLOAT32:
            return slot in cast_slots(node, self.graph, own)
        return self._inert(node) and all(self.to_other(t) for t in node.outputs if t)

    def _inert(self, node: NodeView) -> bool:
        if node.is_op(*BINARY_ARITHMETIC):
            return any(t in self.graph.weights for t in node.inputs)
        return node.is_op(*_INERT)
