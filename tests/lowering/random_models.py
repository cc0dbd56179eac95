"""Random small ONNX models for property tests: convolutional and transformer-like, with fan-out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from precsearch.graph.reading.read import SourceModel, read_model

CHANNELS = 8
SIZE = 6
WIDTH = 16


@dataclass(frozen=True)
class Model:
    """A serialized model that does not flood a failure's report."""

    data: bytes

    def __repr__(self) -> str:
        proto = onnx.ModelProto.FromString(self.data)
        return (
            "Model("
            + "; ".join(f"{n.output[0]}={n.op_type}({','.join(n.input)})" for n in proto.graph.node)
            + f" -> {','.join(o.name for o in proto.graph.output)})"
        )


@dataclass
class Builder:
    """Collects nodes and weights; every tensor that was made can be picked as an input again."""

    rng: np.random.Generator
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: list[onnx.TensorProto] = field(default_factory=list)
    live: list[str] = field(default_factory=list)

    def weight(self, shape: tuple[int, ...], scale: float = 0.3) -> str:
        name = f"w{len(self.weights)}"
        values = self.rng.normal(0, scale, shape).astype(np.float32)
        self.weights.append(numpy_helper.from_array(values, name))
        return name

    def node(self, op_type: str, inputs: list[str], **attributes: Any) -> str:
        out = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(op_type, inputs, [out], f"n{out}", **attributes))
        self.live.append(out)
        return out

    def model(
        self, shape: Sequence[str | int], outputs: Sequence[tuple[str, Sequence[str | int]]]
    ) -> Model:
        graph = helper.make_graph(
            self.nodes,
            "random",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in outputs],
            self.weights,
        )
        proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
        proto.ir_version = 8
        onnx.checker.check_model(proto, full_check=True)
        return Model(bytes(proto.SerializeToString()))


def _conv_step(b: Builder, step: str, a: str, c: str) -> None:
    if step in ("conv", "conv-relu", "conv-clip"):
        inputs = [a, b.weight((CHANNELS, CHANNELS, 3, 3), 0.15), b.weight((CHANNELS,))]
        y = b.node("Conv", inputs, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
        if step == "conv-relu":
            b.node("Relu", [y])
        elif step == "conv-clip":
            low = numpy_helper.from_array(np.asarray(0, np.float32), f"low{len(b.weights)}")
            high = numpy_helper.from_array(np.asarray(6, np.float32), f"high{len(b.weights)}")
            b.weights += [low, high]
            b.node("Clip", [y, low.name, high.name])
    elif step == "add":
        b.node("Add", [a, c])
    elif step == "pool":
        b.node("MaxPool", [a], kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    elif step == "concat":
        both = b.node("Concat", [a, c], axis=1)
        weights = [b.weight((CHANNELS, 2 * CHANNELS, 1, 1)), b.weight((CHANNELS,))]
        b.node("Conv", [both, *weights], kernel_shape=[1, 1])
        b.live.remove(both)
    else:
        b.node("Sigmoid", [a])


def _matmul_step(b: Builder, step: str, a: str, c: str, width: int) -> None:
    if step in ("linear", "linear-relu"):
        product = b.node("MatMul", [a, b.weight((width, width))])
        y = b.node("Add", [b.weight((width,)), product])
        if step == "linear-relu":
            b.node("Relu", [y])
    elif step == "add":
        b.node("Add", [a, c])
    elif step == "attention":
        turned = b.node("Transpose", [c], perm=[0, 2, 1])
        scores = b.node("MatMul", [a, turned])
        weights = b.node("Softmax", [scores], axis=-1)
        b.node("MatMul", [weights, c])
        for name in (turned, scores, weights):
            b.live.remove(name)
    else:
        b.node("Mul", [a, c])


CONV_STEPS = ("conv", "conv-relu", "conv-clip", "add", "pool", "concat", "sigmoid")
MATMUL_STEPS = ("linear", "linear-relu", "add", "attention", "mul")


@st.composite
def conv_models(draw: st.DrawFn) -> Model:
    """A convolutional network with one or two outputs; the head is pooled and classified."""
    b = Builder(np.random.default_rng(draw(st.integers(0, 10_000))), live=["x"])
    for step in draw(st.lists(st.sampled_from(CONV_STEPS), min_size=1, max_size=7)):
        a, c = draw(st.sampled_from(b.live)), draw(st.sampled_from(b.live))
        _conv_step(b, step, a, c)
    last = b.live[-1]
    pooled = b.node("GlobalAveragePool", [last])
    flat = b.node("Flatten", [pooled], axis=1)
    trans_b = draw(st.booleans())
    shape = (10, CHANNELS) if trans_b else (CHANNELS, 10)
    inputs = [flat, b.weight(shape), b.weight((10,))]
    logits = b.node("Gemm", inputs, transB=int(trans_b))
    outputs: list[tuple[str, Sequence[str | int]]] = [(logits, ["n", 10])]
    if draw(st.booleans()) and last != "x":
        outputs.append((last, ["n", CHANNELS, SIZE, SIZE]))
    return b.model(["n", CHANNELS, SIZE, SIZE], outputs)


@st.composite
def matmul_models(draw: st.DrawFn, width: int = WIDTH) -> Model:
    """A transformer-like network on [n, SIZE, width]."""
    b = Builder(np.random.default_rng(draw(st.integers(0, 10_000))), live=["x"])
    b.node("MatMul", ["x", b.weight((width, width))])
    for step in draw(st.lists(st.sampled_from(MATMUL_STEPS), min_size=1, max_size=6)):
        a, c = draw(st.sampled_from(b.live)), draw(st.sampled_from(b.live))
        _matmul_step(b, step, a, c, width)
    return b.model(["n", SIZE, width], [(b.live[-1], ["n", SIZE, width])])


def source_of(model: Model, folder: Path) -> SourceModel:
    """The model as a file, read as any user's."""
    path = folder / "model.onnx"
    path.write_bytes(model.data)
    return read_model(path)


def feed_of(model: Model, seed: int = 0) -> dict[str, np.ndarray]:
    """One sample for a model of this module."""
    proto = onnx.ModelProto.FromString(model.data)
    dims = proto.graph.input[0].type.tensor_type.shape.dim
    shape = [1, *(d.dim_value for d in dims[1:])]
    return {"x": np.random.default_rng(seed).normal(0, 1, shape).astype(np.float32)}
