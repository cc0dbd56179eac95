"""Models with everything that passes the scale of a channel on, takes it up or pins it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

CHANNELS = 6
SIZE = 4


class Chain:
    """A model of which each step reads what the one before wrote."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.tensor = "x"

    def weight(self, *shape: int, low: float = -0.6, high: float = 0.6) -> str:
        values = self.rng.uniform(low, high, shape).astype(np.float32)
        return self.constant(values)

    def constant(self, values: Any) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def node(self, op_type: str, inputs: list[str], **attributes: Any) -> str:
        self.tensor = f"t{len(self.nodes)}"
        self.nodes.append(
            helper.make_node(op_type, inputs, [self.tensor], f"n{self.tensor}", **attributes)
        )
        return self.tensor

    def model(self, shape: list[int | str], opset: int = 17) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes,
            "chain",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info(self.tensor, TensorProto.FLOAT, None)],
            self.weights,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
        model.ir_version = 8
        return model


def conv(c: Chain, groups: int = 1) -> None:
    weight, bias = c.weight(CHANNELS, CHANNELS // groups, 3, 3), c.weight(CHANNELS)
    c.node("Conv", [c.tensor, weight, bias], group=groups, pads=[1, 1, 1, 1])


def _transposed(c: Chain, groups: int) -> None:
    weight = c.weight(CHANNELS, CHANNELS // groups, 3, 3)
    c.node("ConvTranspose", [c.tensor, weight], group=groups, pads=[1, 1, 1, 1])


def _norm(c: Chain) -> None:
    inputs = [c.weight(CHANNELS), c.weight(CHANNELS), c.weight(CHANNELS)]
    c.node("Relu", [c.tensor])  # keeps it from being folded into a Conv
    c.node("BatchNormalization", [c.tensor, *inputs, c.weight(CHANNELS, low=0.5, high=2.0)])


def _residual(c: Chain) -> None:
    before = c.tensor
    conv(c)
    c.node("Add", [c.tensor, before])


def _joined(c: Chain) -> None:
    before = c.tensor
    conv(c)
    joined = c.node("Concat", [before, c.tensor], axis=1)
    c.node("Conv", [joined, c.weight(CHANNELS, 2 * CHANNELS, 1, 1)])


def _gated(c: Chain) -> None:
    value = c.tensor
    c.node("GlobalAveragePool", [value])
    c.node("Conv", [c.tensor, c.weight(CHANNELS, CHANNELS, 1, 1)])
    c.node("Mul", [value, c.node("Sigmoid", [c.tensor])])


def _silu(c: Chain) -> None:
    c.node("Mul", [c.tensor, c.node("Sigmoid", [c.tensor])])


def _vector(c: Chain) -> str:
    return c.weight(1, CHANNELS, 1, 1, low=0.5, high=2.0)


IMAGES: dict[str, Callable[[Chain], object]] = {
    "conv": conv,
    "grouped": lambda c: conv(c, 2),
    "depthwise": lambda c: conv(c, CHANNELS),
    "transposed": lambda c: _transposed(c, 1),
    "transposed groups": lambda c: _transposed(c, 3),
    "batch norm": _norm,
    "instance norm": lambda c: c.node(
        "InstanceNormalization", [c.tensor, c.weight(CHANNELS), c.weight(CHANNELS)]
    ),
    "relu": lambda c: c.node("Relu", [c.tensor]),
    "leaky": lambda c: c.node("LeakyRelu", [c.tensor], alpha=0.2),
    "prelu": lambda c: c.node("PRelu", [c.tensor, c.weight(CHANNELS, 1, 1)]),
    "clip at 0": lambda c: c.node("Clip", [c.tensor, c.constant(np.float32(0))]),
    "clip at 6": lambda c: c.node(
        "Clip", [c.tensor, c.constant(np.float32(0)), c.constant(np.float32(0.5))]
    ),
    "max": lambda c: c.node("MaxPool", [c.tensor], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
    "average": lambda c: c.node("AveragePool", [c.tensor], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
    "residual": _residual,
    "joined": _joined,
    "gated": _gated,
    "silu": _silu,
    "times vector": lambda c: c.node("Mul", [c.tensor, _vector(c)]),
    "over vector": lambda c: c.node("Div", [c.tensor, _vector(c)]),
    "times scalar": lambda c: c.node("Mul", [c.constant(np.float32(1.5)), c.tensor]),
    "plus vector": lambda c: c.node("Add", [c.tensor, _vector(c)]),
    "minus scalar": lambda c: c.node("Sub", [c.constant(np.float32(0.3)), c.tensor]),
    "pad": lambda c: c.node("Pad", [c.tensor, c.constant(np.array([0, 0, 1, 0, 0, 0, 0, 1]))]),
    "resize": lambda c: c.node(
        "Resize", [c.tensor, "", c.constant(np.array([1, 1, 2, 1], np.float32))], mode="nearest"
    ),
    "mean": lambda c: c.node("ReduceMean", [c.tensor], axes=[2], keepdims=1),
    "turned": lambda c: c.node(
        "Transpose", [c.node("Transpose", [c.tensor], perm=[0, 2, 3, 1])], perm=[0, 3, 1, 2]
    ),
}


def _layer_norm(c: Chain) -> None:
    c.node("LayerNormalization", [c.tensor, c.weight(CHANNELS), c.weight(CHANNELS)], axis=-1)


def _written_norm(c: Chain) -> None:
    """A LayerNorm's scale and shift as nodes of their own, read by two MatMuls."""
    c.node("Softmax", [c.tensor], axis=-1)
    c.node("Mul", [c.tensor, c.weight(CHANNELS)])
    shifted = c.node("Add", [c.tensor, c.weight(CHANNELS)])
    first = c.node("MatMul", [shifted, c.weight(CHANNELS, CHANNELS)])
    second = c.node("MatMul", [shifted, c.weight(CHANNELS, CHANNELS)])
    c.node("Add", [first, second])


def _dense(c: Chain) -> None:
    c.node("MatMul", [c.tensor, c.weight(CHANNELS, CHANNELS)])
    c.node("Add", [c.tensor, c.weight(CHANNELS)])


def _windows(c: Chain) -> None:
    c.node("Reshape", [c.tensor, c.constant(np.array([-1, 2, CHANNELS]))])
    c.node("Reshape", [c.tensor, c.constant(np.array([-1, SIZE, CHANNELS]))])


TOKENS: dict[str, Callable[[Chain], object]] = {
    "layer norm": _layer_norm,
    "written norm": _written_norm,
    "dense": _dense,
    "relu": lambda c: c.node("Relu", [c.tensor]),
    "windows": _windows,
    "cut": lambda c: c.node(
        "Slice",
        [c.tensor, *(c.constant(np.array([v])) for v in (0, SIZE, 1))],
    ),
    "softmax": lambda c: c.node("Softmax", [c.tensor], axis=-1),
}


@st.composite
def scalable_models(draw: st.DrawFn) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """A model and what it is fed."""
    images = draw(st.booleans())
    steps = draw(st.lists(st.sampled_from(sorted(IMAGES if images else TOKENS)), max_size=7))
    chain = Chain(draw(st.integers(0, 99)))
    (conv if images else _dense)(chain)
    for step in steps:
        (IMAGES if images else TOKENS)[step](chain)
    if images:
        chain.node("Flatten", [chain.tensor])
    else:
        _dense(chain)
    shape = (2, CHANNELS, SIZE, SIZE) if images else (2, SIZE, CHANNELS)
    feed = np.random.default_rng(7).normal(0, 1, shape).astype(np.float32)
    return chain.model(list(shape)), {"x": feed}
