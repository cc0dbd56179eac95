"""Local functions: their bodies stand in the graph, and the model computes what it did."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from precsearch.core.errors import ModelError
from precsearch.graph.folding.inlining import inlined
from tests.graph.plain_runs import is_free, lowered, operators, ran
from tests.graph.small_layers import GraphBuilder, view

D = "my.modules"
node = helper.make_node
FEED = {"in0": np.random.default_rng(0).normal(0, 1, (3, 6)).astype(np.float32)}


def function(
    name: str,
    inputs: Sequence[str],
    outputs: Sequence[str],
    body: Sequence[onnx.NodeProto],
    opset: int = 17,
    **more: Any,
) -> onnx.FunctionProto:
    imports = [helper.make_opsetid("", opset), helper.make_opsetid(D, 1)]
    return helper.make_function(D, name, inputs, outputs, body, imports, **more)


def check(b: GraphBuilder, *functions: onnx.FunctionProto) -> list[str]:
    """Whether the inlined model gives the bits of the model; its operators."""
    model = b.model()
    model.ir_version = 10
    model.functions.extend(functions)
    graph = view(model)
    (mine,), (wanted,) = ran(lowered(graph), FEED), ran(model.SerializeToString(), FEED)
    np.testing.assert_array_equal(mine, wanted)
    return operators(graph)


def block(b: GraphBuilder, x: str, name: str = "Block", **attributes: Any) -> str:
    return b.op(name, x, b.weight(6, 6), domain=D, **attributes)


BODY = [node("MatMul", ["x", "w"], ["p"]), node("LeakyRelu", ["p"], ["y"])]


def attribute(name: str, refers_to: str, kind: int = onnx.AttributeProto.FLOAT) -> Any:
    return onnx.AttributeProto(name=name, ref_attr_name=refers_to, type=kind)  # type: ignore[arg-type]


def sloped() -> list[onnx.NodeProto]:
    body = [node("MatMul", ["x", "w"], ["p"]), node("LeakyRelu", ["p"], ["y"])]
    body[1].attribute.append(attribute("alpha", "slope"))
    return body


def test_a_function_that_is_called_twice_is_two_layers_with_names_of_their_own() -> None:
    b = GraphBuilder()
    b.output(block(b, block(b, b.input(["n", 6]))))
    made = check(b, function("Block", ["x", "w"], ["y"], BODY))
    assert made == ["MatMul", "LeakyRelu", "MatMul", "LeakyRelu"]
    model = b.model()
    model.functions.append(function("Block", ["x", "w"], ["y"], BODY))
    graph = view(model)
    assert [n.key for n in graph.nodes] == ["t0/p", "t0", "t1/p", "t1"]
    assert not graph.functions
    assert is_free(graph, "MatMul")


def test_attributes_are_those_of_the_call_or_the_function_s_own() -> None:
    b = GraphBuilder()
    x = block(b, b.input(["n", 6]), slope=0.5)
    b.output(block(b, x))
    own = [helper.make_attribute("slope", 0.125)]
    check(b, function("Block", ["x", "w"], ["y"], sloped(), attribute_protos=own))
    model = b.model()
    model.functions.append(function("Block", ["x", "w"], ["y"], sloped(), attribute_protos=own))
    slopes = [n.attributes["alpha"] for n in view(model).nodes if n.op_type == "LeakyRelu"]
    assert slopes == [0.5, 0.125]


def test_functions_inside_of_functions_are_inlined_too() -> None:
    b = GraphBuilder()
    b.output(block(b, b.input(["n", 6]), "Outer"))
    inner = node("Block", ["x", "w"], ["h"], domain=D)
    outer = [inner, node("Block", ["h", "w"], ["y"], domain=D)]
    made = check(
        b, function("Outer", ["x", "w"], ["y"], outer), function("Block", ["x", "w"], ["y"], BODY)
    )
    assert made == ["MatMul", "LeakyRelu"] * 2


def test_overloads_are_distinguished() -> None:
    b = GraphBuilder()
    x = block(b, b.input(["n", 6]))
    b.output(block(b, x))
    b.nodes[1].overload = "relu"
    other = function("Block", ["x", "w"], ["y"], [BODY[0], node("Relu", ["p"], ["y"])])
    other.overload = "relu"
    made = check(b, function("Block", ["x", "w"], ["y"], BODY), other)
    assert made == ["MatMul", "LeakyRelu", "MatMul", "Relu"]


def prepared_run(b: GraphBuilder, *functions: onnx.FunctionProto) -> tuple[list[str], np.ndarray]:
    """For what ONNX Runtime refuses in functions: operators and output of the inlined model."""
    model = b.model()
    model.functions.extend(functions)
    graph = view(model)
    return operators(graph), ran(lowered(graph), FEED)[0]


def test_absent_inputs_and_outputs_stay_absent() -> None:
    b = GraphBuilder()
    b.output(b.op("Clamped", b.input(["n", 6]), b.const(-0.5), domain=D))
    body = [node("Clip", ["x", "low", "high"], ["y"]), node("Neg", ["y"], ["z"])]
    made, found = prepared_run(b, function("Clamped", ["x", "low", "high"], ["y", "z"], body))
    assert made == ["Clip"]
    np.testing.assert_array_equal(found, np.maximum(FEED["in0"], np.float32(-0.5)))


def test_an_input_that_is_passed_through_comes_out() -> None:
    b = GraphBuilder()
    first, second = b.ops("Both", b.input(["n", 6]), count=2, domain=D)
    b.output(b.op("Add", first, second))
    made, found = prepared_run(b, function("Both", ["x"], ["x", "y"], [node("Neg", ["x"], ["y"])]))
    assert sorted(made) == ["Add", "Identity", "Neg"]
    assert not found.any()


def test_a_subgraph_of_a_body_reads_the_body_s_own_tensors() -> None:
    b = GraphBuilder()
    x, flag = b.input(["n", 6]), b.const(True, np.bool_)
    x = b.op("Choice", x, flag, domain=D)
    b.output(b.op("Choice", x, flag, domain=D))
    info = helper.make_tensor_value_info("p", TensorProto.FLOAT, None)
    branches = {
        f"{name}_branch": helper.make_graph([node(op, ["h"], ["p"])], name, [], [info])
        for name, op in (("then", "Relu"), ("else", "Neg"))
    }
    body = [node("Abs", ["x"], ["h"]), node("If", ["f"], ["y"], **branches)]
    made = check(b, function("Choice", ["x", "f"], ["y"], body))
    assert made == ["Abs", "If", "Abs", "If"]


def test_a_call_inside_of_a_branch_is_inlined_there() -> None:
    b = GraphBuilder()
    x, weight, flag = b.input(["n", 6]), b.weight(6, 6), b.const(False, np.bool_)
    info = helper.make_tensor_value_info
    graphs = [
        helper.make_graph([n], n.op_type, [], [info(n.output[0], TensorProto.FLOAT, None)])
        for n in (node("Block", [x, weight], ["q"], domain=D), node("Relu", [x], ["r"]))
    ]
    b.domains.append(D)
    b.output(b.op("If", flag, then_branch=graphs[1], else_branch=graphs[0]))
    made = check(b, function("Block", ["x", "w"], ["y"], BODY))
    assert made == ["If"]
    model = b.model()
    model.functions.append(function("Block", ["x", "w"], ["y"], BODY))
    assert not inlined(model).functions


@pytest.mark.parametrize(("opset", "left"), [(16, False), (18, False), (12, True)])
def test_a_body_of_another_operator_set_is_inlined_where_it_means_the_same(
    opset: int, left: bool
) -> None:
    b = GraphBuilder()
    b.output(block(b, b.input(["n", 6])))
    body = [node("MatMul", ["x", "w"], ["p"]), node("Relu", ["p"], ["r"])]
    body.append(
        node("ReduceSum", ["r"], ["y"], keepdims=0) if opset == 12 else node("Abs", ["r"], ["y"])
    )
    made = check(b, function("Block", ["x", "w"], ["y"], body, opset))
    assert ("Block" in made) == left


def test_a_function_that_calls_itself_is_refused() -> None:
    b = GraphBuilder()
    b.output(block(b, b.input(["n", 6])))
    model = b.model()
    body = [node("Block", ["x", "w"], ["y"], domain=D)]
    model.functions.append(function("Block", ["x", "w"], ["y"], body))
    with pytest.raises(ModelError, match="'Block' of the model calls itself"):
        inlined(model)


def test_functions_that_double_over_and_over_are_refused_at_once() -> None:
    b = GraphBuilder()
    b.output(b.op("F30", b.input(["n", 6]), domain=D))
    model = b.model()
    for i in range(31):
        inner = (f"F{i - 1}", D) if i else ("Relu", "")
        body = [node(inner[0], ["x"], ["h"], domain=inner[1])]
        body.append(node(inner[0], ["h"], ["y"], domain=inner[1]))
        model.functions.append(function(f"F{i}", ["x"], ["y"], body))
    with pytest.raises(ModelError, match="over 1,000,000 nodes"):
        inlined(model)


def test_too_many_inputs_are_refused() -> None:
    b = GraphBuilder()
    x = b.input(["n", 6])
    b.output(b.op("Block", x, x, x, domain=D))
    model = b.model()
    model.functions.append(function("Block", ["x", "w"], ["y"], BODY))
    with pytest.raises(ModelError, match="more inputs or outputs than it has"):
        inlined(model)


def test_names_inside_avoid_those_of_the_model() -> None:
    b = GraphBuilder()
    x = b.input(["n", 6])
    b.output(block(b, x))
    b.nodes.append(node("Relu", [x], ["t0/p"]))
    b.output("t0/p")
    model = b.model()
    model.functions.append(function("Block", ["x", "w"], ["y"], BODY))
    names = [n.key for n in view(model).nodes]
    assert len(set(names)) == 3
    assert "t0/p_2" in names
