"""Two models that come quantized, trained here: precsearch's plan beside the author's placement.

    python -m benchmarks.requantized -o docs/benchmarks/requantized.md

The models are trained on the example's digits with quantization in the forward pass and straight
through it in the backward pass (Jacob et al., CVPR 2018), in NumPy alone, and exported with Q/DQ
as people do for TensorRT: symmetric INT8 before each layer, the weights per channel, nothing after
a layer. precsearch searches with ``lift``; author's model, float model and plan are then timed
interleaved in one process. The loss is the distance from what the author's model gives.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

import precsearch
from precsearch.api import build

Floats = npt.NDArray[np.float32]
DIGITS = Path(__file__).parents[1] / "examples" / "digits"
BATCH = 64
ROUNDS = 40


@dataclass
class Layer:
    """A convolution (weights of four dimensions) or a product, and what it learned."""

    weight: Floats
    bias: Floats
    stride: int = 1
    relu: bool = True
    peak: float = 0.0
    seen: tuple[Floats, Floats, tuple[int, ...]] = field(default=(), repr=False)  # type: ignore[assignment]

    def quantized(self) -> tuple[Floats, Floats]:
        """The weights on their grid, and the scale of each output channel."""
        axes = tuple(range(1, self.weight.ndim))
        scale = np.maximum(np.abs(self.weight).max(axes) / 127, 1e-8).astype(np.float32)
        wide = scale.reshape(-1, *[1] * len(axes))
        return np.clip(np.rint(self.weight / wide), -127, 127) * wide, scale

    def forward(self, x: Floats, *, learning: bool) -> Floats:
        if learning:
            self.peak = max(0.99 * self.peak, float(np.abs(x).max()))
        step = np.float32(self.peak / 127)
        x = np.clip(np.rint(x / step), -127, 127) * step
        weight, _ = self.quantized()
        columns = self._columns(x)
        y = columns @ weight.reshape(len(weight), -1).T + self.bias
        out = np.maximum(y, 0) if self.relu else y
        self.seen = (columns, out, x.shape)
        return self._folded(out, x.shape)

    def backward(self, gradient: Floats, rate: float) -> Floats:
        columns, out, shape = self.seen
        g = self._unfolded(gradient)
        g = g * (out > 0) if self.relu else g
        weight = self.quantized()[0].reshape(len(self.weight), -1)
        back = self._images(g @ weight, shape)
        self.weight = self.weight - rate * (g.T @ columns).reshape(self.weight.shape)
        self.bias = self.bias - rate * g.sum(0)
        return back

    def _columns(self, x: Floats) -> Floats:
        if self.weight.ndim == 2:
            return x
        c = x.shape[1]
        padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
        view = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
        view = view[:, :, :: self.stride, :: self.stride]
        return np.ascontiguousarray(view.transpose(0, 2, 3, 1, 4, 5)).reshape(-1, c * 9)

    def _images(self, columns: Floats, shape: tuple[int, ...]) -> Floats:
        if self.weight.ndim == 2:
            return columns
        n, c, h, w = shape
        s = self.stride
        made = np.zeros((n, c, h + 2, w + 2), np.float32)
        parts = columns.reshape(n, h // s, w // s, c, 3, 3)
        for i in range(3):
            for j in range(3):
                made[:, :, i : i + h : s, j : j + w : s] += parts[..., i, j].transpose(0, 3, 1, 2)
        return made[:, :, 1:-1, 1:-1]

    def _folded(self, y: Floats, shape: tuple[int, ...]) -> Floats:
        if self.weight.ndim == 2:
            return y
        n, _, h, w = shape
        made = y.reshape(n, h // self.stride, w // self.stride, -1)
        return np.ascontiguousarray(made.transpose(0, 3, 1, 2))

    def _unfolded(self, g: Floats) -> Floats:
        return g if self.weight.ndim == 2 else g.transpose(0, 2, 3, 1).reshape(-1, g.shape[1])


def he(rng: np.random.Generator, *shape: int) -> Floats:
    return rng.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape).astype(np.float32)


def mlp(rng: np.random.Generator) -> list[Layer]:
    sizes = (256, 768, 768, 10)
    return [Layer(he(rng, b, a), np.zeros(b, np.float32), relu=b != 10) for a, b in pairwise(sizes)]


def cnn(rng: np.random.Generator) -> list[Layer]:
    convs = [(1, 32, 2), (32, 64, 1), (64, 64, 2), (64, 64, 1)]
    layers = [Layer(he(rng, b, a, 3, 3), np.zeros(b, np.float32), s) for a, b, s in convs]
    return [*layers, Layer(he(rng, 10, 64), np.zeros(10, np.float32), relu=False)]


def run(layers: list[Layer], x: Floats, *, learning: bool = False) -> Floats:
    for layer in layers:
        if layer.weight.ndim == 2 and x.ndim == 4:
            x = x.mean((2, 3)) if x.shape[1] > 1 else x.reshape(len(x), -1)
        x = layer.forward(x, learning=learning)
    return x


def train(
    layers: list[Layer], x: Floats, labels: npt.NDArray[np.int64], epochs: int, first: float
) -> None:
    rng = np.random.default_rng(1)
    for epoch in range(epochs):
        rate = first * 0.5 ** (4 * epoch / epochs)
        for part in np.array_split(rng.permutation(len(x)), max(1, len(x) // 40)):
            logits = run(layers, x[part], learning=True)
            p = np.exp(logits - logits.max(1, keepdims=True))
            p /= p.sum(1, keepdims=True)
            p[np.arange(len(part)), labels[part]] -= 1
            g = (p / len(part)).astype(np.float32)
            for layer, before in zip(layers[::-1], [*layers[-2::-1], None], strict=True):
                g = layer.backward(g, rate)
                if before is not None and before.weight.ndim == 4 and layer.weight.ndim == 2:
                    h, w = (size // before.stride for size in before.seen[2][2:])
                    g = np.broadcast_to(g[:, :, None, None] / np.float32(h * w), (*g.shape, h, w))


class Export:
    """The ONNX model of trained layers, with their author's Q/DQ or without any."""

    def __init__(self, *, quantized: bool) -> None:
        self.quantized = quantized
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def const(self, name: str, values: npt.NDArray[np.generic]) -> str:
        self.constants.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def op(self, kind: str, inputs: list[str], out: str, **attributes: Any) -> str:  # noqa: ANN401 - ONNX has attributes of many types
        self.nodes.append(helper.make_node(kind, inputs, [out], out, **attributes))
        return out

    def pair(self, x: str, step: float) -> str:
        if not self.quantized:
            return x
        scale, zero = np.asarray(step, np.float32), np.asarray(0, np.int8)
        args = [self.const(f"{x}_s", scale), self.const(f"{x}_z", zero)]
        self.op("QuantizeLinear", [x, *args], f"{x}_q")
        return self.op("DequantizeLinear", [f"{x}_q", *args], f"{x}_dq")

    def weight(self, name: str, layer: Layer) -> str:
        wide, scale = layer.quantized()
        if not self.quantized:
            return self.const(name, wide.astype(np.float32))
        steps = np.rint(wide / scale.reshape(-1, *[1] * (wide.ndim - 1))).astype(np.int8)
        args = [self.const(f"{name}_i", steps), self.const(f"{name}_s", scale)]
        args.append(self.const(f"{name}_z", np.zeros(len(scale), np.int8)))
        return self.op("DequantizeLinear", args, f"{name}_dq", axis=0)

    def model(self, layers: list[Layer], shape: tuple[int, ...]) -> onnx.ModelProto:
        x, flat = "x", False
        for number, layer in enumerate(layers):
            if layer.weight.ndim == 2 and not flat:
                flat = True
                if number:
                    x = self.op("GlobalAveragePool", [x], "pooled")
                x = self.op("Flatten", [x], "flat", axis=1)
            args = [self.pair(x, layer.peak / 127), self.weight(f"w{number}", layer)]
            args.append(self.const(f"b{number}", layer.bias))
            if layer.weight.ndim == 4:
                s = [layer.stride] * 2
                x = self.op("Conv", args, f"y{number}", pads=[1] * 4, strides=s)
            else:
                x = self.op("Gemm", args, f"y{number}", transB=1)
            x = self.op("Relu", [x], f"r{number}") if layer.relu else x
        inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", *shape[1:]])]
        outputs = [helper.make_tensor_value_info(x, TensorProto.FLOAT, ["n", 10])]
        graph = helper.make_graph(self.nodes, "g", inputs, outputs, self.constants)
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
        made.ir_version = 8
        onnx.checker.check_model(made, full_check=True)
        return made


def digits(name: str) -> tuple[Floats, npt.NDArray[np.int64]]:
    data = np.load(DIGITS / f"{name}.npz")
    (key,) = (k for k in data.files if k != "labels")
    x = data[key].reshape(-1, 1, 16, 2, 16, 2).mean((3, 5))
    return x.astype(np.float32), data["labels"].astype(np.int64)


def timed(models: dict[str, Path], x: Floats) -> dict[str, list[float]]:
    """Seconds of each round, the models in turn."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    providers = ["CPUExecutionProvider"]
    sessions = {n: ort.InferenceSession(p, options, providers=providers) for n, p in models.items()}
    found: dict[str, list[float]] = {n: [] for n in models}
    for number in range(ROUNDS + 5):
        for name, session in sessions.items():
            started = time.perf_counter()
            for _ in range(5):
                session.run(None, {"x": x})
            if number >= 5:
                found[name].append((time.perf_counter() - started) / 5)
    return found


def accuracy(path: Path, x: Floats, labels: npt.NDArray[np.int64]) -> float:
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    return float((session.run(None, {"x": x})[0].argmax(1) == labels).mean())


def case(
    name: str, make: Callable[..., list[Layer]], epochs: int, rate: float, tol: float, out: Path
) -> str:
    x, labels = digits("holdout")
    test, wanted = digits("data")
    layers = make(np.random.default_rng(0))
    train(layers, x, labels, epochs, rate)
    paths = {k: out / f"{name}-{k}.onnx" for k in ("author", "float", "plan")}
    for kind in ("author", "float"):
        onnx.save(Export(quantized=kind == "author").model(layers, x.shape), paths[kind])
    np.savez(out / f"{name}.npz", x=test, labels=wanted)
    plan = out / f"{name}.plan.json"
    found = precsearch.optimize(
        paths["author"],
        data=out / f"{name}.npz",
        tol=tol,
        batch=BATCH,
        threads=1,
        backend="onnxruntime",
        lift=True,
        output=plan,
        run_dir=out / f"{name}.precsearch",
    )
    build(plan, paths["author"], paths["plan"])
    seconds = timed(paths, test[:BATCH])
    median = {k: float(np.median(v)) for k, v in seconds.items()}
    ratios = np.asarray(seconds["author"]) / np.asarray(seconds["plan"])
    low, high = np.percentile(ratios, [5, 95])
    right = {k: accuracy(p, test, wanted) for k, p in paths.items()}
    cells = [
        name,
        f"{found.loss:.1e} of {tol:g}",
        *(f"{1e3 * median[kind]:.3f}" for kind in ("float", "author", "plan")),
        f"{float(np.median(ratios)):.2f} ({low:.2f} to {high:.2f})",
        *(f"{right[kind]:.3f}" for kind in ("float", "author", "plan")),
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, required=True)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = [
            case("mlp", mlp, 20, 0.05, 5e-2, Path(folder)),
            case("cnn", cnn, 14, 0.3, 5e-2, Path(folder)),
        ]
    head = (
        "| model | loss | float, ms | author, ms | plan, ms | author / plan | top 1: float | "
        "author | plan |\n|---|---|---|---|---|---|---|---|---|\n"
    )
    asked.output.write_text(head + "\n".join(rows) + "\n")


if __name__ == "__main__":
    main()
