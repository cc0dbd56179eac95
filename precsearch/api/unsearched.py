"""Layers that no search can decide, since they are in the branches and bodies of control flow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

import onnx

from precsearch.api.setup import Target

__all__ = ["unsearched"]

_LAYERS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul", "Einsum", "LSTM", "GRU", "RNN"})


def unsearched(target: Target) -> str:
    """A sentence about the layers inside If, Loop and Scan; "" where there are none."""
    found = Counter(_inner(target.source.proto.graph.node))
    if not found:
        return ""
    places = sorted({place for place, _ in found})
    count = sum(found.values())
    kinds = sorted({kind for _, kind in found})
    named = ", ".join(f"{sum(found[p, k] for p in places)} {k}" for k in kinds)
    is_are = "layer is" if count == 1 else "layers are"
    return f"{count} {is_are} inside {' and '.join(places)} ({named}) and cannot be searched."


def _inner(nodes: Iterable[onnx.NodeProto], place: str = "") -> Iterator[tuple[str, str]]:
    """The outermost control flow around each layer, and its operator."""
    for node in nodes:
        if place and node.op_type in _LAYERS:
            yield place, node.op_type
        for attribute in node.attribute:
            graphs = [attribute.g] if attribute.HasField("g") else list(attribute.graphs)
            for graph in graphs:
                yield from _inner(graph.node, place or node.op_type)
