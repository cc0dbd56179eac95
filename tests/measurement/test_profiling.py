"""What a measurement service reports of an engine, compared with ONNX Runtime's own kernels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from precsearch.backends.onnxruntime.backend import OnnxRuntimeBackend
from precsearch.calibration.ranges import Calibration
from precsearch.core.backend import BackendOptions, Feed, KernelTime, QuantScheme
from precsearch.core.precision import Precision
from precsearch.core.quantization import Quirk
from precsearch.core.space import Assignment, SearchSpace
from precsearch.core.trial import Fidelity
from precsearch.data import Dataset
from precsearch.grouping.group import group
from precsearch.lowering.lower import Lowered, Lowering
from precsearch.lowering.qdq.reach import quantizable
from precsearch.lowering.qdq.scales import RangeScales
from precsearch.measurement.place import Place
from precsearch.measurement.profiling import (
    achieved_precisions,
    owner,
    seconds_by_group,
)
from precsearch.measurement.reference_service import ReferenceService
from precsearch.measurement.service import (
    Candidate,
    MeasurementConfig,
    MeasurementService,
    ReferenceSplit,
)
from precsearch.measurement.timing.latency import TimingOptions
from tests.graph.small_graphs import conv_net, fire_net, residual_net, transformer
from tests.lowering.golden import EXAMPLE, prepared

FP32, FP16, INT8 = Precision.FP32, Precision.FP16, Precision.INT8
OPTIONS = BackendOptions(threads=1)
QUICK = TimingOptions(rounds=3, max_rounds=3, round_seconds=1e-4, warmup=1)

Make = Callable[[], onnx.ModelProto]
MODELS: dict[str, Make] = {
    "digits": lambda: onnx.load(str(EXAMPLE)),
    "conv": conv_net,
    "residual": residual_net,
    "fire": fire_net,
    "transformer": lambda: transformer(2),
}

ADDED = {"ReorderInput", "ReorderOutput", "Transpose", "QuantizeLinear", "DequantizeLinear"}
"""Kernels that ONNX Runtime puts in without a name that says where."""
FUSED = {"BiasGelu", "Gelu", "SkipLayerNormalization"}
"""Kernels that it fuses from many nodes and names after none."""


class Setting:
    """A model, its data and a service."""

    def __init__(self, make: Make, scheme: QuantScheme | None = None) -> None:
        self.backend = OnnxRuntimeBackend(OPTIONS)
        self.scheme = scheme or self.backend.scheme
        self.graph = prepared(make(), 13)
        self.space: SearchSpace = group(self.graph, self.scheme, frozenset({FP32, INT8}))
        rng = np.random.default_rng(0)
        feeds: list[Feed] = []
        for _ in range(3):
            feed = {}
            for value in self.graph.inputs:
                shape = [d.dim_value or 1 for d in value.type.tensor_type.shape.dim]
                floats = value.type.tensor_type.elem_type == TensorProto.FLOAT
                feed[value.name] = (
                    rng.standard_normal(shape).astype(np.float32)
                    if floats
                    else np.ones(shape, np.int64)
                )
            feeds.append(feed)
        plain = Lowering(self.graph, self.space, self.scheme, RangeScales({}, self.scheme))
        baseline = plain.lower(Assignment())
        tensors = frozenset().union(*quantizable(self.graph, self.scheme, self.space).values())
        runner = ReferenceService(Place(), _quiet)
        ranges = runner.ranges(Calibration(baseline.model, "", tuple(sorted(tensors))), feeds)
        scales = RangeScales(ranges, self.scheme)
        self.lowering = Lowering(self.graph, self.space, self.scheme, scales)
        data = Dataset(tuple(feeds), (1,) * len(feeds))
        scored = ReferenceSplit(data, runner.outputs(baseline.model, feeds))
        setup = MeasurementConfig(
            OnnxRuntimeBackend, OPTIONS, _candidate(baseline), scored, "rel-l2", 0.05, QUICK
        )
        self.service = MeasurementService(Place(), setup, _quiet)
        self.feed = feeds[0]

    def kernels(self, lowered: Lowered) -> tuple[KernelTime, ...]:
        return self.backend.open(lowered.model, profiled=True).profile(self.feed, 1)


def _quiet(_: str) -> None:
    pass


def _candidate(lowered: Lowered) -> Candidate:
    return Candidate(lowered.model, lowered.digest, lowered.asked, lowered.owners)


@pytest.fixture(scope="module", params=sorted(MODELS))
def setting(request: pytest.FixtureRequest) -> Setting:
    return Setting(MODELS[request.param])


@pytest.mark.parametrize("precision", [FP32, INT8])
def test_kernels_find_their_groups(setting: Setting, precision: Precision) -> None:
    lowered = setting.lowering.lower(setting.space.uniform(precision))
    groups = {g.key for g in setting.space.groups}
    kernels = setting.kernels(lowered)
    assert kernels
    for kernel in kernels:
        (node,) = kernel.nodes
        found = owner(node, lowered.owners)
        assert found in groups or (not found and kernel.op_type in ADDED | FUSED), kernel
    named = {owner(k.nodes[0], lowered.owners) for k in kernels}
    active = {g.key for g in setting.space.free if not g.passive}
    assert active <= named


def test_what_is_asked_in_int8_is_achieved_in_int8(setting: Setting) -> None:
    chosen = setting.space.uniform(INT8)
    found = setting.service.measure(_candidate(setting.lowering.lower(chosen)), Fidelity.ENGINE)
    assert found.achieved == dict.fromkeys(chosen, INT8)
    assert found.latency is not None
    assert found.group_seconds.keys() <= {g.key for g in setting.space.groups} | {""}
    assert sum(found.group_seconds.values()) == pytest.approx(found.latency.seconds)
    assert 0 < found.accuracy.loss < 0.2


def test_half_of_the_groups_are_achieved_and_no_other(setting: Setting) -> None:
    keys = [g.key for g in setting.space.free if not g.passive]
    chosen = setting.space.canonical(Assignment.of(dict.fromkeys(keys[::2], INT8)))
    found = setting.service.measure(_candidate(setting.lowering.lower(chosen)), Fidelity.ENGINE)
    assert found.achieved == dict.fromkeys(chosen, INT8)


def test_fp32_groups_claim_no_lower_precision(setting: Setting) -> None:
    found = setting.service.measure(
        _candidate(setting.lowering.lower(Assignment())), Fidelity.ENGINE
    )
    assert found.achieved == {}
    assert found.latency is not None
    assert found.latency.ratio == 1.0
    assert found.accuracy.loss < 1e-5


def test_a_proxy_has_an_accuracy_and_no_latency(setting: Setting) -> None:
    lowered = setting.lowering.lower(setting.space.uniform(INT8))
    engine = setting.service.measure(_candidate(lowered), Fidelity.ENGINE)
    proxy = setting.service.measure(_candidate(lowered), Fidelity.PROXY)
    assert proxy.latency is None
    assert proxy.accuracy == engine.accuracy


def test_asked_for_int8_and_run_in_float_is_not_called_int8() -> None:
    """Q/DQ on its inputs alone makes ONNX Runtime compute a Conv in float."""
    usual = OnnxRuntimeBackend(OPTIONS).scheme
    row = replace(usual.of("Conv", INT8), outputs=None)
    inputs_alone = replace(
        usual,
        formats={**usual.formats, ("Conv", INT8): row},
        quirks=usual.quirks - {Quirk.GUARD_FLOAT},
    )
    setting = Setting(residual_net, inputs_alone)
    conv = next(g for g in setting.space.free if g.kind == "conv")
    chosen = Assignment.of({conv.key: INT8})
    lowered = setting.lowering.lower(chosen)
    ran = {k.op_type for k in setting.kernels(lowered)}
    assert "QLinearConv" not in ran
    found = setting.service.measure(_candidate(lowered), Fidelity.ENGINE)
    assert found.achieved == {conv.key: FP32}


OWNERS = {"a/conv": "g", "t1": "h", "x": "i"}


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("a/conv", "g"),
        ("a/conv_nchwc", "g"),
        ("a/conv//raw", "g"),
        ("a/conv//raw_nchwc", "g"),
        ("a/conv_bias_dq", "g"),
        ("t1//product", "h"),
        ("t1_q", "h"),
        ("fused t1", "h"),
        ("x/MatMulAddFusion", "i"),
        ("x/MatMulAddFusion/inner", "i"),
        ("Transpose", ""),
        ("a", ""),
        ("", ""),
        ("y" * 10_000 + "/" * 10_000, ""),
    ],
)
def test_names_that_an_engine_derives_from_ours_are_recognized(name: str, key: str) -> None:
    assert owner(name, OWNERS) == key


def test_a_group_ran_in_the_precision_of_its_most_precise_node() -> None:
    asked = dict.fromkeys(("a", "b", "c"), INT8)
    owners = {"a": "first", "b": "first", "c": "second"}
    kernels = [KernelTime(("a", "c"), "", 0.0, INT8), KernelTime(("b",), "", 0.0, FP16)]
    assert achieved_precisions([], asked, owners) == {}, "no profile"
    assert achieved_precisions(kernels, asked, owners) == {"first": FP16, "second": INT8}


def test_a_group_is_unknown_if_one_of_its_nodes_is_unless_another_ran_in_fp32() -> None:
    asked = dict.fromkeys(("n1", "n2", "n3"), INT8)
    alone = {"n1": "a", "n2": "b", "n3": "c"}
    joined = {**alone, "n3": "b"}
    kernels = [KernelTime(("n1",), "Conv", 1e-6, INT8), KernelTime(("n2",), "Conv", 1e-6)]
    assert achieved_precisions(kernels, asked, alone) == {"a": INT8, "c": FP32}
    assert achieved_precisions(kernels, asked, joined) == {"a": INT8, "b": FP32}
    every = [*kernels, KernelTime(("n3",), "Conv", 1e-6, INT8)]
    assert achieved_precisions(every, asked, joined) == {"a": INT8}


def test_a_node_that_no_kernel_names_is_unknown_where_an_engine_leaves_nodes_out() -> None:
    asked = {"n1": INT8, "n2": INT8}
    owners = {"n1": "a", "n2": "b"}
    kernels = [KernelTime(("n1",), "Conv", 1e-6, INT8)]
    assert achieved_precisions(kernels, asked, owners, unlisted=None) == {"a": INT8}


def test_conversions_are_the_part_of_a_groups_time_that_computes_nothing() -> None:
    owners = {"conv": "a", "a_q": "a", "head": "b"}
    kernels = [
        KernelTime(("conv",), "QLinearConv", 6e-6, INT8),
        KernelTime(("a_q",), "QuantizeLinear", 3e-6, INT8, converts=True),
        KernelTime(("head",), "MatMul", 8e-6, FP32),
        KernelTime(("added by the engine",), "ReorderOutput", 3e-6, FP32, converts=True),
    ]
    found = seconds_by_group(kernels, owners, 2e-5)
    assert found["group_seconds"] == pytest.approx({"a": 9e-6, "b": 8e-6, "": 3e-6})
    assert found["conversion_seconds"] == pytest.approx({"a": 3e-6, "": 3e-6})
    slower = seconds_by_group(kernels, owners, 1e-5)  # what profiling adds is taken off of all
    assert sum(slower["group_seconds"].values()) == pytest.approx(1e-5)
    assert slower["conversion_seconds"]["a"] < slower["group_seconds"]["a"]
    assert seconds_by_group([], owners, 1e-5) == {"group_seconds": {}, "conversion_seconds": {}}


def test_one_quantized_layer_converts_what_goes_in_and_out() -> None:
    setting = Setting(MODELS["digits"])
    key = next(g.key for g in setting.space.free if not g.passive)
    lowered = setting.lowering.lower(setting.space.canonical(Assignment.of({key: INT8})))
    found = setting.service.measure(_candidate(lowered), Fidelity.ENGINE)
    # On a busy machine all of a small kernel's time may be taken for what profiling adds.
    assert sum(found.conversion_seconds.values()) < sum(found.group_seconds.values())
    assert all(t <= found.group_seconds[k] for k, t in found.conversion_seconds.items())
    kinds = {k.op_type for k in setting.kernels(lowered) if k.converts}
    assert "QuantizeLinear" in kinds
    assert kinds <= ADDED - {"Transpose"}
