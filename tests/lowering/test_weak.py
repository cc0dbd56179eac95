"""The weak form: an FP32 graph with Q/DQ, and by name what computes in FP16 or is left free."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st

from precsearch.backends.tensorrt.scheme import scheme
from precsearch.core.backend import TYPED, WEAK
from precsearch.core.precision import Precision
from precsearch.core.space import Assignment, SearchSpace
from precsearch.graph.view import GraphView
from precsearch.grouping.group import group
from precsearch.lowering.engines.annotate import Annotation, unpinned
from precsearch.lowering.lower import Lowered, Lowering
from precsearch.lowering.qdq.reach import quantizable
from precsearch.lowering.qdq.scales import RangeScales, TensorRange
from tests.graph.small_graphs import GraphBuilder, conv, linear, residual_net, view
from tests.lowering.random_models import Model, feed_of
from tests.lowering.test_random_models import ALL, FEW, MODELS, drawn, prepared

FP32, FP16, INT8 = Precision.FP32, Precision.FP16, Precision.INT8
SCHEME = scheme()
QDQ = ("QuantizeLinear", "DequantizeLinear")


def spaced(graph: GraphView, granularity: str = "group") -> tuple[SearchSpace, RangeScales]:
    space = group(graph, SCHEME, ALL, granularity)
    tensors = frozenset().union(*quantizable(graph, SCHEME, space).values())
    ranges = dict.fromkeys(tensors, TensorRange(-3.0, 5.0))
    return space, RangeScales(ranges, SCHEME)


def parsed(lowered: Lowered) -> onnx.ModelProto:
    proto: onnx.ModelProto = onnx.ModelProto.FromString(lowered.model)
    return proto


def in_ort(model: bytes, feed: dict[str, npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
    """Node by node as the graph says, without the optimizer."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    found: list[npt.NDArray[Any]] = session.run(None, feed)
    return found


@FEW
@given(MODELS, st.sampled_from(["node", "group", "block"]), st.data())
def test_names_express_what_types_express_elsewhere(
    model: Model, granularity: str, data: st.DataObject
) -> None:
    graph = prepared(model)
    space, scales = spaced(graph, granularity)
    assignment = drawn(data, space, ALL)
    weak = Lowering(graph, space, SCHEME, scales, WEAK).lower(assignment)
    proto = parsed(weak)
    onnx.checker.check_model(proto, full_check=True)
    notes = Annotation.of(proto)
    kinds = {n.name: n.op_type for n in proto.graph.node}
    listed = {*notes.fp16, *notes.free}
    assert len(listed) == len(notes.fp16) + len(notes.free)
    assert listed <= kinds.keys()
    assert "Cast" not in kinds.values()
    assert onnx.TensorProto.FLOAT16 not in {t.data_type for t in proto.graph.initializer}
    quantized = [
        n.input[0].removesuffix("//raw") for n in proto.graph.node if n.op_type == "QuantizeLinear"
    ]
    released = {graph.nodes[i].key for i in unpinned(graph, quantized)}
    for name, kind in kinds.items():
        asked = assignment[weak.owners[name]]
        if kind in QDQ:
            assert name not in listed
        elif name in released or asked is INT8:
            assert name in notes.free
        else:
            assert (name in notes.fp16) == (asked is FP16)
    typed = Lowering(graph, space, SCHEME, scales, TYPED).lower(assignment)
    assert weak.asked == typed.asked
    assert weak.params == typed.params


@FEW
@given(MODELS, st.data())
def test_weakly_typed_values_are_those_of_q_and_dq_alone(model: Model, data: st.DataObject) -> None:
    """FP16 by name changes nothing in ONNX Runtime: the typed graph without it is the same."""
    graph = prepared(model)
    space, scales = spaced(graph)
    assignment = drawn(data, space, ALL)
    bare = space.canonical(Assignment.of(dict.fromkeys(assignment.keys_at(INT8), INT8)))
    weak = Lowering(graph, space, SCHEME, scales, WEAK).lower(assignment)
    typed = Lowering(graph, space, SCHEME, scales, TYPED).lower(bare)
    feed = feed_of(model)
    for found, wanted in zip(in_ort(weak.model, feed), in_ort(typed.model, feed), strict=True):
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, wanted)


@FEW
@given(MODELS, st.data())
def test_nothing_stands_between_q_or_dq_and_its_neighbour(
    model: Model, data: st.DataObject
) -> None:
    graph = prepared(model)
    space, scales = spaced(graph)
    lowered = Lowering(graph, space, SCHEME, scales, WEAK).lower(drawn(data, space, ALL))
    proto = parsed(lowered)
    producer = {o: n for n in proto.graph.node for o in n.output}
    weights = {t.name for t in proto.graph.initializer}
    for node in proto.graph.node:
        for slot, tensor in enumerate(node.input):
            source = producer.get(tensor)
            if node.op_type in ("Conv", "MatMul", "Gemm") and lowered.asked.get(node.name) is INT8:
                activation = slot < 2
                assert not activation or (source and source.op_type == "DequantizeLinear")
                assert activation or tensor in weights  # the bias stays float
            if node.op_type == "QuantizeLinear" and slot == 0:
                assert source is None or source.name in graph.by_key
    zeros = {t.name: t for t in proto.graph.initializer if t.name.endswith("zero")}
    for tensor in zeros.values():
        assert tensor.data_type == onnx.TensorProto.INT8
        assert not np.any(onnx.numpy_helper.to_array(tensor))


@FEW
@given(MODELS, st.data())
def test_the_annotation_is_part_of_the_digest_of_a_model(model: Model, data: st.DataObject) -> None:
    graph = prepared(model)
    space, scales = spaced(graph, "node")
    lowering = Lowering(graph, space, SCHEME, scales, WEAK)
    first, second = drawn(data, space, ALL), drawn(data, space, ALL)
    one, two = lowering.lower(first), lowering.lower(second)
    assert (one.digest == two.digest) == (one.model == two.model)
    assert (one.parts == two.parts) == (one.model == two.model)
    assert Lowering(graph, space, SCHEME, scales, WEAK).lower(first).model == one.model


def test_an_all_fp32_model_has_no_annotation() -> None:
    graph = view(residual_net())
    space, scales = spaced(graph)
    proto = parsed(Lowering(graph, space, SCHEME, scales, WEAK).lower(Assignment()))
    assert not proto.metadata_props
    assert not Annotation.of(proto)


def test_layers_fused_before_a_q_are_not_pinned() -> None:
    """Conv-Relu-MaxPool in FP32 before an INT8 Conv: TensorRT 8.6 would not build it pinned."""
    b = GraphBuilder()
    x = conv(b, b.input(["n", 3, 8, 8]), 3, 8)
    stem = b.op("MaxPool", b.op("Relu", b.op("Sigmoid", x)), kernel_shape=[2, 2])
    early = conv(b, stem, 8, 8)
    y = b.op("MaxPool", b.op("Relu", early), kernel_shape=[2, 2])
    last = conv(b, y, 8, 8)
    b.output(last)
    graph = view(b.model())
    space, scales = spaced(graph)
    lowering = Lowering(graph, space, SCHEME, scales, WEAK)
    notes = Annotation.of(parsed(lowering.lower(Assignment.of({last: INT8}))))
    relu, pool = (n.key for n in graph.nodes if n.key == y or n.inputs[0] == early)
    assert notes.fp16 == ()
    assert set(notes.free) == {early, relu, pool, last}  # and not the first Conv
    whole = Assignment.of({g.key: FP16 for g in space.free}).with_({last: INT8})
    notes = Annotation.of(parsed(lowering.lower(whole)))
    assert set(notes.free) == {early, relu, pool, last}
    assert set(notes.fp16) == {n.key for n in graph.nodes} - set(notes.free)


@pytest.mark.parametrize("shared", [False, True])
def test_only_what_can_be_fused_is_released(shared: bool) -> None:
    """Behind an activation the product is free, unless its value is read elsewhere."""
    b = GraphBuilder()
    product = linear(b, b.input(["n", 8]), 8, 8)
    y = b.op("Relu", product)
    last = linear(b, y, 8, 8)
    b.output(b.op("Add", last, b.op("Sigmoid", product)) if shared else last)
    graph = view(b.model())
    released = {graph.nodes[i].key for i in unpinned(graph, [y])}
    assert y in released
    assert (product in released) == (not shared)


def test_the_branch_of_a_residual_add_is_released_with_it() -> None:
    graph = view(residual_net(1))
    add = next(n for n in graph.nodes if n.op_type == "Add")
    relu = graph.users(add.key)[0].key
    released = {graph.nodes[i].key for i in unpinned(graph, [relu])}
    branch = graph.producer[add.inputs[0]]
    assert branch.op_type == "Conv"
    assert released == {relu, add.key, branch.key}
