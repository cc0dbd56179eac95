"""Parts of a prepared model as models of their own."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import onnx

from precsearch.graph.serialize import join_model
from precsearch.graph.view import GraphView, NodeView

__all__ = ["ancestors", "boundary", "extracted", "frontier", "inputs_of"]


def frontier(graph: GraphView, count: int) -> tuple[str, ...]:
    """What the first ``count`` nodes hand on: their tensors that others read, or the user."""
    later = {t for n in graph.nodes[count:] for t in (*n.inputs, *n.captures)}
    needed = later | graph.output_names
    return tuple(t for n in graph.nodes[:count] for t in n.outputs if t in needed)


def boundary(graph: GraphView, nodes: Collection[int]) -> tuple[str, ...]:
    """The tensors that these nodes read and none of them writes, constants left out."""
    produced = {t for i in nodes for t in graph.nodes[i].outputs}
    read = (t for i in sorted(nodes) for t in inputs_of(graph.nodes[i]))
    return tuple(dict.fromkeys(t for t in read if t not in produced and t not in graph.weights))


def inputs_of(node: NodeView) -> tuple[str, ...]:
    """What a node and its subgraphs read."""
    return (*(t for t in node.inputs if t), *sorted(node.captures))


def ancestors(graph: GraphView, tensors: Iterable[str]) -> list[int]:
    """The nodes that tensors are computed from, in graph order."""
    pending, visited = list(tensors), set[int]()
    while pending:
        maker = graph.producer.get(pending.pop())
        if maker is not None and maker.index not in visited:
            visited.add(maker.index)
            pending += inputs_of(maker)
    return sorted(visited)


def extracted(graph: GraphView, nodes: Collection[int], outputs: Sequence[str]) -> bytes:
    """A serialized model of some nodes, with what they lack of each other as inputs.

    Args:
        graph: The prepared model.
        nodes: Indices.
        outputs: Tensors that they write.
    """
    given = {i.name: i for i in graph.inputs}
    inputs = [given.get(t) or _typed(graph, t) for t in boundary(graph, nodes)]
    used = {t for i in nodes for t in inputs_of(graph.nodes[i])}
    weights = [w.proto_bytes for name, w in graph.weights.items() if name in used]
    protos = [graph.nodes[i].proto for i in sorted(nodes)]
    return join_model(graph, protos, inputs, weights, [_typed(graph, t) for t in outputs])


def _typed(graph: GraphView, tensor: str) -> onnx.ValueInfoProto:
    elem_type = graph.elem_types.get(tensor, onnx.TensorProto.FLOAT)
    shape = graph.shapes.get(tensor)
    if shape is None:
        return onnx.helper.make_tensor_value_info(tensor, elem_type, None)
    return onnx.helper.make_tensor_value_info(tensor, elem_type, list(shape))
