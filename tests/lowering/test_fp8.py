"""FP8 E4M3 as Q/DQ: a backend declares it, and everything else follows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from precsearch.core.backend import GraphForm
from precsearch.core.errors import OptionError
from precsearch.core.formats import FLOAT8E4M3
from precsearch.core.precision import Precision
from precsearch.core.quantization import PerAxis, TensorFormat, operator_formats
from precsearch.core.space import Assignment
from precsearch.emulation.multiplexed import ProxyGraph
from precsearch.emulation.session import Proxy
from precsearch.emulation.single import FlatProxy
from precsearch.graph.view import GraphView
from precsearch.grouping.group import group
from precsearch.lowering.context import LoweringContext
from precsearch.lowering.lower import Lowering
from precsearch.lowering.qdq.reach import quantizable
from precsearch.lowering.qdq.scales import FixedScales, RangeScales, TensorRange
from tests.emulation.by_hand import plain_session
from tests.graph.small_graphs import gemm_head, view
from tests.lowering.golden import TENSORRT, old_conv_net, prepared
from tests.lowering.random_models import Model, feed_of
from tests.lowering.test_random_models import FEW, MODELS, drawn
from tests.lowering.test_random_models import prepared as prepared_model

FP32, FP8, INT8 = Precision.FP32, Precision.FP8, Precision.INT8
E4M3 = TensorFormat(FLOAT8E4M3)
BOTH = replace(
    TENSORRT,
    name="both",
    formats={
        **TENSORRT.formats,
        **operator_formats(
            FP8,
            activations=E4M3,
            weights=replace(E4M3, granularity=PerAxis()),
            quantizable=("Conv", "MatMul", "Gemm"),
            follows=("Add", "Concat"),
            agnostic=("MaxPool", "Reshape", "Transpose"),
        ),
    },
)
FORM = GraphForm("fp8", 19)
OFFERED = frozenset({FP32, FP8, INT8})


def scaled(graph: GraphView) -> RangeScales:
    space = group(graph, BOTH, OFFERED)
    tensors = sorted(frozenset().union(*quantizable(graph, BOTH, space).values()))
    return RangeScales({t: TensorRange(-3.0, 2.0 + i % 3) for i, t in enumerate(tensors)}, BOTH)


@FEW
@given(MODELS, st.sampled_from(["node", "group"]), st.data())
def test_fp8_beside_int8_is_a_valid_model_with_the_values_of_its_emulation(
    model: Model, granularity: str, data: st.DataObject
) -> None:
    graph = prepared_model(model, FORM.min_opset)
    space, scales = group(graph, BOTH, OFFERED, granularity), scaled(graph)
    assignment = drawn(data, space, OFFERED)
    lowered = Lowering(graph, space, BOTH, scales, FORM).lower(assignment)
    onnx.checker.check_model(onnx.ModelProto.FromString(lowered.model), full_check=True)
    feed, names = feed_of(model), [o.name for o in graph.outputs]
    wanted = plain_session(lowered.model).run(None, feed)
    flat = FlatProxy(LoweringContext(graph, space, BOTH, scales, FORM), assignment)
    made = ProxyGraph(LoweringContext(graph, space, BOTH, scales, FORM))
    (every,) = Proxy(made.proxy, 1).run(made.request(assignment), [feed])
    for name, value, alone in zip(
        names, wanted, plain_session(flat.with_outputs(names)).run(None, feed), strict=True
    ):
        # The order of sums may differ, and with it a step of FP8 (a sixteenth) here and there.
        for found in (alone, every[name]):
            off = np.linalg.norm(np.asarray(found, np.float32) - value)
            assert off <= 2e-2 * np.linalg.norm(value) + 1e-6


def test_a_plan_keeps_the_scales_of_both_precisions_of_a_tensor() -> None:
    graph = prepared(old_conv_net(11), FORM.min_opset)
    space, scales = group(graph, BOTH, OFFERED), scaled(graph)
    lowering = Lowering(graph, space, BOTH, scales, FORM)
    turns = {g.key: g.choices[1 + i % (len(g.choices) - 1)] for i, g in enumerate(space.free)}
    lowered = lowering.lower(space.canonical(Assignment.of(turns)))
    assert set(lowered.asked.values()) == {FP8, INT8}
    assert any(key.endswith("//fp8") for key in lowered.params)
    again = Lowering(graph, space, BOTH, FixedScales(lowered.params), FORM)
    assert again.lower(space.canonical(Assignment.of(turns))).model == lowered.model


def test_weights_are_stored_in_fp8() -> None:
    graph = prepared(old_conv_net(11), FORM.min_opset)
    space = group(graph, BOTH, OFFERED)
    lowered = Lowering(graph, space, BOTH, scaled(graph), FORM).lower(space.uniform(FP8))
    kinds = {
        t.name: t.data_type for t in onnx.ModelProto.FromString(lowered.model).graph.initializer
    }
    assert {k for n, k in kinds.items() if "//float8e4m3" in n and "/scale" not in n} == {
        FLOAT8E4M3.elem_type
    }


def test_a_graph_of_an_older_operator_set_is_not_offered_fp8_and_refuses_it() -> None:
    graph = view(gemm_head())
    assert graph.opsets[""] < FLOAT8E4M3.min_opset
    space = group(graph, BOTH, OFFERED)
    assert FP8 not in space.precisions
    first = replace(space.groups[0], choices=(FP32, FP8))
    forced = replace(space, groups=(first, *space.groups[1:]))
    asked = Assignment.of({forced.groups[0].key: FP8})
    with pytest.raises(OptionError, match="needs operator set 19"):
        Lowering(graph, forced, BOTH, scaled(graph)).lower(asked)
