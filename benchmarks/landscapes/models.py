"""Small models for the recorded landscapes: random weights, seeded, with layers of unequal range.

Each has one input ``x`` and one output ``y``; `MODELS` maps a name to what makes it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

__all__ = ["MODELS", "write"]

Floats = npt.NDArray[np.float32]


class Builder:
    """Collects nodes and weights.

    Args:
        seed: Of the weights.
        shape: Of one sample.
    """

    def __init__(self, seed: int, *shape: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.shape = shape
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []

    def weight(self, array: npt.ArrayLike, kind: type[np.generic] = np.float32) -> str:
        """Name of a new constant."""
        name = f"w{len(self._weights)}"
        self._weights.append(numpy_helper.from_array(np.asarray(array, kind), name))
        return name

    def node(self, op: str, *inputs: str, **attributes: Any) -> str:  # noqa: ANN401 - whatever ONNX has
        """Name of the output of a new node."""
        name = f"{op.lower()}{len(self._nodes)}"
        self._nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        return name

    def conv(
        self, x: str, cin: int, cout: int, k: int = 3, *, stride: int = 1, group: int = 1,
        spread: float = 0.0, relu: bool = True,
    ) -> str:  # fmt: skip
        """Conv (and Relu); ``spread`` makes its channels' ranges unequal, which INT8 feels."""
        w = self.rng.normal(0, (2 * group / (cin * k * k)) ** 0.5, (cout, cin // group, k, k))
        w *= np.exp(spread * self.rng.normal(size=(cout, 1, 1, 1)))
        bias = self.weight(self.rng.normal(0, 0.05, cout))
        y = self.node(
            "Conv", x, self.weight(w), bias, kernel_shape=[k, k], pads=[k // 2] * 4,
            strides=[stride, stride], group=group,
        )  # fmt: skip
        return self.node("Relu", y) if relu else y

    def dense(
        self, x: str, cin: int, cout: int, spread: float = 0.0, *, gain: float = 1.0,
        outliers: float = 0.0,
    ) -> str:  # fmt: skip
        """MatMul and bias; ``outliers`` makes the output's channels unequal, ``gain`` large."""
        w = self.rng.normal(0, cin**-0.5, (cin, cout))
        w *= np.exp(spread * self.rng.normal(size=(cin, 1)))
        if outliers:
            w *= np.exp(outliers * self.rng.normal(size=cout))
        w *= gain
        y = self.node("MatMul", x, self.weight(w))
        return self.node("Add", y, self.weight(self.rng.normal(0, 0.02, cout)))

    def pooled(self, x: str, channels: int, classes: int = 10) -> str:
        """Global average and classifier."""
        y = self.node("Flatten", self.node("GlobalAveragePool", x), axis=1)
        return self.dense(y, channels, classes)

    def model(self, y: str) -> onnx.ModelProto:
        """The model whose output is ``y``."""
        out = self.node("Identity", y)
        shape: list[int | str] = ["N", *self.shape]
        graph = helper.make_graph(
            self._nodes,
            "landscape",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info(out, TensorProto.FLOAT, None)],
            self._weights,
        )
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
        made.ir_version = 8
        return onnx.shape_inference.infer_shapes(made)


def residual() -> tuple[Builder, str]:
    """Three residual blocks in two stages."""
    b = Builder(1, 3, 24, 24)
    x = b.conv("x", 3, 24, spread=0.6)
    for cin, cout, stride, spread in ((24, 24, 1, 0.2), (24, 48, 2, 0.5), (48, 48, 1, 0.9)):
        y = b.conv(x, cin, cout, stride=stride, spread=spread)
        y = b.conv(y, cout, cout, relu=False, spread=0.3)
        if stride > 1:
            x = b.conv(x, cin, cout, 1, stride=stride, relu=False)
        x = b.node("Relu", b.node("Add", x, y))
    return b, b.pooled(x, 48)


def fire() -> tuple[Builder, str]:
    """Three fire modules: squeeze, two branches, Concat."""
    b = Builder(2, 3, 32, 32)
    x = b.conv("x", 3, 32, stride=2, spread=0.4)
    channels = 32
    for squeeze, expand, spread in ((16, 32, 0.9), (16, 32, 0.2), (24, 48, 0.5)):
        s = b.conv(x, channels, squeeze, 1, spread=spread)
        one, three = b.conv(s, squeeze, expand, 1), b.conv(s, squeeze, expand, 3, spread=0.3)
        x, channels = b.node("Concat", one, three, axis=1), 2 * expand
    return b, b.pooled(x, channels)


def mlp() -> tuple[Builder, str]:
    """Ten dense layers of unequal width and range."""
    b = Builder(3, 192)
    widths = (192, 256, 512, 384, 256, 128, 512, 256, 384, 128, 16)
    spreads = (0.1, 0.8, 0.0, 1.2, 0.3, 0.9, 0.1, 0.5, 0.2, 0.0)
    x = "x"
    for cin, cout, spread in zip(widths, widths[1:], spreads, strict=False):
        x = b.node("Relu", b.dense(x, cin, cout, spread))
    return b, x


def depthwise() -> tuple[Builder, str]:
    """Five separable convolutions: a depthwise one gains little from INT8."""
    b = Builder(4, 3, 48, 48)
    x, channels = b.conv("x", 3, 32, stride=2, spread=0.3), 32
    for cout, stride, spread in (
        (64, 1, 0.8), (64, 1, 0.2), (128, 2, 0.6), (128, 1, 0.1), (192, 1, 0.9),
    ):  # fmt: skip
        x = b.conv(x, channels, channels, group=channels, stride=stride, spread=spread)
        x, channels = b.conv(x, channels, cout, 1, spread=0.2), cout
    return b, b.pooled(x, channels)


def transformer() -> tuple[Builder, str]:
    """Two blocks of attention and MLP over 32 tokens of width 96."""
    b = Builder(5, 32, 96)
    x, d, heads = "x", 96, 4
    for spread in (0.3, 0.9):
        y = _norm(b, x, d)
        q, k, v = (_heads(b, b.dense(y, d, d, s), d, heads) for s in (spread, 0.1, 0.4))
        scores = b.node("MatMul", q, b.node("Transpose", k, perm=[0, 1, 3, 2]))
        scale = b.weight((d // heads) ** -0.5)
        probabilities = b.node("Softmax", b.node("Mul", scores, scale), axis=-1)
        mixed = b.node("Transpose", b.node("MatMul", probabilities, v), perm=[0, 2, 1, 3])
        flat = b.node("Reshape", mixed, b.weight([0, 0, d], np.int64))
        x = b.node("Add", x, b.dense(flat, d, d))
        h = b.node("Relu", b.dense(_norm(b, x, d), d, 4 * d, spread))
        x = b.node("Add", x, b.dense(h, 4 * d, d, 0.5))
    return b, x


def norm() -> tuple[Builder, str]:
    """A residual MLP and a LayerNorm whose variance no FP16 holds; INT8 feels some layers more."""
    b = Builder(6, 32, 96)
    d = 96
    x = b.dense("x", d, d, 0.1, gain=150.0, outliers=0.8)
    h = b.node("Relu", b.dense(x, d, 4 * d, 0.9))
    x = b.node("Add", x, b.dense(h, 4 * d, d, 0.2))
    return b, b.dense(_long_norm(b, x, d), d, d, 0.6)


def _long_norm(b: Builder, x: str, d: int) -> str:
    """A LayerNorm as exporters wrote it before operator set 17: its squares are tensors."""
    centred = b.node("Sub", x, b.node("ReduceMean", x, axes=[-1], keepdims=1))
    squares = b.node("Pow", centred, b.weight(2.0))
    variance = b.node("ReduceMean", squares, axes=[-1], keepdims=1)
    deviation = b.node("Sqrt", b.node("Add", variance, b.weight(1e-5)))
    gain = b.weight(np.exp(0.5 * b.rng.normal(size=d)))
    scaled = b.node("Mul", b.node("Div", centred, deviation), gain)
    return b.node("Add", scaled, b.weight(0.1 * b.rng.normal(size=d)))


def _norm(b: Builder, x: str, d: int) -> str:
    gain = b.weight(np.exp(0.5 * b.rng.normal(size=d)))
    return b.node("LayerNormalization", x, gain, b.weight(np.zeros(d)), axis=-1)


def _heads(b: Builder, x: str, d: int, heads: int) -> str:
    split = b.node("Reshape", x, b.weight([0, 0, heads, d // heads], np.int64))
    return b.node("Transpose", split, perm=[0, 2, 1, 3])


MODELS: dict[str, Callable[[], tuple[Builder, str]]] = {
    "residual": residual,
    "fire": fire,
    "mlp": mlp,
    "depthwise": depthwise,
    "transformer": transformer,
    "norm": norm,
}


def write(name: str, folder: Path, samples: int = 48) -> tuple[Path, Path]:
    """Write a model and its data; the paths of both."""
    builder, y = MODELS[name]()
    folder.mkdir(parents=True, exist_ok=True)
    model, data = folder / f"{name}.onnx", folder / f"{name}.npz"
    onnx.save(builder.model(y), model)
    x: Floats = builder.rng.normal(size=(samples, *builder.shape)).astype(np.float32)
    np.savez(data, x=x)
    return model, data
