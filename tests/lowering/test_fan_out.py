"""FP16 beside FP32 where a tensor has several readers, evaluated in true FP16.

Two public converters get these graphs wrong. One sends a tensor between two FP32 nodes through
FP16 as soon as it has a second reader, which is every residual; the other names a Cast after its
source alone, so that two readers in FP32 of one FP16 tensor make a graph that no engine takes.
ONNX Runtime's CPU provider would not show it, as it computes FP16 in FP32.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from precsearch.core.precision import Precision
from precsearch.core.space import Assignment, SearchSpace
from precsearch.graph.view import GraphView
from precsearch.grouping.group import group
from precsearch.lowering.lower import Lowered, Lowering
from precsearch.lowering.qdq.scales import RangeScales
from tests.graph.small_graphs import SCHEME, GraphBuilder, view

FP32, FP16 = Precision.FP32, Precision.FP16
HALF, FLOAT = onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT
Array = npt.NDArray[Any]


def overflow() -> onnx.ModelProto:
    """(400 h)² is beyond FP16 on the way to its root; 400 h has three readers, (400 h)² two."""
    b = GraphBuilder()
    h = b.op("MatMul", b.input([1, 4]), b.const(np.eye(4)))
    large = b.op("Mul", h, b.const(400.0))
    square = b.op("Mul", large, large)
    root = b.op("Sqrt", square)
    residual = b.op("Add", root, large)
    ratio = b.op("Div", square, b.op("Mul", root, large))
    y = b.op("Add", b.op("Mul", residual, b.const(1 / 800)), ratio)
    b.output(b.op("MatMul", y, b.const(np.eye(4) / 2)))
    return b.model()


def two_readers() -> onnx.ModelProto:
    """One tensor with four readers, which is an output as well."""
    b = GraphBuilder()
    x = b.op("Tanh", b.input([1, 4]))
    left, right = b.op("Exp", x), b.op("Neg", x)
    y = b.op("Add", b.op("Mul", left, right), b.op("Mul", x, x))
    b.output(x)
    b.output(y)
    return b.model()


FEED = {"in0": np.array([[1.0, -0.5, 1.5, 0.75]], np.float32)}


def spaced(model: onnx.ModelProto) -> tuple[GraphView, SearchSpace, Lowering]:
    graph = view(model)
    space = group(graph, SCHEME, frozenset({FP32, FP16}), "node")
    return graph, space, Lowering(graph, space, SCHEME, RangeScales({}, SCHEME))


def proto_of(lowered: Lowered) -> onnx.ModelProto:
    proto: onnx.ModelProto = onnx.ModelProto.FromString(lowered.model)
    onnx.checker.check_model(proto, full_check=True)
    return proto


def run(proto: onnx.ModelProto) -> list[Array]:
    with np.errstate(all="ignore"):
        return list(ReferenceEvaluator(proto).run(None, FEED))


COMPUTE = {
    "Add": np.add,
    "Div": np.divide,
    "Exp": np.exp,
    "MatMul": np.matmul,
    "Mul": np.multiply,
    "Neg": np.negative,
    "Sqrt": np.sqrt,
    "Tanh": np.tanh,
}


def emulated(graph: GraphView, halves: frozenset[str]) -> list[Array]:
    """What an assignment means: a node reads, computes and stores in its precision, edges do not.

    A tensor between two FP32 nodes is thus never rounded, whatever its other readers are.
    """
    values: dict[str, Array] = {n: np.asarray(w.array) for n, w in graph.weights.items()}
    values |= FEED
    with np.errstate(all="ignore"):
        for node in graph.nodes:
            dtype = np.float16 if node.key in halves else np.float32
            read = [values[t].astype(dtype) for t in node.inputs]
            values[node.outputs[0]] = COMPUTE[node.op_type](*read)
        return [values[o.name].astype(np.float32) for o in graph.outputs]


@pytest.mark.parametrize("make", [overflow, two_readers])
def test_every_assignment_rounds_where_it_is_lowered_and_nowhere_else(make: Any) -> None:
    graph, space, lowering = spaced(make())
    for choice in product((FP32, FP16), repeat=len(space.groups)):
        chosen = dict(zip((g.key for g in space.groups), choice, strict=True))
        lowered = lowering.lower(Assignment.of(chosen))
        proto = onnx.ModelProto.FromString(lowered.model)
        wanted = emulated(graph, frozenset(k for k, p in chosen.items() if p is FP16))
        for found, value in zip(run(proto), wanted, strict=True):
            np.testing.assert_array_equal(found, value, err_msg=str(chosen))
        made = [o for n in proto.graph.node for o in n.output]
        names = [n.name for n in proto.graph.node]
        assert len(set(made)) == len(made)
        assert len(set(names)) == len(names)
        casts = [(n.input[0], n.attribute[0].i) for n in proto.graph.node if n.op_type == "Cast"]
        assert len(set(casts)) == len(casts)


def test_the_result_is_right_only_if_the_whole_path_is_fp32() -> None:
    graph, space, lowering = spaced(overflow())
    large = {n.key for n in graph.nodes if n.key in beyond_fp16(graph)}
    path = large | {n.key for t in large for n in graph.users(t)}
    assert len(path) == 4  # the square, its root, a product as large, and their ratio
    halves = Assignment.of({g.key: FP16 for g in space.groups if g.key not in path})
    wanted = [[1.0, -0.5, 1.25, 0.875]]
    (y,) = run(proto_of(lowering.lower(halves)))
    np.testing.assert_allclose(y, wanted, rtol=2e-3)
    for key in path:
        (y,) = run(proto_of(lowering.lower(halves.with_({key: FP16}))))
        assert not np.allclose(y, wanted, rtol=0.1), f"{key} in FP16 must overflow"


def beyond_fp16(graph: GraphView) -> frozenset[str]:
    """Tensors with values that FP16 lacks."""
    values: dict[str, Array] = {n: np.asarray(w.array) for n, w in graph.weights.items()}
    values |= FEED
    for node in graph.nodes:
        values[node.outputs[0]] = COMPUTE[node.op_type](*(values[t] for t in node.inputs))
    return frozenset(t for t, v in values.items() if np.max(np.abs(v)) > 65504)


@pytest.mark.parametrize("make", [overflow, two_readers])
def test_fp32_everywhere_leaves_no_cast(make: Any) -> None:
    model = make()
    _, _, lowering = spaced(model)
    proto = proto_of(lowering.lower(Assignment()))
    assert [n.op_type for n in proto.graph.node] == [n.op_type for n in model.graph.node]
    for found, wanted in zip(run(proto), run(model), strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_fp32_readers_share_one_cast() -> None:
    graph, _, lowering = spaced(two_readers())
    source = next(n.key for n in graph.nodes if n.op_type == "Tanh")
    proto = proto_of(lowering.lower(Assignment.of({source: FP16})))
    casts = [n for n in proto.graph.node if n.op_type == "Cast"]
    assert [(n.attribute[0].i) for n in casts] == [HALF, FLOAT]
    back = casts[1].output[0]
    readers = [n for n in proto.graph.node for t in n.input if t == back]
    assert len(readers) == 4  # Exp, Neg and both operands of Mul
    assert back == graph.outputs[0].name  # the output has its name and type


def test_fp16_everywhere_casts_at_the_borders_alone() -> None:
    _, space, lowering = spaced(overflow())
    proto = proto_of(lowering.lower(space.uniform(FP16)))
    kinds = [n.op_type for n in proto.graph.node]
    assert kinds[0] == kinds[-1] == "Cast"
    assert "Cast" not in kinds[1:-1]
    assert all(t.data_type == HALF for t in proto.graph.initializer)
