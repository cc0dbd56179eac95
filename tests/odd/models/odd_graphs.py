"""Models with structures that break tools, each small enough to search in a second."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.graph.small_graphs import GraphBuilder, conv, linear

FLOAT, HALF, INT64, BOOL = (
    TensorProto.FLOAT,
    TensorProto.FLOAT16,
    TensorProto.INT64,
    TensorProto.BOOL,
)


def info(name: str, elem_type: int, shape: Sequence[int | str] | None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, elem_type, shape)


def subgraph(
    name: str,
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    constants: Sequence[onnx.TensorProto] = (),
) -> onnx.GraphProto:
    return helper.make_graph(nodes, name, inputs, outputs, initializer=constants)


def number(name: str, value: object, dtype: Any = np.float32) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(value, dtype), name)


# Control flow: bodies that use tensors and weights of the main graph.


def if_captured() -> onnx.ModelProto:
    """Both branches read an activation and a weight of the main graph; a third If is nested."""
    b = GraphBuilder()
    x = linear(b, b.input(["n", 8]), 8, 8)
    flag, weight = b.input([], BOOL, name="flag"), b.weight(8, 8)
    inner = [helper.make_node("MatMul", [x, weight], ["then_out"])]
    deep = {
        f"{kind}_branch": subgraph(
            kind, [helper.make_node(op, [x], [f"{kind}_deep"])], [], [info(f"{kind}_deep", 1, None)]
        )
        for kind, op in (("then", "Neg"), ("else", "Abs"))
    }
    nested = [helper.make_node("If", [flag], ["else_out"], **deep)]
    y = b.op(
        "If",
        flag,
        then_branch=subgraph("then", inner, [], [info("then_out", 1, ["n", 8])]),
        else_branch=subgraph("else", nested, [], [info("else_out", 1, ["n", 8])]),
    )
    b.output(linear(b, b.op("Add", y, x), 8, 4))
    return b.model()


def loop_captured() -> onnx.ModelProto:
    """Three times h = tanh(h W + x), with x and W of the main graph."""
    b = GraphBuilder()
    x, weight = linear(b, b.input([2, 8]), 8, 8), b.weight(8, 8)
    body = subgraph(
        "body",
        [
            helper.make_node("MatMul", ["h", weight], ["p"]),
            helper.make_node("Add", ["p", x], ["s"]),
            helper.make_node("Tanh", ["s"], ["h_out"]),
            helper.make_node("Identity", ["go"], ["go_out"]),
        ],
        [info("i", INT64, []), info("go", BOOL, []), info("h", FLOAT, [2, 8])],
        [info("go_out", BOOL, []), info("h_out", FLOAT, [2, 8])],
    )
    y = b.op("Loop", b.const(3, np.int64), b.const(True, np.bool_), x, body=body)
    b.output(linear(b, y, 8, 4))
    return b.model()


def scan_captured() -> onnx.ModelProto:
    """A running sum over time, shifted by a tensor of the main graph."""
    b = GraphBuilder()
    x = linear(b, b.input([5, 8]), 8, 8)
    shift = b.op("ReduceMean", x, axes=[0], keepdims=0)
    body = subgraph(
        "body",
        [
            helper.make_node("Add", ["state", "row"], ["next"]),
            helper.make_node("Sub", ["next", shift], ["row_out"]),
        ],
        [info("state", FLOAT, [8]), info("row", FLOAT, [8])],
        [info("next", FLOAT, [8]), info("row_out", FLOAT, [8])],
    )
    _, y = b.ops("Scan", b.const(np.zeros(8)), x, count=2, body=body, num_scan_inputs=1)
    b.output(linear(b, y, 8, 4))
    return b.model()


# Operators that are not ONNX's.


def local_function() -> onnx.ModelProto:
    """A model-local function between two products."""
    b = GraphBuilder()
    x = linear(b, b.input(["n", 8]), 8, 8)
    b.output(linear(b, b.op("Gate", x, domain="local"), 8, 4))
    model = b.model()
    body = [helper.make_node("Sigmoid", ["a"], ["s"]), helper.make_node("Mul", ["a", "s"], ["y"])]
    model.functions.append(
        helper.make_function("local", "Gate", ["a"], ["y"], body, [helper.make_opsetid("", 17)])
    )
    return model


def contrib_op() -> onnx.ModelProto:
    """An operator of ONNX Runtime's own domain, whose output type nothing here can infer."""
    b = GraphBuilder()
    x = linear(b, b.input(["n", 8]), 8, 8)
    y = b.op("BiasGelu", x, b.weight(8), domain="com.microsoft")
    y = b.op("Add", y, b.weight(8))  # one operand of unknown type, one FP32
    b.output(linear(b, b.op("Concat", y, x, axis=1), 16, 4))
    return b.model()


def custom_op() -> onnx.ModelProto:
    """An operator that no engine here knows."""
    b = GraphBuilder()
    x = linear(b, b.input(["n", 8]), 8, 8)
    b.output(linear(b, b.op("Mystery", x, domain="com.example", power=3), 8, 4))
    return b.model()


# Types.


def quantized(b: GraphBuilder, x: str, scale: float = 0.05) -> str:
    """Q and DQ as a training tool writes them: signed, symmetric."""
    args = (b.const(scale), b.const(0, np.int8))
    return b.op("DequantizeLinear", b.op("QuantizeLinear", x, *args), *args)


def qat(opset: int = 17) -> onnx.ModelProto:
    """A product with Q/DQ of its author, and three more without."""
    b = GraphBuilder(opset)
    x = b.op("Relu", linear(b, b.input(["n", 8]), 8, 16))
    weight = b.const(b.rng.integers(-127, 128, (16, 16)), np.int8)
    scale, zero = b.const(np.full(16, 2e-3)), b.const(np.zeros(16), np.int8)
    kernel = b.op("DequantizeLinear", weight, scale, zero, axis=1)
    x = b.op("Relu", b.op("MatMul", quantized(b, x), kernel))
    x = b.op("Relu", linear(b, x, 16, 16))
    b.output(linear(b, b.op("Relu", linear(b, x, 16, 16)), 16, 4))
    return b.model()


def half_inside() -> onnx.ModelProto:
    """FP32 outside, an FP16 layer inside, as a converter leaves it."""
    b = GraphBuilder()
    x = linear(b, b.input(["n", 8]), 8, 8)
    weight = b.const(b.rng.standard_normal((8, 8)), np.float16)
    x = b.op("MatMul", b.op("Cast", x, to=HALF), weight)
    b.output(linear(b, b.op("Cast", x, to=FLOAT), 8, 4))
    return b.model()


def other_outputs() -> onnx.ModelProto:
    """An integer, a Boolean and a float output, one of them used inside as well."""
    b = GraphBuilder()
    x = b.output(linear(b, b.input(["n", 8]), 8, 4))
    b.output(b.op("ArgMax", x, axis=1, keepdims=0), INT64)
    b.output(b.op("Greater", x, b.const(0.0)), BOOL)
    return b.model()


# Old and new operator sets.


def opset_9() -> onnx.ModelProto:
    """Clip and Dropout with attributes, Upsample, weights among the inputs (IR 3)."""
    b = GraphBuilder(9)
    x = b.op("Clip", conv(b, b.input([1, 3, 8, 8]), 3, 4), min=0.0, max=6.0)
    x = b.op("Upsample", x, b.const([1, 1, 2, 2]), mode="nearest")
    x = b.op("Dropout", conv(b, x, 4, 4), ratio=0.5)
    x = b.op("Squeeze", b.op("GlobalAveragePool", x), axes=[2, 3])
    b.output(b.op("Softmax", b.op("Gemm", x, b.weight(4, 4), b.weight(4)), axis=1))
    model = b.model()
    model.ir_version = 3
    model.graph.input.extend(info(t.name, t.data_type, t.dims) for t in model.graph.initializer)
    return model


def opset_11() -> onnx.ModelProto:
    """Attributes that became inputs, in the main graph and in the branches of an If."""
    b = GraphBuilder(11)
    x = linear(b, b.input([2, 4, 8]), 8, 8)
    total = b.op("ReduceSum", x, axes=[1], keepdims=1)
    branches = {
        f"{kind}_branch": subgraph(
            kind,
            [
                helper.make_node("Squeeze", [total], [f"{kind}_flat"], axes=[1]),
                helper.make_node(op, [f"{kind}_flat"], [f"{kind}_out"]),
            ],
            [],
            [info(f"{kind}_out", FLOAT, [2, 8])],
        )
        for kind, op in (("then", "Relu"), ("else", "Neg"))
    }
    y = b.op("If", b.input([], BOOL, name="flag"), **branches)
    b.output(linear(b, y, 8, 4))
    return b.model()


def opset_23() -> onnx.ModelProto:
    """RMSNormalization and Attention as single operators."""
    b = GraphBuilder(23)
    x = b.input([1, 6, 16])
    h = b.op("RMSNormalization", x, b.weight(16))
    q, k, v = (linear(b, h, 16, 16) for _ in range(3))
    y = b.op("Attention", q, k, v, q_num_heads=2, kv_num_heads=2)
    b.output(linear(b, b.op("Add", x, y), 16, 4))
    model = b.model()
    model.ir_version = 11
    return model
