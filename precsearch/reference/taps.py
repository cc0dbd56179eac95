"""Nodes that read a model's tensors, put where they cost no memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx

__all__ = ["put_behind"]


def put_behind(graph: onnx.GraphProto, readers: Mapping[str, Sequence[onnx.NodeProto]]) -> None:
    """Put nodes right behind the one that makes the tensor that they read, inputs' first.

    Of what could run next, ONNX Runtime takes what stands first: behind all other nodes they would
    keep every tensor in memory.

    Args:
        graph: Is changed.
        readers: Tensor → the nodes that read it.
    """
    producer = {t: i for i, node in enumerate(graph.node) for t in node.output}
    behind: dict[int, list[onnx.NodeProto]] = {}
    for tensor, nodes in readers.items():
        behind.setdefault(producer.get(tensor, -1), []).extend(nodes)
    ordered = list(behind.get(-1, []))
    for index, node in enumerate(graph.node):
        ordered += [node, *behind.get(index, [])]
    body = onnx.GraphProto(node=ordered)
    del graph.node[:]
    graph.node.extend(body.node)
