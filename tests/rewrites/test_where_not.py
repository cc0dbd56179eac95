"""Models that only resemble what a rewrite is for stay unchanged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from precsearch.graph.prepare import prepare
from precsearch.rewrites import fused_norms, merged_scales, norm_exponents, rewritten
from tests.diagnosis.sick_models import SHAPE, WIDTH, Maker
from tests.rewrites.test_rewrites import graph_of, run, source_of

Edit = Callable[[Maker, dict[str, onnx.NodeProto]], None]


def edited(edit: Edit) -> Maker:
    """A LayerNorm of which something is changed."""
    m = Maker()
    m.norm("n", "x")
    edit(m, {n.name: n for n in m.nodes})
    return m


def mean_of_another(m: Maker, nodes: dict[str, onnx.NodeProto]) -> None:
    other = helper.make_node("Tanh", ["x"], ["other"], "other")
    m.nodes.insert(0, other)
    nodes["n/mean"].input[0] = "other"


def two_variances(m: Maker, nodes: dict[str, onnx.NodeProto]) -> None:
    nodes["n/eps"].input[1] = "n/variance"


def no_mean_of_squares(m: Maker, nodes: dict[str, onnx.NodeProto]) -> None:
    nodes["n/variance"].op_type = "ReduceMax"


def square_of_another(m: Maker, nodes: dict[str, onnx.NodeProto]) -> None:
    nodes["n/pow"].input[0] = "x"


def product_with_another(m: Maker, nodes: dict[str, onnx.NodeProto]) -> None:
    nodes["n/pow"].op_type = "Mul"
    nodes["n/pow"].input[:] = ["n/sub", "x"]


def no_root(m: Maker, nodes: dict[str, onnx.NodeProto]) -> None:
    nodes["n/sqrt"].op_type = "Exp"


def over_two_axes(m: Maker, nodes: dict[str, onnx.NodeProto]) -> None:
    for name in ("n/mean", "n/variance"):
        nodes[name].attribute[0].ints[:] = [1, 2]


@pytest.mark.parametrize(
    "edit",
    [
        mean_of_another,
        two_variances,
        no_mean_of_squares,
        square_of_another,
        product_with_another,
        no_root,
        over_two_axes,
    ],
)
def test_similar_graphs_are_not_rewritten_as_norms(edit: Edit, tmp_path: Path) -> None:
    graph = graph_of(edited(edit), "n", tmp_path)
    assert fused_norms(graph) is None
    assert norm_exponents(graph, {"n/sub": 1e5}) == {}


def test_a_norm_of_a_product_and_an_epsilon_on_the_left_is_one(tmp_path: Path) -> None:
    def edit(m: Maker, nodes: dict[str, onnx.NodeProto]) -> None:
        nodes["n/pow"].op_type = "Mul"
        nodes["n/pow"].input[:] = ["n/sub", "n/sub"]
        nodes["n/eps"].input[:] = [nodes["n/eps"].input[1], nodes["n/eps"].input[0]]

    m = edited(edit)
    graph = graph_of(m, "n", tmp_path)
    named = fused_norms(graph)
    assert named is not None
    wanted = run(m.model("n").SerializeToString())
    np.testing.assert_allclose(run(rewritten(graph, named.rewrite)), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("axis", "found"), [(-1, True), (2, True), (1, False)])
def test_axes_that_are_an_input_are_read(axis: int, found: bool, tmp_path: Path) -> None:
    """As they are from operator set 18 on."""

    def edit(m: Maker, nodes: dict[str, onnx.NodeProto]) -> None:
        m.weights.append(numpy_helper.from_array(np.array([axis], np.int64), "axes"))
        for name in ("n/mean", "n/variance"):
            del nodes[name].attribute[0]
            nodes[name].input.append("axes")

    assert (fused_norms(graph_of(edited(edit), "n", tmp_path, 18)) is not None) == found


@pytest.mark.parametrize("after", ["nothing", "scale", "scale of another shape"])
def test_a_norm_is_fused_with_as_much_of_gamma_and_beta_as_there_is(
    after: str, tmp_path: Path
) -> None:
    def edit(m: Maker, nodes: dict[str, onnx.NodeProto]) -> None:
        m.nodes[:] = [n for n in m.nodes if n.name not in ("n/gamma", "n")]
        if after == "nothing":
            m.node("Tanh", "n", "n/div")
        elif after == "scale":
            m.node("Tanh", "n", m.node("Mul", "g", "n/div", m.weight(np.linspace(1, 2, WIDTH))))
        else:
            m.node("Mul", "n", "n/div", m.weight(np.linspace(1, 2, 6).reshape(6, 1)))

    m = edited(edit)
    graph = graph_of(m, "n", tmp_path)
    named = fused_norms(graph)
    assert named is not None
    made = rewritten(graph, named.rewrite)
    kinds = [n.op_type for n in onnx.ModelProto.FromString(made).graph.node]
    assert (
        kinds
        == {
            "nothing": ["LayerNormalization", "Tanh"],
            "scale": ["LayerNormalization", "Tanh"],
            "scale of another shape": ["LayerNormalization", "Mul"],
        }[after]
    )
    wanted = run(m.model("n").SerializeToString())
    np.testing.assert_allclose(run(made), wanted, rtol=1e-5, atol=1e-5)


def test_a_norm_of_unknown_width_is_left(tmp_path: Path) -> None:
    """LayerNormalization needs a scale, and without a gamma nothing tells how long."""
    m = Maker()
    m.norm("n", "x")
    m.nodes[:] = [n for n in m.nodes if n.name not in ("n/gamma", "n")]
    model = m.model("n/div")
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[2].dim_param = "width"
    assert fused_norms(prepare(source_of(model, tmp_path))) is None


def test_before_operator_set_17_there_is_nothing_to_fuse_into(tmp_path: Path) -> None:
    m = Maker()
    m.norm("n", "x")
    assert fused_norms(graph_of(m, "n", tmp_path, 13)) is None
    m = Maker()
    m.norm("n", "x")
    assert fused_norms(graph_of(m, "n", tmp_path, 17)) is not None


def test_two_scales_that_are_one_node_are_not_merged(tmp_path: Path) -> None:
    """(s x)(s x): without the Mul, nothing would write what the product reads."""
    m = Maker()
    square = m.node("MatMul", "xx", m.node("Transpose", "xt", "x", perm=[0, 2, 1]), "x")
    scaled = m.node("Mul", "scaled", square, m.weight(0.01))
    m.node("MatMul", "out", "x", m.node("MatMul", "twice", scaled, scaled))
    graph = graph_of(m, "out", tmp_path)
    assert merged_scales(graph) is None


def test_a_rewrite_keeps_what_only_a_branch_reads(tmp_path: Path) -> None:
    m = Maker()
    normed = m.norm("n", m.node("Tanh", "kept", "x"))
    bodies = {
        name: helper.make_graph(
            [helper.make_node(op_type, ["kept"], [name])],
            name,
            [],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, SHAPE)],
        )
        for name, op_type in (("then_branch", "Neg"), ("else_branch", "Abs"))
    }
    flag = m.node("Greater", "flag", m.node("ReduceMax", "top", normed, keepdims=0), m.weight(0.0))
    m.node("If", "out", flag, **bodies)
    graph = graph_of(m, "out", tmp_path)
    named = fused_norms(graph)
    assert named is not None
    made = rewritten(graph, named.rewrite)
    np.testing.assert_allclose(run(made), run(m.model("out").SerializeToString()), atol=1e-6)
