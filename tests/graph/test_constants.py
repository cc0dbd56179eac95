"""Nodes of constants become initializers: the same numbers, and no larger model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper

from precsearch.graph.folding.constants import FOLDED
from precsearch.graph.prepare import prepare
from precsearch.graph.reading.read import read_model
from tests.graph.plain_runs import lowered, operators, ran
from tests.graph.small_layers import GraphBuilder, view

# Arithmetic and layout, one at a time.

_F = [[1.5, -2.0, 0.0], [0.25, 3.0, -7.5]]
CALLS: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "Add": ([_F, [1, 2, 3.5]], {}),
    "Sub": ([_F, [[2], [0.3]]], {}),
    "Mul": ([_F, 0.1], {}),
    "Div": ([_F, [3, 7, 0.7]], {}),
    "Max": ([_F, 0.5], {}),
    "Min": ([_F, 0.5, [-1, 2, 3]], {}),
    "Sum": ([_F, _F, [0.1, 0.2, 0.3]], {}),
    "Sqrt": ([[2.0, 3.0, 0.1]], {}),
    "Reciprocal": ([[2.0, 3.0, 0.1]], {}),
    "Abs": ([_F], {}),
    "Neg": ([_F], {}),
    "Floor": ([_F], {}),
    "Ceil": ([_F], {}),
    "Pow": ([_F, 2.0], {}),
    "Transpose": ([_F], {}),
    "Identity": ([_F], {}),
    "Flatten": ([np.zeros((2, 3, 4))], {"axis": 2}),
    "Concat": ([_F, _F], {"axis": -1}),
    "Reshape": ([_F, np.array([0, -1, 1])], {}),
    "Squeeze": ([[_F], np.array([0])], {}),
    "Unsqueeze": ([_F, np.array([0, -1])], {}),
    "Slice": (
        [np.arange(24.0).reshape(4, 6), *map(np.array, ([3, -1], [-9, 0], [0, 1], [-2, -3]))],
        {},
    ),
    "Gather": ([_F, np.array([[2, -1], [0, 1]])], {"axis": 1}),
    "Expand": ([[[1.0], [2.0]], np.array([1, 3])], {}),
    "Tile": ([_F, np.array([2, 1])], {}),
    "Pad": ([_F, np.array([1, 0, 0, 2]), np.float32(9)], {}),
    "Trilu": ([np.arange(16.0).reshape(4, 4)], {"upper": 0}),
    "Where": ([np.array([True, False, True]), _F, 0.0], {}),
    "ReduceMax": ([_F], {"axes": [1], "keepdims": 0}),
    "ReduceMin": ([_F], {"axes": [0]}),
}
"""Operator → inputs and attributes; lists and floats are FP32."""


def _type_of(value: Any) -> npt.DTypeLike:
    whole = isinstance(value, np.ndarray) and value.dtype.kind in "ib"
    return value.dtype if whole else np.dtype(np.float32)


def single(op_type: str, inputs: list[Any], attributes: dict[str, Any]) -> onnx.ModelProto:
    b = GraphBuilder()
    x = b.input(["n"])
    names = [b.const(v, _type_of(v)) for v in inputs]
    made = b.op(op_type, *names, **attributes)
    scalar = b.op("ReduceSum", x, keepdims=0)
    b.output(b.op("Add", b.op("Mul", scalar, b.const(0.0)), made))
    return b.model()


@pytest.mark.parametrize("op_type", sorted(CALLS))
def test_a_node_of_constants_gives_the_bits_that_onnx_runtime_gives(op_type: str) -> None:
    model = single(op_type, *CALLS[op_type])
    graph = view(model)
    assert op_type not in operators(graph) or op_type in ("Add", "Mul")
    assert operators(graph) == ["ReduceSum", "Mul", "Add"]
    feed = {"in0": np.ones(2, np.float32)}
    (mine,), (wanted,) = ran(lowered(graph), feed), ran(model.SerializeToString(), feed)
    np.testing.assert_array_equal(mine, wanted)


SUMS = ("ReduceSum", "ReduceMean", "ReduceL2", "ReduceL1", "ReduceSumSquare")


@pytest.mark.parametrize("op_type", SUMS)
def test_sums_are_those_of_fp64_rounded_once(op_type: str) -> None:
    axes = op_type == "ReduceSum"  # an input since operator set 13, an attribute elsewhere
    values = np.random.default_rng(0).normal(0, 1, (5, 1001)).astype(np.float32)
    given: list[Any] = [values, np.array([1])] if axes else [values]
    graph = view(single(op_type, given, {} if axes else {"axes": [1]}))
    (weight,) = [w for w in graph.weights.values() if w.shape == (5, 1)]
    wide = values.astype(np.float64)
    wanted = {
        "ReduceSum": wide.sum(1),
        "ReduceMean": wide.mean(1),
        "ReduceL2": np.sqrt((wide**2).sum(1)),
        "ReduceL1": np.abs(wide).sum(1),
        "ReduceSumSquare": (wide**2).sum(1),
    }[op_type]
    found = np.asarray(weight.array, np.float32).reshape(-1)
    np.testing.assert_allclose(found, wanted, rtol=2**-23)


def test_every_operator_that_is_evaluated_is_one_of_onnx() -> None:
    assert all(onnx.defs.has(name, 21) for name in FOLDED)


# What stays.


def test_a_small_node_does_not_make_a_large_model() -> None:
    for op_type in ("ConstantOfShape", "Expand", "Tile"):
        b = GraphBuilder()
        x, size = b.input([1024, 1024]), b.ints(1024, 1024)
        first = [] if op_type == "ConstantOfShape" else [b.const(np.ones((1, 1)))]
        b.output(b.op("Add", x, b.op(op_type, *first, size)))
        graph = view(b.model())
        assert operators(graph) == [op_type, "Add"]
        assert sum(w.size for w in graph.weights.values()) < 10


def test_many_results_that_each_grow_a_little_end_at_a_bound() -> None:
    b = GraphBuilder()
    x = b.input([400, 400])
    for _ in range(150):
        x = b.op("Add", x, b.op("ConstantOfShape", b.ints(400, 400)))
    b.output(x)
    graph = view(b.model())
    assert 0 < sum(w.size for w in graph.weights.values()) <= 1 << 24
    assert "ConstantOfShape" in operators(graph)


def test_a_result_that_other_machines_may_not_share_is_not_evaluated() -> None:
    for op_type, values in (("Exp", [1.0]), ("Sqrt", [-1.0]), ("Div", [0.0])):
        b = GraphBuilder()
        x, weight = b.input(["n", 1]), b.const(values)
        both = [weight, weight] if op_type == "Div" else [weight]
        b.output(b.op("Add", x, b.op(op_type, *both)))
        assert operators(view(b.model())) == [op_type, "Add"]


@pytest.mark.parametrize("where", ["before", "before a Relu", "after", "after a Relu", "nowhere"])
def test_the_author_s_quantization_stays(where: str) -> None:
    """A weight in integers is only a way to store it where its layer's activation is FP32."""
    b = GraphBuilder()
    x, scale, zero = b.input(["n", 6]), b.const(0.05), b.const(0, np.int8)

    def both(tensor: str) -> str:
        return b.op("DequantizeLinear", b.op("QuantizeLinear", tensor, scale, zero), scale, zero)

    x = both(x) if where.startswith("before") else x
    x = b.op("Relu", x) if where == "before a Relu" else x
    stored = b.const(b.rng.integers(-100, 100, (6, 6)), np.int8)
    x = b.op("MatMul", x, b.op("DequantizeLinear", stored, scale, zero))
    x = b.op("Relu", x) if where == "after a Relu" else x
    b.output(both(x) if where.startswith("after") else x)
    graph = view(b.model())
    assert operators(graph).count("DequantizeLinear") == (0 if where == "nowhere" else 2)


def test_one_large_constant_joined_to_itself_over_and_over_is_left_alone() -> None:
    b = GraphBuilder()
    x, weight = b.input([1 << 20]), b.const(np.ones(1 << 18))
    for _ in range(2):
        weight = b.op("Concat", weight, weight, weight, weight, axis=0)
    b.output(b.op("Add", x, b.op("Slice", weight, b.ints(0), b.ints(1 << 20))))
    assert operators(view(b.model())) == ["Concat", "Concat", "Slice", "Add"]


def test_a_graph_s_output_of_constants_stays_an_output() -> None:
    b = GraphBuilder()
    x, weight = b.input(["n", 6]), b.weight(6, 6)
    turned = b.op("Transpose", weight)
    b.output(b.op("MatMul", x, turned))
    b.output(turned)
    model = b.model()
    graph = view(model)
    feed = {"in0": np.ones((2, 6), np.float32)}
    for mine, wanted in zip(
        ran(lowered(graph), feed), ran(model.SerializeToString(), feed), strict=True
    ):
        np.testing.assert_array_equal(mine, wanted)


def test_a_constant_that_only_a_subgraph_reads_is_evaluated_for_it() -> None:
    b = GraphBuilder()
    x, flag = b.input(["n", 6]), b.input([], TensorProto.BOOL)
    weight = b.op("Transpose", b.weight(6, 6))
    info = helper.make_tensor_value_info
    graphs = [
        helper.make_graph(
            [helper.make_node(op, [x, weight], [f"{op}y"])], op, [],
            [info(f"{op}y", TensorProto.FLOAT, None)],
        )
        for op in ("MatMul", "Add")
    ]  # fmt: skip
    b.output(b.op("If", flag, then_branch=graphs[0], else_branch=graphs[1]))
    model = b.model()
    graph = view(model)
    assert operators(graph) == ["If"]
    feed = {"in0": np.ones((6, 6), np.float32), "in1": np.array(True)}
    (mine,), (wanted,) = ran(lowered(graph), feed), ran(model.SerializeToString(), feed)
    np.testing.assert_array_equal(mine, wanted)


def test_external_weights_are_read_only_where_their_values_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    b = GraphBuilder()
    x = b.input(["n", 64])
    moved = b.op("Reshape", b.op("Identity", b.weight(64 * 64)), b.ints(64, 64))
    turned = b.op("Transpose", b.weight(64, 64))
    x = b.op("MatMul", b.op("MatMul", x, moved), turned)
    b.output(b.op("MatMul", x, b.weight(64, 64)))
    model = b.model()
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, location="m.data",
              size_threshold=1000)  # fmt: skip
    read: list[str] = []
    load = ir.ExternalTensor.numpy
    monkeypatch.setattr(
        ir.ExternalTensor, "numpy", lambda t: read.append(t.name) or load(t)  # type: ignore[func-returns-value]
    )  # fmt: skip
    graph = prepare(read_model(tmp_path / "m.onnx"))
    assert operators(graph) == ["MatMul"] * 3
    assert set(read) == {"w2"}
    outside = [w for w in graph.weights.values() if isinstance(w.tensor, ir.ExternalTensor)]
    assert len(outside) == 2
    monkeypatch.undo()
    onnx.save(model, tmp_path / "inline.onnx")
    inline = prepare(read_model(tmp_path / "inline.onnx"))
    for mine, wanted in zip(graph.nodes, inline.nodes, strict=True):
        here, there = (g.weights[n.inputs[1]] for g, n in ((graph, mine), (inline, wanted)))
        np.testing.assert_array_equal(here.array, there.array)
