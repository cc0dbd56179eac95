"""Quantizing before a MaxPool instead of after it, where an engine pools integers faster.

The values are the same: rounding is monotone, so the largest of some rounded values is the largest
of them rounded, and both tensors have one scale.
"""

from __future__ import annotations

from collections.abc import Collection

from precsearch.graph.view import GraphView

__all__ = ["before_pool", "lifted"]


def before_pool(tensor: str, graph: GraphView) -> str:
    """The FP32 activation that a MaxPool alone reads to write ``tensor``; "" if there is none."""
    node = graph.producer.get(tensor)
    if node is None or not node.is_op("MaxPool") or sum(1 for o in node.outputs if o) != 1:
        return ""
    source = node.inputs[0]
    own = source in graph.producer and graph.is_float(source) and source not in graph.output_names
    return source if own and graph.only_user(source) is node else ""


def lifted(
    graph: GraphView, reads: Collection[tuple[int, int]], floats: Collection[str]
) -> frozenset[str]:
    """The tensors to quantize before a MaxPool, for readers that all want its output quantized.

    Args:
        graph: The prepared model.
        reads: (Node index, input slot) of what is quantized.
        floats: Keys of nodes that compute in another float format: these would round in between.
    """
    lifted_tensors = set()
    for index, slot in reads:
        tensor = graph.nodes[index].inputs[slot]
        source = before_pool(tensor, graph)
        if not source or graph.producer[tensor].key in floats or tensor in graph.output_names:
            continue
        if all((user.index, place) in reads for user, place in graph.consumers.get(tensor, ())):
            lifted_tensors.add(source)
    return frozenset(lifted_tensors)
