"""Models whose outputs and inputs are odd: sizes that depend on data, NaN, infinities, caches."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper

from tests.graph.small_graphs import GraphBuilder, attention, heads, linear

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
WIDTH = 32
Floats = npt.NDArray[np.float32]


def _named(b: GraphBuilder, tensor: str, name: str, elem_type: int = FLOAT) -> None:
    b.nodes.append(helper.make_node("Identity", [tensor], [name]))
    b.output(name, elem_type)


def _body(b: GraphBuilder, x: str, layers: int = 2) -> str:
    for _ in range(layers):
        x = b.op("Relu", linear(b, x, WIDTH, WIDTH))
    return linear(b, x, WIDTH, WIDTH)


def plain() -> onnx.ModelProto:
    """Three products."""
    b = GraphBuilder()
    _named(b, _body(b, b.input(["n", WIDTH], name="x")), "y")
    return b.model()


def found() -> onnx.ModelProto:
    """What is over a threshold, and where: how much that is depends on data, as with boxes."""
    b = GraphBuilder()
    y = _body(b, b.input([1, WIDTH], name="x"))
    where = b.op("NonZero", b.op("Greater", y, b.const(0.0)))
    rows = b.op("Transpose", where, perm=[1, 0])
    _named(b, b.op("GatherND", y, rows), "scores")
    _named(b, rows, "places", INT64)
    return b.model()


def constant() -> onnx.ModelProto:
    """An output that is 3 whatever comes in."""
    b = GraphBuilder()
    y = _body(b, b.input(["n", WIDTH], name="x"))
    _named(b, b.op("Add", b.op("Mul", y, b.const(0.0)), b.const(3.0)), "y")
    return b.model()


def empty() -> onnx.ModelProto:
    """An output without elements."""
    b = GraphBuilder()
    y = _body(b, b.input(["n", WIDTH], name="x"))
    _named(b, b.op("NonZero", b.op("Greater", y, b.const(1e9))), "y", INT64)
    return b.model()


def undefined() -> onnx.ModelProto:
    """NaN throughout: the logarithm of negative numbers."""
    b = GraphBuilder()
    y = b.op("Abs", _body(b, b.input(["n", WIDTH], name="x")))
    _named(b, b.op("Log", b.op("Sub", b.op("Neg", y), b.const(1.0))), "y")
    return b.model()


def masked(rows: int = 8) -> onnx.ModelProto:
    """Attention with an additive mask as an input."""
    b = GraphBuilder()
    x = b.input(["n", rows, WIDTH], name="x")
    mask = b.input(["n", 1, rows, rows], name="mask")
    q, k, v = (heads(b, linear(b, x, WIDTH, WIDTH), 4, WIDTH // 4) for _ in range(3))
    seen = b.op("Transpose", attention(b, q, k, v, WIDTH // 4, "after", mask), perm=[0, 2, 1, 3])
    y = linear(b, b.op("Reshape", seen, b.ints(0, -1, WIDTH)), WIDTH, WIDTH)
    _named(b, y, "y")
    return b.model()


def coping() -> onnx.ModelProto:
    """NaN in the input marks what is missing, and is replaced by 0."""
    b = GraphBuilder()
    x = b.input(["n", WIDTH], name="x")
    known = b.op("Where", b.op("IsNaN", x), b.const(0.0), x)
    _named(b, _body(b, known), "y")
    return b.model()


def cached() -> onnx.ModelProto:
    """A decoder step: a past that grows, and the present that is the next step's past."""
    b = GraphBuilder()
    x = b.input(["batch", "seq", WIDTH], name="x")
    past = {
        t: b.input(["batch", 4, "past", WIDTH // 4], name=f"past.{t}") for t in ("key", "value")
    }
    q, k, v = (heads(b, linear(b, x, WIDTH, WIDTH), 4, WIDTH // 4) for _ in range(3))
    k, v = (b.op("Concat", past[t], new, axis=2) for t, new in (("key", k), ("value", v)))
    seen = b.op("Transpose", attention(b, q, k, v, WIDTH // 4, "after", ""), perm=[0, 2, 1, 3])
    y = linear(b, b.op("Reshape", seen, b.ints(0, -1, WIDTH)), WIDTH, WIDTH)
    _named(b, y, "y")
    _named(b, k, "present.key")
    return b.model()


def ranked() -> onnx.ModelProto:
    """Scores and the order of classes: what is close swaps in INT8."""
    b = GraphBuilder()
    y = _body(b, b.input(["n", WIDTH], name="x"))
    values = b.ops("TopK", y, b.ints(12), count=2, axis=1)
    _named(b, values[0], "scores")
    _named(b, values[1], "classes", INT64)
    return b.model()


def saved(make: Callable[[], onnx.ModelProto], folder: Path) -> Path:
    path = folder / "model.onnx"
    onnx.save(make(), path)
    return path


def rows(count: int = 32, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).standard_normal((count, WIDTH)).astype(np.float32)
