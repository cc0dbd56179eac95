from collections.abc import Callable

import pytest
from onnx import TensorProto

from precsearch.core.precision import Precision
from precsearch.core.space import LayerGroup
from precsearch.grouping.group import group
from tests.graph.small_graphs import (
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

EVERY = frozenset({Precision.FP32, Precision.FP16, Precision.INT8})
NO_HALF = frozenset({Precision.FP32, Precision.INT8})


def groups_of(b: GraphBuilder, *outputs: str) -> list[tuple[str, list[str]]]:
    """Kind and operators of every group where FP16 is not offered."""
    return [(g.kind, ops) for g, ops in with_ops(b, *outputs, precisions=NO_HALF)]


def with_ops(
    b: GraphBuilder, *outputs: str, precisions: frozenset[Precision] = EVERY
) -> list[tuple[LayerGroup, list[str]]]:
    for tensor in outputs:
        b.output(tensor)
    graph = view(b.model())
    space = group(graph, SCHEME, precisions)
    return [(g, [graph.by_key[k].op_type for k in g.nodes]) for g in space.groups]


@pytest.mark.parametrize("opset", [17, 18])
@pytest.mark.parametrize("form", NORM_FORMS)
def test_a_layer_norm_is_one_group_in_every_form(form: str, opset: int) -> None:
    b = GraphBuilder(opset)
    x = linear(b, b.input(["n", 6, 16]), 16, 16)
    y = linear(b, layer_norm(b, x, 16, form), 16, 16)
    assert [k for k, _ in groups_of(b, y)] == ["matmul", "layernorm", "matmul"]


def test_an_rms_norm_is_one_group() -> None:
    b = GraphBuilder()
    x = linear(b, b.input(["n", 6, 16]), 16, 16)
    assert groups_of(b, rms_norm(b, x, 16))[1:] == [
        ("rmsnorm", ["Pow", "ReduceMean", "Add", "Sqrt", "Reciprocal", "Mul", "Mul"])
    ]


STATISTICS = {"Pow", "Mul", "ReduceMean", "Add", "Sqrt"}


@pytest.mark.parametrize("form", NORM_FORMS)
def test_where_fp16_is_offered_the_statistics_of_a_norm_are_decided_apart(form: str) -> None:
    b = GraphBuilder()
    x = linear(b, b.input(["n", 6, 16]), 16, 16)
    y = linear(b, layer_norm(b, x, 16, form), 16, 16)
    _, mean, statistics, rest, _ = with_ops(b, y)
    names = [g.kind for g, _ in (mean, statistics, rest)]
    assert names == ["layernorm-mean", "layernorm-statistics", "layernorm"]
    assert set(mean[1]) == {"ReduceMean", "Sub"}
    assert len(statistics[1]) == 4
    assert set(statistics[1]) <= STATISTICS
    assert "Sqrt" in statistics[1] or statistics[1].count("Pow") == 2
    for found, _ in (mean, statistics, rest):
        assert found.choices == (Precision.FP32, Precision.FP16)


def test_the_statistics_of_an_rms_norm_are_decided_apart() -> None:
    b = GraphBuilder()
    x = linear(b, b.input(["n", 6, 16]), 16, 16)
    found = [(g.kind, ops) for g, ops in with_ops(b, rms_norm(b, x, 16))]
    assert found[1:] == [
        ("rmsnorm-statistics", ["Pow", "ReduceMean", "Add", "Sqrt"]),
        ("rmsnorm", ["Reciprocal", "Mul", "Mul"]),
    ]


@pytest.mark.parametrize("granularity", ["node", "group", "block"])
def test_other_granularities_do_not_split_norms(granularity: str) -> None:
    b = GraphBuilder()
    b.output(layer_norm(b, linear(b, b.input(["n", 6, 16]), 16, 16), 16))
    kinds = {g.kind for g in group(view(b.model()), SCHEME, EVERY, granularity).groups}
    assert ("layernorm-statistics" in kinds) == (granularity == "group")


def test_a_norm_ends_at_its_gamma_and_beta() -> None:
    b = GraphBuilder()
    x = b.input(["n", 6, 16])
    normal = layer_norm(b, x, 16)
    y = b.op("Mul", normal, b.const(400.0))
    z = b.op("Add", x, normal)
    kinds = [k for k, _ in groups_of(b, y, z)]
    assert sorted(kinds) == ["add", "layernorm", "node"]


@pytest.mark.parametrize("form", GELU_FORMS)
def test_a_gelu_is_one_group_in_every_form(form: str) -> None:
    b = GraphBuilder()
    x = linear(b, b.input(["n", 16]), 16, 16)
    y = linear(b, GELU_FORMS[form](b, x), 16, 16)
    assert [k for k, _ in groups_of(b, y)] == ["matmul", "gelu", "matmul"]


def test_an_erf_that_gates_something_else_is_not_a_gelu() -> None:
    b = GraphBuilder()
    x, other = b.input(["n", 16]), b.input(["n", 16])
    curve = b.op("Add", b.op("Erf", x), b.const(1.0))
    assert {k for k, _ in groups_of(b, b.op("Mul", other, curve))} == {"node"}


def test_silu_and_quick_gelu() -> None:
    b = GraphBuilder()
    x = b.input(["n", 16])
    y = silu(b, x)
    gate = b.op("Sigmoid", b.op("Mul", y, b.const(1.702)))
    found = with_ops(b, b.op("Mul", y, gate))
    assert [(g.kind, ops) for g, ops in found] == [
        ("silu", ["Sigmoid", "Mul"]),
        ("gelu", ["Mul", "Sigmoid", "Mul"]),
    ]
    # Both nodes of SiLU keep their tensors quantized; a constant factor has no such form.
    assert [(g.passive, Precision.INT8 in g.choices) for g, _ in found] == [
        (True, True),
        (False, False),
    ]


@pytest.mark.parametrize("mask", ["", "add", "where"])
@pytest.mark.parametrize("scale", ["after", "before", "split"])
def test_an_attention_core_is_one_group(scale: str, mask: str) -> None:
    b = GraphBuilder()
    x = b.input(["n", 6, 16])
    q, k, v = (heads(b, linear(b, x, 16, 16), 2, 8) for _ in range(3))
    given = ""
    if mask == "add":
        given = b.input(["n", 1, 1, 6])
    elif mask == "where":
        given = "where:" + b.input(["n", 1, 1, 6], TensorProto.BOOL)
    y = attention(b, q, k, v, 8, scale, given)
    found = with_ops(b, b.op("Transpose", y, perm=[0, 2, 1, 3]))
    assert [g.kind for g, _ in found] == ["matmul"] * 3 + ["attention"]
    core, ops = found[-1]
    assert ops.count("MatMul") == 2
    assert ops[-1] == "Transpose"
    assert ("Mul" in ops) == (scale != "after")
    assert ("Div" in ops) == (scale == "after")
    assert ("Where" in ops, "Add" in ops) == (mask == "where", mask == "add")
    assert core.choices == (Precision.FP32, Precision.FP16, Precision.INT8)
    assert not core.passive


def test_scores_may_be_reshaped_around_their_mask() -> None:
    b = GraphBuilder()
    q, k, v = (b.input(["n", 2, 6, 8]) for _ in range(3))
    scores = b.op("MatMul", q, b.op("Transpose", k, perm=[0, 1, 3, 2]))
    apart = b.op("Reshape", b.op("Add", scores, b.weight(1, 2, 6, 6)), b.ints(-1, 1, 2, 6, 6))
    joined = b.op("Reshape", b.op("Add", apart, b.weight(1, 1, 1, 6, 6)), b.ints(-1, 2, 6, 6))
    y = b.op("MatMul", b.op("Softmax", joined, axis=-1), v)
    assert ("attention", 7) in [(k, len(ops)) for k, ops in groups_of(b, y)]


def test_a_softmax_guarded_against_nan_stays_in_the_core() -> None:
    b = GraphBuilder()
    q, k, v = (b.input(["n", 2, 6, 6]) for _ in range(3))
    soft = b.op("Softmax", b.op("MatMul", q, k), axis=-1)
    safe = b.op("Where", b.op("IsNaN", soft), b.const(0.0), soft)
    found = groups_of(b, b.op("MatMul", safe, v))
    assert found == [("attention", ["MatMul", "Softmax", "IsNaN", "Where", "MatMul"])]


def test_a_classifier_softmax_is_not_attention() -> None:
    b = GraphBuilder()
    y = b.op("Softmax", linear(b, b.input(["n", 16]), 16, 16), axis=-1)
    assert groups_of(b, linear(b, y, 16, 4))[1] == ("node", ["Softmax"])


def test_batch_norm_that_was_not_folded_stays_with_its_conv() -> None:
    b = GraphBuilder()
    x = b.input([1, 4, 8, 8])
    x = b.op("ConvTranspose", x, b.weight(4, 6, 3, 3))
    assert groups_of(b, b.op("Relu", batch_norm(b, x, 6))) == [
        ("conv", ["ConvTranspose", "BatchNormalization", "Relu"])
    ]


def test_constants_per_channel_stay_with_a_conv_and_others_do_not() -> None:
    b = GraphBuilder()
    x = conv(b, b.input([1, 3, 8, 8]), 3, 4)
    x = b.op("Mul", x, b.weight(4, 1, 1))
    x = b.op("Add", x, b.weight(1, 4, 1, 1))
    x = b.op("Add", x, b.weight(1, 1, 8, 8))
    assert groups_of(b, b.op("Relu", x)) == [
        ("conv", ["Conv", "Mul", "Add"]),
        ("node", ["Add"]),
        ("node", ["Relu"]),
    ]


BIASES: dict[str, tuple[Callable[[GraphBuilder], str], bool]] = {
    "vector": (lambda b: b.weight(4), True),
    "last dimension": (lambda b: b.weight(1, 1, 4), True),
    "scalar": (lambda b: b.const(1.0), True),
    "matrix": (lambda b: b.weight(6, 4), False),
    "activation": (lambda b: b.input(["n", 6, 4]), False),
}


@pytest.mark.parametrize("bias", BIASES)
def test_the_bias_of_a_product_is_recognized(bias: str) -> None:
    make, joins = BIASES[bias]
    b = GraphBuilder()
    product = b.op("MatMul", b.input(["n", 6, 8]), b.weight(8, 4))
    found = groups_of(b, b.op("Relu", b.op("Add", make(b), product)))
    assert (found[0] == ("matmul", ["MatMul", "Add", "Relu"])) == joins


def test_names_do_not_matter() -> None:
    """Every builder names tensors t0, t1 …; another count changes all names and no group."""
    shifted, plain = GraphBuilder(), GraphBuilder()
    shifted.count = 1000
    found = []
    for b in (plain, shifted):
        x = linear(b, b.input(["n", 6, 16]), 16, 16)
        y = layer_norm(b, GELU_FORMS["erf, half last"](b, x), 16)
        found.append([(g.kind, ops, g.signature) for g, ops in with_ops(b, y)])
    assert found[0] == found[1]
