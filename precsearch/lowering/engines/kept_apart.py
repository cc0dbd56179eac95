"""Operators that TensorRT takes into one kernel with what is before them, and has no kernel for.

An operator that changes nothing stands between them (`precsearch.lowering.write_node`). Each was
found by TensorRT-RTX 1.7.1 (docs/tensorrt-versions.md).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from precsearch.core.formats import BFLOAT16, NumberFormat
from precsearch.graph.operators import REARRANGING
from precsearch.graph.view import GraphView
from precsearch.lowering.capabilities import weight_slot
from precsearch.lowering.qdq.layout import QuantLayout

__all__ = ["packed_behind_attention", "recurrent_behind_bf16"]


def recurrent_behind_bf16(graph: GraphView, floats: Mapping[int, NumberFormat]) -> frozenset[int]:
    """Indices of the FP32 GRUs that read a tensor cast up from BF16.

    TensorRT-RTX 1.7.1 takes the Cast into the GRU, for which it has no kernel in BF16, and fails
    ("Error during shape inference of"). A LeakyRelu with slope 1 in between keeps them apart.

    Args:
        graph: The prepared model.
        floats: Index of each node that computes in another float format than FP32 → the format.
    """
    found = set()
    for node in graph.nodes:
        maker = graph.producer.get(node.inputs[0]) if node.is_op("GRU") else None
        if maker is not None and floats.get(maker.index) == BFLOAT16 and node.index not in floats:
            found.add(node.index)
    return frozenset(found)


def packed_behind_attention(
    graph: GraphView, layout: QuantLayout, packed: Collection[int]
) -> tuple[frozenset[int], frozenset[int]]:
    """Indices of the products with quantized weights alone that read what an attention core gives.

    TensorRT-RTX 1.7.1 takes what the core writes into the product's kernel. In floats it then
    dequantizes the weight by a kernel of its own, which gains nothing. Where the core writes
    quantized data it has no kernel and fails ("CHECK(is_constant())"). A LeakyRelu with slope 1 in
    between keeps them apart; of quantized data it has to be one in FP32.

    Args:
        graph: The prepared model.
        layout: Its quantized tensors.
        packed: Indices of the nodes whose weights alone are quantized.

    Returns:
        Those that read floats, and those that read dequantized data.
    """
    floats: set[int] = set()
    dequantized: set[int] = set()
    for index in packed:
        tensor = graph.nodes[index].inputs[0]
        maker = graph.producer.get(tensor)
        while tensor not in layout.replaced and maker is not None and maker.is_op(*REARRANGING):
            tensor = maker.inputs[0]
            maker = graph.producer.get(tensor)
        if tensor in layout.replaced:
            dequantized.add(index)
        elif maker is not None and maker.is_op("MatMul") and weight_slot(maker, graph) is None:
            floats.add(index)
    return frozenset(floats), frozenset(dequantized)
