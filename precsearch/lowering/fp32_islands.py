"""FP32 products among FP16 ones, which a strongly typed TensorRT computes in FP16 all the same.

Where everything that a product reads is cast up from FP16, and everything that it writes is cast
down again, TensorRT-RTX 1.7.1 takes both Casts into the product's kernel and stores its weights in
FP16, without a warning: weights beyond 65504 become infinities. A multiplication by a constant
after a Conv fails to build there. Any operator that the builder cannot see through keeps the types:
a LeakyRelu with slope 1 after the product costs no kernel (docs/tensorrt-versions.md).
"""

from __future__ import annotations

from precsearch.graph.view import GraphView, NodeView
from precsearch.lowering.capabilities import data_slots, fp16_outputs, fp16_slots
from precsearch.lowering.qdq_layout import QuantLayout

__all__ = ["fp32_islands"]

_PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_INERT = (
    *("Identity", "Dropout", "Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Slice"),
    *("Split", "Gather", "Expand", "Concat", "Pad"),
)
_AFFINE = ("Add", "Sub", "Mul", "Div")


def fp32_islands(graph: GraphView, layout: QuantLayout, half: frozenset[int]) -> frozenset[int]:
    """Indices of the FP32 products that Casts from and to FP16 surround.

    Operators that only move values, and those that add or multiply by a constant, do not count as
    surroundings: the builder moves Casts across them.

    Args:
        graph: The prepared model.
        layout: Its quantised tensors.
        half: Indices of the nodes that compute in FP16.
    """
    search = _Search(graph, layout, half)
    return frozenset(
        node.index
        for node in graph.nodes
        if node.is_op(*_PRODUCTS)
        and node.index not in half
        and node.index not in layout.active
        and graph.is_float(node.outputs[0])
        and search.from_half(node)
        and search.to_half(node.outputs[0])
    )


class _Search:
    def __init__(self, graph: GraphView, layout: QuantLayout, half: frozenset[int]) -> None:
        self.graph = graph
        self.layout = layout
        self.half = half

    def from_half(self, node: NodeView) -> bool:
        """Whether all activations that ``node`` reads are cast up from FP16."""
        tensors = [node.inputs[s] for s in data_slots(node, self.graph)]
        live = [t for t in tensors if t not in self.graph.weights]
        return bool(live) and all(self._made_in_half(t) for t in live)

    def _made_in_half(self, tensor: str) -> bool:
        maker = self.graph.producer.get(tensor)
        if maker is None or tensor in self.layout.replaced:
            return False
        if maker.index in self.half:
            return maker.outputs.index(tensor) in fp16_outputs(maker, self.graph)
        return self._inert(maker) and self.from_half(maker)

    def to_half(self, tensor: str) -> bool:
        """Whether all readers of ``tensor`` read it cast down to FP16."""
        uses = self.graph.consumers.get(tensor, ())
        if not uses or tensor in self.graph.output_names or tensor in self.layout.params:
            return False
        return all(self._read_in_half(node, slot) for node, slot in uses)

    def _read_in_half(self, node: NodeView, slot: int) -> bool:
        if node.index in self.half:
            return slot in fp16_slots(node, self.graph)
        return self._inert(node) and all(self.to_half(t) for t in node.outputs if t)

    def _inert(self, node: NodeView) -> bool:
        if node.is_op(*_AFFINE):
            return any(t in self.graph.weights for t in node.inputs)
        return node.is_op(*_INERT)
