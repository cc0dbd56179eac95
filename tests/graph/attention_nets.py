"""A linear layer, one attention core with its four projections, and a Relu."""

from __future__ import annotations

from precsearch.graph.view import GraphView
from tests.graph.small_layers import GraphBuilder, attention, heads, linear, view

__all__ = ["COUNT", "attention_net"]

COUNT = 2


def attention_net(
    size: int,
    tokens: int,
    *,
    keys: int | None = None,
    scale: str = "after",
    mask: bool = False,
    opset: int = 19,
) -> GraphView:
    """Heads of ``size``, ``tokens`` queries; with ``keys``, that many tokens of a second input."""
    b, width = GraphBuilder(opset), COUNT * size
    x = b.op("Relu", linear(b, b.input(["n", tokens, width]), width, width))
    other = x
    if keys is not None:
        other = b.op("Relu", linear(b, b.input(["n", keys, width]), width, width))
    q, k, v = (heads(b, linear(b, t, width, width), COUNT, size) for t in (x, other, other))
    added = b.weight(1, COUNT, tokens, keys or tokens) if mask else ""
    joined = b.op("Transpose", attention(b, q, k, v, size, scale, added), perm=[0, 2, 1, 3])
    y = linear(b, b.op("Reshape", joined, b.ints(0, -1, width)), width, width)
    b.output(b.op("Relu", y))
    return view(b.model())
