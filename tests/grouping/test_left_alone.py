"""Rare things in models: what must be read as it is meant, and what no rewrite may touch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from precsearch.core.errors import ModelError
from precsearch.core.precision import Precision
from precsearch.core.space import Assignment
from precsearch.graph.prepare import prepare
from precsearch.graph.reading.read import read_model
from precsearch.graph.residual import residual
from precsearch.graph.view import GraphView
from precsearch.grouping.group import group
from precsearch.lowering.lower import Lowering
from precsearch.lowering.qdq.scales import RangeScales
from tests.graph.small_graphs import SCHEME, GraphBuilder, conv, linear, view


def kinds(model: onnx.ModelProto) -> list[str]:
    return [n.op_type for n in view(model).nodes]


@pytest.mark.parametrize("case", ["folded", "training", "live weight", "live bias", "statistics"])
def test_a_batch_norm_is_folded_only_where_all_of_it_is_constant(case: str) -> None:
    b = GraphBuilder()
    x = b.input([2, 3, 8, 8])
    weight, bias = b.weight(4, 3, 3, 3), b.weight(4)
    if case == "live weight":
        weight = b.op("Mul", weight, b.op("ReduceMean", x, keepdims=0))
    if case == "live bias":
        bias = b.op("Mul", bias, b.op("ReduceMean", x, keepdims=0))
    y = b.op("Conv", x, weight, bias)
    given = [y, *(b.weight(4) for _ in range(3)), b.const(np.ones(4))]
    if case in ("training", "statistics"):
        y, mean, _ = b.ops("BatchNormalization", *given, count=3, training_mode=1)
        if case == "statistics":
            b.output(mean)
    else:
        y = b.op("BatchNormalization", *given)
    b.output(y)
    assert ("BatchNormalization" in kinds(b.model())) == (case != "folded")


def test_a_sparse_weight_has_the_values_that_onnx_defines(tmp_path: Path) -> None:
    """Indices may be a flat place or one coordinate a dimension each."""
    dense = np.zeros((3, 4), np.float32)
    dense[0, 1], dense[2, 3] = 5.0, -2.0
    values = numpy_helper.from_array(np.array([5.0, -2.0], np.float32), "w")
    for indices in (np.array([1, 11]), np.array([[0, 1], [2, 3]])):
        places = numpy_helper.from_array(indices.astype(np.int64), "places")
        graph = helper.make_graph(
            [helper.make_node("MatMul", ["x", "w"], ["y"])],
            "sparse",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 4])],
            sparse_initializer=[helper.make_sparse_tensor(values, places, [3, 4])],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
        model.ir_version = 8
        onnx.save(model, tmp_path / "m.onnx")
        prepared = prepare(read_model(tmp_path / "m.onnx"))
        (weight,) = prepared.weights.values()
        np.testing.assert_array_equal(np.asarray(weight.array), dense)


def outside() -> onnx.TensorProto:
    """A weight in a file that is not there."""
    tensor = numpy_helper.from_array(np.zeros(4, np.float32), "far")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="nowhere.bin")
    return tensor


@pytest.mark.parametrize("where", ["main", "training", "algorithm", "branches", "function"])
def test_external_weights_are_found_wherever_a_model_may_hold_them(
    where: str, tmp_path: Path
) -> None:
    b = GraphBuilder()
    x = b.input(["n", 8])
    inner = helper.make_graph([], "inner", [], [], [outside()])
    if where == "branches":
        x = b.op("Switch", x, domain="com.example", bodies=[inner])
    b.output(linear(b, x, 8, 4))
    model = b.model()
    if where == "main":
        model.graph.initializer.append(outside())
    elif where in ("training", "algorithm"):
        info = model.training_info.add()
        (info.initialization if where == "training" else info.algorithm).CopyFrom(inner)
    elif where == "function":
        node = helper.make_node("Constant", [], ["c"], value=outside())
        model.functions.append(helper.make_function("f", "F", [], ["c"], [node], []))
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(ModelError, match=r"nowhere\.bin"):
        read_model(tmp_path / "m.onnx")


def sums(graph: GraphView) -> list[Any]:
    return [residual(n, graph) for n in graph.nodes if n.is_op("Add")]


def test_an_addition_of_a_constant_or_of_inputs_is_not_a_residual() -> None:
    b = GraphBuilder()
    x, z = b.input([1, 4, 8, 8]), b.input([1, 4, 8, 8])
    y = conv(b, x, 4, 4)
    b.output(b.op("Add", y, b.weight(1, 4, 1, 1)))
    b.output(b.op("Add", x, z))
    b.output(b.op("Add", x, conv(b, x, 4, 4)))
    constant, inputs, real = sums(view(b.model()))
    assert constant is None
    assert inputs is None
    assert (real.branch, real.shortcut, real.op_type) == (1, 0, "Conv")


@pytest.mark.parametrize("live", [True, False])
def test_a_clip_with_a_computed_limit_is_not_part_of_a_layer(live: bool) -> None:
    b = GraphBuilder()
    x = b.input([1, 3, 8, 8])
    top = b.op("ReduceMax", x, keepdims=0) if live else b.const(6.0)
    b.output(b.op("Clip", conv(b, x, 3, 8), b.const(0.0), top))
    graph = view(b.model())
    found = group(graph, SCHEME, frozenset({Precision.FP32, Precision.INT8}))
    together = [[graph.by_key[k].op_type for k in g.nodes] for g in found.groups]
    assert (["Conv", "Clip"] in together) == (not live)


def test_constants_that_are_outputs_stay_unchanged() -> None:
    b = GraphBuilder()
    x = b.input(["n", 8])
    b.output(linear(b, x, 8, 4))
    b.output(b.const([3, 5], np.int64), TensorProto.INT64)
    b.output(b.const([0.1, 7e4]))
    graph = view(b.model())
    space = group(graph, SCHEME, frozenset(Precision))
    lowering = Lowering(graph, space, SCHEME, RangeScales({}, SCHEME))
    half = Assignment.of(dict.fromkeys((g.key for g in space.free), Precision.FP16))
    for assignment in (Assignment(), half):
        session = ort.InferenceSession(lowering.lower(assignment).model)
        found = session.run(None, {"in0": np.ones((2, 8), np.float32)})
        assert found[1].tolist() == [3, 5]
        np.testing.assert_array_equal(found[2], np.array([0.1, 7e4], np.float32))
