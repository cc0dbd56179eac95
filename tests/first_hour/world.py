"""What a new user has: models that nobody prepared, photos, and arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx

from tests.graph.small_layers import GraphBuilder

__all__ = ["write_world"]


def _conv(b: GraphBuilder, x: str, inner: int, outer: int) -> str:
    kernel = b.rng.normal(0, (9 * inner) ** -0.5, (outer, inner, 3, 3))
    return b.op("Relu", b.op("Conv", x, b.const(kernel), pads=[1, 1, 1, 1]))


def _classifier() -> onnx.ModelProto:
    b = GraphBuilder()
    x = _conv(b, b.input(["batch", 3, 16, 16], name="image"), 3, 8)
    flat = b.op("Flatten", b.op("GlobalAveragePool", _conv(b, x, 8, 16)))
    b.output(b.op("Gemm", flat, b.const(b.rng.normal(size=(16, 5))), b.const(np.zeros(5))))
    return b.model()


def _ocr() -> onnx.ModelProto:
    """Columns of a line of text become steps: [batch, 12, 6]."""
    b = GraphBuilder(seed=1)
    x = _conv(b, b.input(["batch", 1, 8, 12], name="line"), 1, 8)
    columns = b.op("Squeeze", b.op("ReduceMean", x, axes=[2], keepdims=1), b.const([2], np.int64))
    steps = b.op("Transpose", columns, perm=[0, 2, 1])
    b.output(b.op("MatMul", steps, b.const(6 * b.rng.normal(size=(8, 6)))))
    return b.model()


def _detector() -> onnx.ModelProto:
    """Boxes beside scores: [batch, 6, 4] and [batch, 6, 2]."""
    b = GraphBuilder(seed=2)
    x = _conv(b, b.input(["batch", 3, 16, 16], name="scene"), 3, 8)
    flat = b.op("Flatten", b.op("GlobalAveragePool", x))
    corners = np.tile(np.array([[0, 0, 9, 9]], np.float32), (6, 1)) + 20 * np.arange(6)[:, None]
    boxes = b.op("Gemm", flat, b.const(b.rng.normal(0, 0.3, (8, 24))), b.const(corners.reshape(-1)))
    scores = b.op(
        "Sigmoid", b.op("Gemm", flat, b.const(b.rng.normal(0, 2, (8, 12))), b.const(np.ones(12)))
    )
    b.output(b.op("Reshape", boxes, b.const([-1, 6, 4], np.int64)))
    b.output(b.op("Reshape", scores, b.const([-1, 6, 2], np.int64)))
    return b.model()


def write_world(folder: Path) -> None:
    """Models, arrays, and photos where Pillow is installed."""
    rng = np.random.default_rng(0)
    for name, model in (("classifier", _classifier()), ("ocr", _ocr()), ("detector", _detector())):
        onnx.save(model, str(folder / f"{name}.onnx"))
    np.savez(folder / "images.npz", image=rng.normal(size=(16, 3, 16, 16)).astype(np.float32))
    np.savez(folder / "scenes.npz", scene=rng.normal(size=(16, 3, 16, 16)).astype(np.float32))
    np.savez(folder / "lines.npz", line=rng.normal(size=(16, 1, 8, 12)).astype(np.float32))
    try:
        from PIL import Image
    except ImportError:
        return
    (folder / "photos").mkdir()
    for number in range(12):
        pixels = rng.integers(0, 255, (20, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "photos" / f"{number}.png")
