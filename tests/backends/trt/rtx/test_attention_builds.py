"""Which attention cores a real builder computes in one kernel, as the scheme declares."""

from __future__ import annotations

import onnx
import pytest

from precsearch.backends.tensorrt.achieved import attention_fused
from precsearch.backends.tensorrt.scheme import scheme
from precsearch.core.precision import Precision
from precsearch.core.quantization import TYPED_HALF, GraphForm, QuantScheme
from precsearch.core.space import Assignment
from precsearch.graph.attention import attention_cores
from precsearch.graph.view import GraphView
from precsearch.grouping.group import group
from precsearch.lowering.lower import Lowering
from precsearch.lowering.qdq.reach import quantizable
from precsearch.lowering.qdq.scales import RangeScales, TensorRange
from tests.backends.trt.rtx.building import TARGETS, built, disobeyed
from tests.graph.attention_nets import attention_net

pytestmark = pytest.mark.rtx
FP32, BF16, FP16 = Precision.FP32, Precision.BF16, Precision.FP16
FP8, INT8 = Precision.FP8, Precision.INT8
RTX = scheme(rtx=True, attention=True)


def fused(
    graph: GraphView,
    core: Precision,
    rest: Precision = FP16,
    target: str = "SM89",
    chosen: QuantScheme = RTX,
    granularity: str = "group",
    first: Precision | None = None,
    form: GraphForm = TYPED_HALF,
) -> bool:
    space = group(graph, chosen, frozenset(Precision), granularity, form)
    tensors = frozenset().union(*quantizable(graph, chosen, space).values())
    scales = RangeScales(dict.fromkeys(tensors, TensorRange(-4.0, 4.0)), chosen)
    (made,) = attention_cores(graph).values()
    inside = {graph.nodes[i].key for i in made.nodes}
    asked = {g.key: g.nearest(core if inside & {*g.nodes} else rest) for g in space.free}
    if first is not None:
        asked[made.first.key] = first
    lowering = Lowering(graph, space, chosen, scales, form)
    lowered = lowering.lower(space.canonical(Assignment.of(asked)))
    engine = built(lowered.model, target)
    assert disobeyed(lowered.model, engine, lowered.asked) == []
    count, every = attention_fused(onnx.load_model_from_string(lowered.model), engine.layers)
    assert every == 1
    return count == 1


@pytest.mark.parametrize("precision", [FP16, BF16, FP8, INT8])
@pytest.mark.parametrize(
    ("size", "tokens"),
    [(8, 64), (12, 64), (16, 64), (32, 8), (32, 64), (32, 512), (32, 513), (80, 64), (264, 64)],
)
def test_the_scheme_knows_which_sizes_are_fused(
    size: int, tokens: int, precision: Precision
) -> None:
    expected = RTX.attention[precision].takes(size, tokens)
    assert fused(attention_net(size, tokens), precision) is expected


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("core", [FP16, BF16, FP8, INT8])
def test_int4_weights_around_an_attention_core_are_built_and_leave_it_fused(
    core: Precision, target: str
) -> None:
    if core is not FP8 or target != "SM80":
        graph = attention_net(32, 64, opset=22)
        assert fused(graph, core, Precision.INT4, target, form=TYPED_HALF.raised(22))


@pytest.mark.parametrize("rest", [FP32, FP16, INT8, FP8])
@pytest.mark.parametrize("core", [FP16, FP8, INT8])
def test_precisions_around_an_attention_core_leave_it_fused(
    core: Precision, rest: Precision
) -> None:
    assert fused(attention_net(32, 64, scale="before", mask=True), core, rest)


def test_without_its_output_int8_is_fused_beside_an_int8_projection_alone() -> None:
    plain = scheme(rtx=True)
    graph = attention_net(32, 64)
    assert not fused(graph, INT8, FP16, chosen=plain)
    assert fused(graph, INT8, INT8, chosen=plain)


@pytest.mark.parametrize("target", ["SM80", "SM120"])
def test_other_gpus_fuse_the_same_attention_cores(target: str) -> None:
    assert fused(attention_net(32, 64), INT8, FP16, target)
    assert fused(attention_net(12, 64), FP16, INT8, target)
    assert not fused(attention_net(12, 64), INT8, INT8, target)


def test_another_precision_within_an_attention_core_breaks_the_fusion() -> None:
    graph = attention_net(32, 64)
    assert fused(graph, FP16, granularity="node")
    assert not fused(graph, FP16, granularity="node", first=FP32)
