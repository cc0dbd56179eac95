"""Models as exporters write them: weights behind nodes, functions, Einsum, layers inside of If.

Each has a plain form, which computes the same and is what the search should see.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.graph.small_layers import GraphBuilder, linear

__all__ = ["einsum_attention", "hidden_weights", "in_branches", "local_functions", "shared_biases"]


def _conv(b: GraphBuilder, x: str, weight: str, bias: str = "") -> str:
    return b.op("Relu", b.op("Conv", *[t for t in (x, weight, bias) if t], pads=[1, 1, 1, 1]))


def hidden_weights(*, plain: bool) -> onnx.ModelProto:
    """Cast, weight normalization, DequantizeLinear, Constant, Transpose, Reshape of weights."""
    b = GraphBuilder()
    rng = b.rng
    x = b.input(["n", 3, 12, 12])
    half = (rng.standard_normal((16, 3, 3, 3)) * 0.25).astype(np.float16)
    weight = b.const(half) if plain else b.op("Cast", b.const(half, np.float16), to=1)
    x = _conv(b, x, weight)
    raw = rng.standard_normal((16, 16, 3, 3)).astype(np.float32)
    if plain:
        length = np.sqrt((raw.astype(np.float64) ** 2).sum((1, 2, 3), keepdims=True))
        weight = b.const(raw / length.astype(np.float32) * np.float32(1.4))
    else:
        source = b.const(raw)
        length_of = b.op("ReduceL2", source, axes=[1, 2, 3], keepdims=1)
        weight = b.op("Mul", b.op("Div", source, length_of), b.const(np.full((16, 1, 1, 1), 1.4)))
    x = _conv(b, x, weight)
    stored = rng.integers(-100, 100, (16, 16, 3, 3)).astype(np.int8)
    if plain:
        weight = b.const(stored * np.float32(0.003))
    else:
        scale, zero = b.const(np.full(16, 0.003)), b.const(np.zeros(16), np.int8)
        weight = b.op("DequantizeLinear", b.const(stored, np.int8), scale, zero, axis=0)
    x = _conv(b, x, weight)
    values = (rng.standard_normal((16, 16, 3, 3)) * 0.1).astype(np.float32)
    if plain:
        weight = b.const(values)
    else:
        weight = b.op("Identity", b.op("Constant", value=numpy_helper.from_array(values)))
    x = b.op("Flatten", b.op("MaxPool", _conv(b, x, weight), kernel_shape=[4, 4], strides=[4, 4]))
    turned = (rng.standard_normal((24, 144)) * 0.06).astype(np.float32)
    weight = b.const(turned.T) if plain else b.op("Transpose", b.const(turned), perm=[1, 0])
    x = b.op("Relu", b.op("MatMul", x, weight))
    flat = (rng.standard_normal(240) * 0.2).astype(np.float32)
    shape = b.ints(24, 10)
    weight = b.const(flat.reshape(24, 10)) if plain else b.op("Reshape", b.const(flat), shape)
    b.output(b.op("MatMul", x, weight))
    return b.model()


def shared_biases(*, plain: bool) -> onnx.ModelProto:
    """Equal initializers are stored once; each further use reads an Identity of them."""
    b = GraphBuilder()
    bias, weight = b.weight(16), b.weight(16, 16, 3, 3)

    def again(tensor: str) -> str:
        return tensor if plain else b.op("Identity", tensor)

    x = _conv(b, b.input(["n", 3, 12, 12]), b.weight(16, 3, 3, 3), bias)
    x = _conv(b, x, weight, again(bias))
    x = _conv(b, x, again(weight), again(bias))
    x = b.op("Flatten", b.op("MaxPool", x, kernel_shape=[4, 4], strides=[4, 4]))
    b.output(b.op("Gemm", x, b.weight(16, 144), again(bias), transB=1))
    return b.model()


def local_functions(*, plain: bool) -> onnx.ModelProto:
    """Every module is a function; weights come in as its inputs."""
    b = GraphBuilder()
    x = b.input(["n", 3, 12, 12])
    for wide, high in ((3, 16), (16, 16), (16, 8)):
        given = x, b.weight(high, wide, 3, 3), b.weight(high)
        x = _conv(b, *given) if plain else b.op("Block", *given, domain="my.modules")
    b.output(x)
    model = b.model()
    if not plain:
        body = [
            helper.make_node("Conv", ["x", "w", "b"], ["c"], pads=[1, 1, 1, 1]),
            helper.make_node("Relu", ["c"], ["y"]),
        ]
        opset = [helper.make_opsetid("", 17)]
        made = helper.make_function("my.modules", "Block", ["x", "w", "b"], ["y"], body, opset)
        model.functions.append(made)
    return model


def einsum_attention(*, plain: bool) -> onnx.ModelProto:
    """Attention of which every product, projections too, is an Einsum."""
    b = GraphBuilder()
    wide, heads, size = 32, 2, 16
    x = b.input(["n", 6, wide])

    def reshaped(tensor: str, *shape: int) -> str:
        return b.op("Reshape", tensor, b.ints(*shape))

    def projected() -> str:
        weight = b.rng.standard_normal((wide, heads, size)).astype(np.float32) / 6
        if not plain:
            return b.op("Einsum", x, b.const(weight), equation="bsd,dhk->bhsk")
        product = b.op("MatMul", x, b.const(weight.reshape(wide, -1)))
        return b.op("Transpose", reshaped(product, 0, 0, heads, size), perm=[0, 2, 1, 3])

    q, k, v = (projected() for _ in range(3))
    if plain:
        scores = b.op("MatMul", q, b.op("Transpose", k, perm=[0, 1, 3, 2]))
    else:
        scores = b.op("Einsum", q, k, equation="bhik,bhjk->bhij")
    weights = b.op("Softmax", b.op("Mul", scores, b.const(0.25)), axis=-1)
    last = b.rng.standard_normal((heads, size, wide)).astype(np.float32) / 6
    if plain:
        mixed = b.op("Transpose", b.op("MatMul", weights, v), perm=[0, 2, 1, 3])
        out = b.op("MatMul", reshaped(mixed, 0, 0, wide), b.const(last.reshape(-1, wide)))
    else:
        mixed = b.op("Einsum", weights, v, equation="bhij,bhjk->bhik")
        out = b.op("Einsum", mixed, b.const(last), equation="bhsk,hkd->bsd")
    b.output(linear(b, b.op("Add", out, x), wide, 8))
    return b.model()


def in_branches() -> onnx.ModelProto:
    """A decoder whose layers are in the two branches of one If."""
    b = GraphBuilder()
    x, cached = b.input(["n", 16]), b.input([1], TensorProto.BOOL)
    weights = [b.weight(16, 16) for _ in range(4)]

    def branch(name: str) -> onnx.GraphProto:
        chain = [x, *(f"{name}{i}" for i in range(4))]
        nodes = [
            helper.make_node("MatMul", [chain[i], w], [chain[i + 1]]) for i, w in enumerate(weights)
        ]
        info = helper.make_tensor_value_info(chain[-1], TensorProto.FLOAT, ["n", 16])
        return helper.make_graph(nodes, name, [], [info])

    b.output(b.op("If", cached, then_branch=branch("a"), else_branch=branch("b")))
    return b.model()
