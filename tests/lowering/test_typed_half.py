"""Typed graphs for TensorRT 10 and later: FP16 scales, symmetric INT8, one float type a node."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx.reference import ReferenceEvaluator

from precsearch.core.backend import TYPED, TYPED_HALF
from precsearch.core.precision import Precision
from precsearch.core.space import Assignment
from precsearch.graph.view import GraphView
from precsearch.lowering.lower import Lowered, Lowering
from precsearch.lowering.qdq.scales import RangeScales, TensorRange
from tests.graph.small_graphs import NORM_FORMS, GraphBuilder, layer_norm, linear, view
from tests.lowering.random_models import Model, feed_of
from tests.lowering.test_random_models import ALL, FEW, MODELS, drawn, prepared, relative
from tests.lowering.test_weak import SCHEME, in_ort, spaced

FP32, FP16, INT8 = Precision.FP32, Precision.FP16, Precision.INT8
HALF, FLOAT = onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT
FLOATS = (HALF, FLOAT, onnx.TensorProto.BFLOAT16)


def typed(lowered: Lowered) -> tuple[onnx.ModelProto, dict[str, int]]:
    """The model and the element type of every tensor, by strict inference."""
    proto = onnx.ModelProto.FromString(lowered.model)
    onnx.checker.check_model(proto, full_check=True)
    inferred = onnx.shape_inference.infer_shapes(proto, check_type=True, strict_mode=True).graph
    values = (*inferred.value_info, *inferred.input, *inferred.output)
    types = {v.name: v.type.tensor_type.elem_type for v in values}
    return proto, types | {t.name: t.data_type for t in proto.graph.initializer}


@FEW
@given(MODELS, st.sampled_from(["node", "group", "block"]), st.data())
def test_every_graph_is_well_typed_and_runs(
    model: Model, granularity: str, data: st.DataObject
) -> None:
    graph = prepared(model, TYPED_HALF.min_opset)
    space, scales = spaced(graph, granularity)
    assignment = drawn(data, space, ALL)
    lowered = Lowering(graph, space, SCHEME, scales, TYPED_HALF).lower(assignment)
    proto, types = typed(lowered)
    made = {o: n for n in proto.graph.node for o in n.output}
    for node in proto.graph.node:
        floats = {types[t] for t in (*node.input, *node.output) if types.get(t) in FLOATS}
        if node.op_type != "Cast":
            assert len(floats) == 1, node  # no operator mixes types: TensorRT promotes nothing
        if node.op_type == "DequantizeLinear":
            assert types[node.output[0]] == types[node.input[1]]  # TensorRT's rule, too
        if node.op_type == "Cast":
            source = made.get(node.input[0])
            assert source is None or source.op_type not in ("DequantizeLinear", "Cast")
            readers = [n.op_type for n in proto.graph.node if node.output[0] in n.input]
            assert readers or node.output[0] in {o.name for o in proto.graph.output}
    if Precision.BF16 in lowered.asked.values():
        return  # ONNX Runtime has no CPU kernels for it
    feed = feed_of(model)
    exact = in_ort(model.data, feed)
    for found, wanted in zip(in_ort(lowered.model, feed), exact, strict=True):
        assert found.dtype == np.float32
        assert relative(found, wanted) < 0.9


@FEW
@given(MODELS, st.data())
def test_no_cast_stands_beside_q_or_dq_of_a_node_in_int8(model: Model, data: st.DataObject) -> None:
    """A Cast there keeps TensorRT from fusing: the scale is typed instead."""
    graph = prepared(model, TYPED_HALF.min_opset)
    space, scales = spaced(graph)
    allowed = ALL - {Precision.BF16}  # its values reach a Q through FP32
    assignment = drawn(data, space, allowed)
    lowered = Lowering(graph, space, SCHEME, scales, TYPED_HALF).lower(assignment)
    proto, _ = typed(lowered)
    made = {o: n for n in proto.graph.node for o in n.output}
    for node in proto.graph.node:
        active = node.op_type in ("Conv", "MatMul", "Gemm")
        if active and lowered.asked.get(node.name) is INT8:
            assert [made[t].op_type for t in node.input[:2]] == ["DequantizeLinear"] * 2
            assert all(t not in made for t in node.input[2:])
        if node.op_type == "QuantizeLinear":
            source = made.get(node.input[0])
            assert source is None or source.op_type != "Cast"


@pytest.mark.parametrize("peak", [1e-6, 1e-3, 0.0077, 8.0])
def test_a_scale_that_fp16_lacks_is_not_written_in_it(peak: float) -> None:
    b = GraphBuilder(19)
    b.output(linear(b, b.input(["n", 8]), 8, 8))
    graph = view(b.model())
    space, _ = spaced(graph)
    scales = RangeScales({"in0": TensorRange(-peak, peak)}, SCHEME)
    lowered = Lowering(graph, space, SCHEME, scales, TYPED_HALF).lower(space.uniform(INT8))
    proto, types = typed(lowered)
    for tensor in proto.graph.initializer:
        if "scale" in tensor.name:
            values = onnx.numpy_helper.to_array(tensor).astype(np.float64)
            assert np.all(values > 0)
            assert tensor.data_type == FLOAT or np.all(values >= 2.0**-14)
    quantize = next(n for n in proto.graph.node if n.op_type == "QuantizeLinear")
    assert types[quantize.input[1]] == FLOAT  # the input of the model is FP32


def outliers(form: str) -> tuple[GraphView, str]:
    """A LayerNorm of values whose squares are beyond FP16, after a product that is not."""
    b = GraphBuilder()
    x = linear(b, b.input([1, 4, 8]), 8, 8)
    far = b.const([0, 0, 0, 0, 0, 0, 4000.0, -4000.0])
    b.output(layer_norm(b, b.op("Add", x, far), 8, form))
    return view(b.model()), b.nodes[-1].output[0]


@pytest.mark.parametrize("form", NORM_FORMS)
def test_the_statistics_alone_in_fp32_save_a_layer_norm(form: str) -> None:
    """In true FP16; the case of vision transformers, where whole norms in FP32 cost time."""
    graph, _ = outliers(form)
    space, scales = spaced(graph)
    lowering = Lowering(graph, space, SCHEME, scales, TYPED)
    feed = {"in0": np.random.default_rng(0).normal(0, 1, (1, 4, 8)).astype(np.float32)}

    def run(assignment: Assignment) -> np.ndarray:
        with np.errstate(all="ignore"):
            proto = onnx.ModelProto.FromString(lowering.lower(assignment).model)
            (y,) = map(np.asarray, ReferenceEvaluator(proto).run(None, feed))
            return y

    half = space.uniform(FP16)
    (statistics,) = [g.key for g in space.groups if g.kind == "layernorm-statistics"]
    exact = run(Assignment())
    assert not relative(run(half), exact) < 0.1
    assert relative(run(half.with_({statistics: FP32})), exact) < 5e-3
