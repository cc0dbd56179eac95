"""Small deterministic ONNX models, each with one thing that real models have."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from onnx import TensorProto, helper

from tests.graph.small_layers import (
    GELU_FORMS,
    NORM_FORMS,
    SCHEME,
    GraphBuilder,
    attention,
    batch_norm,
    conv,
    heads,
    layer_norm,
    linear,
    rms_norm,
    silu,
    view,
)

__all__ = [
    "GELU_FORMS",
    "MODELS",
    "NORM_FORMS",
    "SCHEME",
    "GraphBuilder",
    "attention",
    "batch_norm",
    "conditional",
    "conv",
    "conv_net",
    "custom_op",
    "fan_out",
    "fire_net",
    "gemm_head",
    "heads",
    "layer_norm",
    "linear",
    "residual_net",
    "rms_norm",
    "shape_computed",
    "shared_weights",
    "silu",
    "transformer",
    "view",
]


def conv_net() -> onnx.ModelProto:
    """Conv-BN-Relu, Conv-Clip-MaxPool, pooling, Gemm."""
    b = GraphBuilder()
    x = b.input(["n", 3, 8, 8])
    x = b.op("Relu", batch_norm(b, conv(b, x, 3, 8), 8))
    x = b.op("Clip", conv(b, x, 8, 8), b.const(0.0), b.const(6.0))
    x = b.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    x = b.op("Flatten", b.op("GlobalAveragePool", x))
    b.output(b.op("Gemm", x, b.weight(8, 4), b.weight(4)))
    return b.model()


def residual_net(blocks: int = 3) -> onnx.ModelProto:
    """Stem, equal residual blocks (Conv-Relu, Conv, Add-Relu), pooling, Gemm."""
    b = GraphBuilder()
    x = b.op("Relu", conv(b, b.input(["n", 3, 8, 8]), 3, 8))
    for _ in range(blocks):
        y = conv(b, b.op("Relu", conv(b, x, 8, 8)), 8, 8)
        x = b.op("Relu", b.op("Add", y, x))
    x = b.op("Flatten", b.op("GlobalAveragePool", x))
    b.output(b.op("Gemm", x, b.weight(8, 4), b.weight(4)))
    return b.model()


def fire_net() -> onnx.ModelProto:
    """SqueezeNet's fire module: two branches of unequal kernels, joined by Concat."""
    b = GraphBuilder()
    x = b.op("Relu", conv(b, b.input([1, 3, 8, 8]), 3, 4, size=1))
    left = b.op("Relu", conv(b, x, 4, 8, size=1))
    right = b.op("Relu", conv(b, x, 4, 8))
    x = b.op("MaxPool", b.op("Concat", left, right, axis=1), kernel_shape=[2, 2], strides=[2, 2])
    b.output(b.op("GlobalAveragePool", conv(b, x, 16, 4)))
    return b.model()


def transformer(
    blocks: int = 1, mask: bool = True, scale: str = "after", norm: str = "div", opset: int = 17
) -> onnx.ModelProto:
    """Pre-norm encoder blocks of width 16 with two heads, and a last LayerNorm."""
    b = GraphBuilder(opset)
    x = b.input(["n", 6, 16])
    added = ""
    if mask:
        keep = b.op("Cast", b.input(["n", 1, 1, 6], TensorProto.INT64), to=TensorProto.FLOAT)
        added = b.op("Mul", b.op("Sub", b.const(1.0), keep), b.const(-1e4))
    for _ in range(blocks):
        h = layer_norm(b, x, 16, norm)
        q, k, v = (heads(b, linear(b, h, 16, 16, bias_first=True), 2, 8) for _ in range(3))
        joined = b.op("Transpose", attention(b, q, k, v, 8, scale, added), perm=[0, 2, 1, 3])
        h = linear(b, b.op("Reshape", joined, b.ints(0, -1, 16)), 16, 16)
        x = b.op("Add", x, h)
        h = linear(b, layer_norm(b, x, 16, norm), 16, 32)
        x = b.op("Add", x, linear(b, GELU_FORMS["erf, half last"](b, h), 32, 16))
    b.output(layer_norm(b, x, 16, norm))
    return b.model()


def gemm_head() -> onnx.ModelProto:
    """Gemm-Relu with a transposed weight, then a plain Gemm."""
    b = GraphBuilder()
    x = b.op("Gemm", b.input(["n", 12]), b.weight(8, 12), b.weight(8), transB=1)
    b.output(b.op("Gemm", b.op("Relu", x), b.weight(8, 4), b.weight(4)))
    return b.model()


def shared_weights() -> onnx.ModelProto:
    """One weight in two products, one scalar in two sums."""
    b = GraphBuilder()
    weight, shift = b.weight(8, 8), b.const(0.5)
    x = b.op("Add", b.op("MatMul", b.input(["n", 8]), weight), shift)
    b.output(b.op("Add", b.op("MatMul", x, weight), shift))
    return b.model()


def fan_out() -> onnx.ModelProto:
    """A tensor with three readers that is an output, too; the Relu cannot stay with its Conv."""
    b = GraphBuilder()
    x = b.output(conv(b, b.input([1, 3, 8, 8]), 3, 4))
    left, right = b.op("Relu", x), conv(b, x, 4, 4)
    b.output(b.op("Concat", left, right, b.op("Sigmoid", x), axis=1))
    return b.model()


def shape_computed() -> onnx.ModelProto:
    """A product reshaped to a shape that is computed from its own."""
    b = GraphBuilder()
    x = linear(b, b.input(["n", "s", 8]), 8, 8)
    batch = b.op("Gather", b.op("Shape", x), b.const(0, np.int64), axis=0)
    target = b.op("Concat", b.op("Unsqueeze", batch, b.ints(0)), b.ints(-1, 2, 4), axis=0)
    b.output(b.op("Transpose", b.op("Reshape", x, target), perm=[0, 2, 1, 3]))
    return b.model()


def conditional() -> onnx.ModelProto:
    """An If whose branches use a tensor of the main graph."""
    b = GraphBuilder()
    x = linear(b, b.input(["n", 8]), 8, 8)
    flag = b.input([], TensorProto.BOOL, name="flag")
    branches = {}
    for branch, op_type in (("then_branch", "Relu"), ("else_branch", "Neg")):
        inner = helper.make_tensor_value_info(f"{branch}_out", TensorProto.FLOAT, ["n", 8])
        node = helper.make_node(op_type, [x], [inner.name])
        branches[branch] = helper.make_graph([node], branch, [], [inner])
    y = b.op("If", flag, **branches)
    b.output(linear(b, y, 8, 4))
    return b.model()


def custom_op() -> onnx.ModelProto:
    """A node of a domain that nothing here knows, between two products."""
    b = GraphBuilder()
    x = linear(b, b.input(["n", 8]), 8, 8)
    b.output(linear(b, b.op("Mystery", x, domain="com.example", power=3), 8, 4))
    return b.model()


MODELS: dict[str, Callable[[], onnx.ModelProto]] = {
    "conv_net": conv_net,
    "residual_net": residual_net,
    "fire_net": fire_net,
    "transformer": transformer,
    "gemm_head": gemm_head,
    "shared_weights": shared_weights,
    "fan_out": fan_out,
    "shape_computed": shape_computed,
    "conditional": conditional,
    "custom_op": custom_op,
}
"""Every whole model with its defaults; ONNX Runtime runs all but ``custom_op``."""
