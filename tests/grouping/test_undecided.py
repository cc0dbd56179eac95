"""Each layer without a choice has a reason that is true, and work is never counted too low."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from precsearch.core.precision import Precision
from precsearch.graph.work import Work, one_sample, sized, total_work
from precsearch.grouping.group import group
from precsearch.grouping.undecided import hidden_layers, undecided
from tests.graph.small_layers import SCHEME, GraphBuilder, view

BOTH = frozenset({Precision.FP32, Precision.INT8})


def built(make: Callable[[GraphBuilder, str], str], opset: int = 17) -> onnx.ModelProto:
    b = GraphBuilder(opset)
    b.output(make(b, b.input(["n", 8, 6, 6])))
    return b.model()


def from_input(b: GraphBuilder, x: str) -> str:
    return b.op("Conv", x, b.op("Mul", b.input([4, 8, 1, 1]), b.const(2.0)))


def from_exp(b: GraphBuilder, x: str) -> str:
    return b.op("Conv", x, b.op("Transpose", b.op("Exp", b.weight(8, 4, 1, 1)), perm=[1, 0, 2, 3]))


def in_half(b: GraphBuilder, x: str) -> str:
    half = b.op("Cast", x, to=TensorProto.FLOAT16)
    made = b.op("Conv", half, b.const(np.ones((4, 8, 1, 1)), np.float16))
    return b.op("Cast", made, to=TensorProto.FLOAT)


def quantized(b: GraphBuilder, x: str) -> str:
    scale, zero = b.const(0.1), b.const(0, np.int8)
    both = b.op("DequantizeLinear", b.op("QuantizeLinear", x, scale, zero), scale, zero)
    return b.op("Conv", both, b.weight(4, 8, 1, 1))


def transposed_gemm(b: GraphBuilder, x: str) -> str:
    return b.op("Gemm", b.op("Flatten", x), b.weight(4, 3), transA=1)


def live_bias(b: GraphBuilder, x: str) -> str:
    flat = b.op("Flatten", x)
    bias = b.op("ReduceMean", flat, axes=[1], keepdims=1)
    return b.op("Gemm", flat, b.weight(288, 3), bias)


def integers(b: GraphBuilder, x: str) -> str:
    whole = b.op("Cast", x, to=TensorProto.UINT8)
    made = b.op("ConvInteger", whole, b.const(np.ones((4, 8, 1, 1)), np.uint8))
    return b.op("Cast", made, to=TensorProto.FLOAT)


REASONS: dict[str, tuple[Callable[[GraphBuilder, str], str], str]] = {
    "input": (
        lambda b, x: b.op("Conv", x, b.input([4, 8, 1, 1])),
        "its weight 'in1' is an input of the model",
    ),
    "depends": (from_input, "its weight 't0' depends on the input 'in1'"),
    "exp": (from_exp, "from constants by Exp 't0', which precsearch does not evaluate"),
    "half": (in_half, "it computes in float16, and precsearch starts from FP32"),
    "author": (quantized, "its author has quantized it, and that stays as it is"),
    "backend": (
        lambda b, x: b.op("ConvTranspose", x, b.weight(8, 4, 2, 2)),
        "this backend has no INT8 form of ConvTranspose",
    ),
    "transA": (transposed_gemm, "it transposes its first operand"),
    "bias": (live_bias, "its bias 't1' is no constant"),
    "left": (
        lambda b, x: b.op("MatMul", b.weight(6, 6), x),
        "its first operand is a constant",
    ),
    "vector": (lambda b, x: b.op("MatMul", x, b.weight(6)), "its weight is a vector"),
    "integers": (integers, "it computes in integers already"),
    "einsum": (
        lambda b, x: b.op("Einsum", x, x, equation="ncij,ncij->nc"),
        "it is no MatMul: it sums over several indices",
    ),
}


@pytest.mark.parametrize("name", sorted(REASONS))
def test_a_layer_without_a_choice_says_why(name: str) -> None:
    make, reason = REASONS[name]
    graph = view(built(make))
    space = group(graph, SCHEME, BOTH)
    (found,) = undecided(graph, space, SCHEME, BOTH)
    assert reason in found.reason


def test_a_layer_with_a_choice_is_not_listed_as_undecided() -> None:
    graph = view(built(lambda b, x: b.op("Conv", x, b.weight(4, 8, 3, 3))))
    assert undecided(graph, group(graph, SCHEME, BOTH), SCHEME, BOTH) == ()
    alone = frozenset({Precision.FP32})
    (found,) = undecided(graph, group(graph, SCHEME, alone), SCHEME, alone)
    assert found.reason == "no lower precision is offered"


def test_layers_inside_of_branches_and_loops_are_counted() -> None:
    b = GraphBuilder()
    x, weight, flag = b.input(["n", 6]), b.weight(6, 6), b.input([], TensorProto.BOOL)
    info = helper.make_tensor_value_info

    def branch(name: str, count: int) -> onnx.GraphProto:
        chain = [x, *(f"{name}{i}" for i in range(count))]
        nodes = [helper.make_node("MatMul", [a, weight], [c]) for a, c in pairwise(chain)]
        return helper.make_graph(nodes, name, [], [info(chain[-1], TensorProto.FLOAT, None)])

    y = b.op("If", flag, then_branch=branch("a", 2), else_branch=branch("b", 1))
    b.output(b.op("MatMul", y, weight))
    (found,) = hidden_layers(view(b.model()))
    assert (found.op_type, found.count, found.layers) == ("If", 3, (("MatMul", 3),))
    assert hidden_layers(view(built(lambda b, x: b.op("Conv", x, b.weight(4, 8, 3, 3))))) == ()


# Work.


def open_net() -> onnx.ModelProto:
    """Conv over open sizes, then a product over the flattened rest."""
    b = GraphBuilder()
    x = b.op("Conv", b.input(["n", 3, "h", "w"], name="x"), b.weight(8, 3, 3, 3), pads=[1, 1, 1, 1])
    flat = b.op("Reshape", x, b.op("Concat", b.op("Slice", b.op("Shape", x), b.ints(0), b.ints(2)),
                                   b.ints(-1), axis=0))  # fmt: skip
    turned = b.op("Transpose", flat, perm=[0, 2, 1])
    b.output(b.op("MatMul", turned, b.weight(8, 5)))
    model = b.model()
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_param = "n"
    return model


def test_open_sizes_make_a_lower_bound_and_data_makes_it_exact() -> None:
    graph = view(open_net())
    shapes, batch = one_sample(graph)
    assert (shapes, batch) == ({"x": (1, 3, None, None)}, "n")
    least = total_work(graph.nodes, sized(graph, shapes))
    assert not least.exact
    found = total_work(graph.nodes, sized(graph, {"x": (2, 3, 10, 20)}))
    assert found == Work(2 * 200 * (8 * 27 + 8 * 5), exact=True)
    assert least.macs <= found.per(2).macs


def test_an_open_size_written_as_minus_one_is_open() -> None:
    """As PaddlePaddle's exporter writes the batch."""
    model = open_net()
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = -1
    graph = view(model)
    least = total_work(graph.nodes, graph)
    assert not least.exact
    assert least.macs > 0
    assert total_work(graph.nodes, sized(graph, {"x": (2, 3, 10, 20)})).exact


WORK: dict[str, tuple[Callable[[GraphBuilder, str], str], int]] = {
    "conv": (lambda b, x: b.op("Conv", x, b.weight(4, 8, 3, 3)), 4 * 16 * 72),
    "grouped": (lambda b, x: b.op("Conv", x, b.weight(8, 1, 3, 3), group=8), 8 * 16 * 9),
    "transposed": (lambda b, x: b.op("ConvTranspose", x, b.weight(8, 4, 2, 2)), 8 * 36 * 16),
    "live weight": (lambda b, x: b.op("Conv", x, b.input([4, 8, 1, 1])), 4 * 36 * 8),
    "matmul": (lambda b, x: b.op("MatMul", x, b.weight(6, 5)), 8 * 36 * 5),
    "two live": (
        lambda b, x: b.op("MatMul", x, b.op("Transpose", x, perm=[0, 1, 3, 2])),
        8 * 6 * 36,
    ),
    "gemm": (lambda b, x: b.op("Gemm", b.op("Flatten", x), b.weight(7, 288), transB=1), 288 * 7),
    "integer": (integers, 4 * 36 * 8),
    "einsum": (lambda b, x: b.op("Einsum", x, x, equation="ncij,ncij->nc"), 8 * 36),
}


@pytest.mark.parametrize("name", sorted(WORK))
def test_multiply_accumulates_are_those_of_the_definition(name: str) -> None:
    make, macs = WORK[name]
    graph = view(built(make))
    found = total_work(graph.nodes, sized(graph, {"in0": (1, 8, 6, 6)}))
    assert found == Work(macs, exact=True)
