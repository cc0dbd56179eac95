"""A real strongly typed builder takes every typed model, and runs products as it was asked to."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from precsearch.backends.tensorrt.listing import listing_digest
from precsearch.backends.tensorrt.scheme import scheme
from precsearch.core.backend import TYPED_HALF
from precsearch.core.precision import Precision
from precsearch.graph.view import GraphView
from precsearch.grouping.group import group
from precsearch.lowering.lower import Lowering
from precsearch.lowering.qdq.reach import quantizable
from precsearch.lowering.qdq.scales import RangeScales, TensorRange
from tests.backends.trt.rtx.building import TARGETS, built, disobeyed
from tests.backends.trt.test_typed_models import NETS, netted
from tests.lowering.random_models import Model, conv_models, matmul_models
from tests.lowering.test_random_models import FEW, MODELS, drawn, prepared
from tests.lowering.test_weak import SCHEME

pytestmark = pytest.mark.rtx
FP32, FP16, INT8 = Precision.FP32, Precision.FP16, Precision.INT8
PROVEN = (FP32, FP16, INT8)


@pytest.mark.parametrize("peak", [4.0, 6e4, 1e-4])
@pytest.mark.parametrize("precision", PROVEN)
@pytest.mark.parametrize("name", sorted(NETS))
def test_small_networks_build_and_run_as_asked(
    name: str, precision: Precision, peak: float, tmp_path: Path
) -> None:
    _, lowered = netted(tmp_path, name, TYPED_HALF, precision, peak)
    target = {4.0: "SM89", 6e4: "SM120", 1e-4: "SM80"}[peak]
    assert disobeyed(lowered.model, built(lowered.model, target), lowered.asked) == []


def ranges(data: st.DataObject, tensors: frozenset[str]) -> dict[str, TensorRange]:
    """One range for all, or each of its own: their scales may or may not fit into FP16."""
    if data.draw(st.booleans()):
        peak = data.draw(st.sampled_from([5.0, 6e4, 1e-4]))
        return dict.fromkeys(tensors, TensorRange(-peak, peak))
    peaks = {t: 10.0 ** data.draw(st.integers(-6, 5)) for t in sorted(tensors)}
    return {t: TensorRange(-p, p) for t, p in peaks.items()}


@settings(FEW, max_examples=60)
@given(MODELS, st.sampled_from(["node", "group", "block"]), st.sampled_from(TARGETS), st.data())
def test_any_assignment_of_any_model_builds_and_runs_as_asked(
    model: Model, granularity: str, target: str, data: st.DataObject
) -> None:
    graph: GraphView = prepared(model, TYPED_HALF.min_opset)
    space = group(graph, SCHEME, frozenset(PROVEN), granularity)
    tensors = frozenset().union(*quantizable(graph, SCHEME, space).values())
    scales = RangeScales(ranges(data, tensors), SCHEME)
    lowering = Lowering(graph, space, SCHEME, scales, TYPED_HALF)
    lowered = lowering.lower(drawn(data, space, frozenset(PROVEN)))
    assert disobeyed(lowered.model, built(lowered.model, target), lowered.asked) == []


NEW = frozenset({FP32, FP16, INT8, Precision.BF16, Precision.INT4})


@settings(FEW, max_examples=40)
@given(
    st.one_of(conv_models(), matmul_models(64)),
    st.sampled_from(["node", "group"]),
    st.sampled_from(TARGETS),
    st.data(),
)
def test_small_networks_in_bf16_fp8_and_int4_weights_build_and_run_as_asked(
    model: Model, granularity: str, target: str, data: st.DataObject
) -> None:
    """In operator set 22: the first that has Conv in BF16. FP8 needs SM89."""
    offered = NEW if target == "SM80" else NEW | {Precision.FP8}
    form = TYPED_HALF.raised(22)
    graph = prepared(model, form.min_opset)
    chosen = scheme(rtx=True, attention=True)
    space = group(graph, chosen, offered, granularity, form)
    tensors = frozenset().union(*quantizable(graph, chosen, space).values())
    scales = RangeScales(dict.fromkeys(tensors, TensorRange(-5.0, 5.0)), chosen)
    lowered = Lowering(graph, space, chosen, scales, form).lower(drawn(data, space, offered))
    assert disobeyed(lowered.model, built(lowered.model, target), lowered.asked) == []


def test_two_builds_of_a_model_have_the_same_layers(tmp_path: Path) -> None:
    _, lowered = netted(tmp_path, "residual", TYPED_HALF, Precision.INT8, 4.0)
    first, second = (built(lowered.model, "SM89").layers for _ in range(2))
    assert listing_digest(first) == listing_digest(second)
    assert listing_digest(first) != listing_digest(first[:-1])
    assert len(onnx.load_model_from_string(lowered.model).graph.node) > len(first)
