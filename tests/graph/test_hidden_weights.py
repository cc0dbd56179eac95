"""Weights behind nodes are found: layers are free, and FP32 stays as it is to the bit."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto

from tests.graph.plain_runs import is_free, lowered, operators, ran
from tests.graph.small_layers import GraphBuilder, view

FEW = settings(
    max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)

STEPS = ("Identity", "Transpose", "Reshape", "Cast", "norm", "Mul", "Concat", "Slice", "Dequantize")


def behind(b: GraphBuilder, step: str, wide: int, high: int) -> str:
    """A weight [wide, high], made by a node or a few of them."""
    rng = b.rng
    values = rng.normal(0, 0.3, (wide, high)).astype(np.float32)
    if step == "Identity":
        return b.op("Identity", b.op("Identity", b.const(values)))
    if step == "Transpose":
        return b.op("Transpose", b.const(values.T), perm=[1, 0])
    if step == "Reshape":
        shape = b.op("Concat", b.op("Shape", b.const(np.zeros(wide))), b.ints(-1), axis=0)
        return b.op("Reshape", b.const(values.reshape(-1)), shape)
    if step == "Cast":
        return b.op("Cast", b.const(values, np.float16), to=TensorProto.FLOAT)
    if step == "norm":
        raw = b.const(values)
        length = b.op("ReduceL2", raw, axes=[0], keepdims=1)
        return b.op("Mul", b.op("Div", raw, length), b.const(1.4))
    if step == "Mul":
        return b.op("Mul", b.const(values), b.op("Sqrt", b.const(np.full((1, high), 0.5))))
    if step == "Concat":
        return b.op("Concat", b.const(values[:1]), b.const(values[1:]), axis=0)
    if step == "Slice":
        return b.op("Slice", b.const(np.tile(values, (1, 2))), b.ints(0), b.ints(high), b.ints(1))
    stored = rng.integers(-100, 100, (wide, high)).astype(np.int8)
    scale, zero = b.const(np.full(high, 0.003)), b.const(np.zeros(high), np.int8)
    return b.op("DequantizeLinear", b.const(stored, np.int8), scale, zero, axis=1)


@st.composite
def hidden(draw: st.DrawFn) -> tuple[onnx.ModelProto, bool]:
    """A chain of products whose weights stand behind nodes; whether all of it is exact."""
    b = GraphBuilder(seed=draw(st.integers(0, 1000)))
    steps = draw(st.lists(st.sampled_from(STEPS), min_size=1, max_size=5))
    x, raw = b.input(["n", 6]), ""
    for step in steps:
        weight = behind(b, step, 6, 6)
        x = b.op("Relu", b.op("MatMul", x, weight))
        if step == "Transpose" and draw(st.booleans()):
            raw = b.nodes[-3].input[0]  # another reader needs the weight as it is stored
            x = b.op("Add", x, b.op("MatMul", x, raw))
    b.output(x)
    return b.model(), "norm" not in steps


@FEW
@given(hidden())
def test_fp32_outputs_are_those_of_the_model_bit_by_bit(
    drawn: tuple[onnx.ModelProto, bool],
) -> None:
    model, exact = drawn
    graph = view(model)
    assert set(operators(graph)) <= {"MatMul", "Relu", "Add"}
    assert is_free(graph, "MatMul")
    feed = {"in0": np.random.default_rng(1).normal(0, 1, (3, 6)).astype(np.float32)}
    (mine,), (wanted,) = ran(lowered(graph), feed), ran(model.SerializeToString(), feed)
    if exact:
        np.testing.assert_array_equal(mine, wanted)
    else:  # a length is summed in FP64 here, in FP32 there: docs/models.md
        np.testing.assert_allclose(mine, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("opset", [7, 9, 11, 13, 17, 18, 21, 23])
def test_weights_behind_nodes_are_found_in_every_operator_set(opset: int) -> None:
    b = GraphBuilder(opset=opset)
    x = b.input(["n", 4, 6, 6])
    weight = b.const(b.rng.normal(0, 0.2, (1, 8, 4, 3, 3)).astype(np.float32))
    if opset < 13:
        weight = b.op("Squeeze", weight, axes=[0])
        total = b.op("ReduceSum", b.op("Abs", weight), axes=[1, 2, 3])
    else:
        weight = b.op("Squeeze", weight, b.ints(0))
        total = b.op("ReduceSum", b.op("Abs", weight), b.ints(1, 2, 3))
    b.output(b.op("Conv", x, b.op("Div", weight, total), pads=[1, 1, 1, 1]))
    graph = view(b.model())
    assert operators(graph) == ["Conv"]
    assert is_free(graph, "Conv")


def test_equal_initializers_behind_identities_stay_one() -> None:
    b = GraphBuilder()
    x, weight = b.input(["n", 6]), b.weight(6, 6)
    for _ in range(3):
        x = b.op("MatMul", x, b.op("Identity", weight))
    b.output(x)
    assert list(view(b.model()).weights) == [weight]


def test_static_sizes_are_picked_out_of_a_shape_with_open_ones() -> None:
    b = GraphBuilder()
    x = b.input(["n", 6, 4])
    shape = b.op("Shape", x)
    width = b.op("Gather", shape, b.const(2, np.int64))
    weight = b.op("Reshape", b.weight(24), b.op("Concat", b.op("Unsqueeze", width, b.ints(0)),
                                                b.ints(-1), axis=0))  # fmt: skip
    b.output(b.op("MatMul", x, weight))
    graph = view(b.model())
    assert operators(graph) == ["MatMul"]
    assert graph.weights[graph.nodes[0].inputs[1]].shape == (4, 6)
    b = GraphBuilder()
    x = b.input(["n", 6, 4])
    b.output(b.op("Gather", b.op("Shape", x), b.const(0, np.int64)), TensorProto.INT64)
    assert operators(view(b.model())) == ["Shape", "Gather"], "its result is open"
