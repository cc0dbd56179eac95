"""The CUDA provider on a real GPU. Run with ``pytest -m gpu tests/backends/ort_cuda``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from precsearch.api import OptimizeConfig, optimize_events
from precsearch.backends.onnxruntime.cuda.backend import OnnxRuntimeCudaBackend
from precsearch.core.backend import BackendOptions
from precsearch.core.events import TrialFinished
from precsearch.core.precision import Precision
from precsearch.core.trial import Measured
from precsearch.plan.plan import read_plan
from precsearch.reference.session import reference_outputs
from precsearch.replay.materialize import materialize
from precsearch.system.cuda_driver import cuda_devices
from tests.backends.ov.small_engines import cnn, encoder, lowered, samples
from tests.graph.small_layers import GraphBuilder, layer_norm, linear

HERE = "CUDAExecutionProvider" in ort.get_available_providers() and cuda_devices() > 0
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not HERE, reason="needs ONNX Runtime's CUDA provider and an NVIDIA GPU"),
]
FP32, FP16, BF16 = Precision.FP32, Precision.FP16, Precision.BF16
STRICT = {"use_tf32": "false"}
LOSSES = {FP32: 1e-5, FP16: 1e-2, BF16: 5e-2}


def backend(build: Mapping[str, str] = STRICT) -> OnnxRuntimeCudaBackend:
    return OnnxRuntimeCudaBackend(BackendOptions(build=dict(build)))


def loss(model: onnx.ModelProto, precision: Precision, build: Mapping[str, str] = STRICT) -> float:
    made, feed = backend(build), samples(model)
    engine = lowered(model, made, precision)
    session = made.open(engine.model)
    found = session.run(feed)
    session.time(feed, 5)
    again = session.run(feed)
    session.close()
    (wanted,) = reference_outputs(model.SerializeToString(), [feed])
    worst = 0.0
    for name, value in wanted.items():
        np.testing.assert_array_equal(found[name], again[name], "timing changed what it gives")
        right = np.asarray(value, np.float64)
        off = np.linalg.norm(np.asarray(found[name], np.float64) - right)
        worst = max(worst, float(off / np.linalg.norm(right)))
    return worst


@pytest.mark.parametrize("model", [cnn(), encoder()], ids=["cnn", "encoder"])
@pytest.mark.parametrize("precision", [FP32, FP16, BF16])
def test_each_precision_has_the_rounding_of_its_name(
    model: onnx.ModelProto, precision: Precision
) -> None:
    found = loss(model, precision)
    assert found <= LOSSES[precision]
    if precision is not FP32:
        assert found > 1e-5, "it was rounded"


def product(size: int = 1024) -> onnx.ModelProto:
    b = GraphBuilder()
    b.output(b.op("MatMul", b.input([size, size]), b.weight(size, size)))
    return b.model()


def test_tf32_is_coarser_than_strict_fp32() -> None:
    strict, coarse = loss(product(), FP32), loss(product(), FP32, {"use_tf32": "true"})
    assert strict < 1e-6
    assert 1e-5 < coarse < 1e-3


@pytest.mark.parametrize("graph", ["true", "false"])
@pytest.mark.parametrize("clock", ["events", "host"])
def test_times_are_measured_on_the_device(clock: str, graph: str) -> None:
    made, model = backend({"clock": clock, "enable_cuda_graph": graph}), product(4096)
    session = made.open(model.SerializeToString())
    times = sorted(session.time(samples(model), 20))
    assert made.warnings(model.SerializeToString()) == ()
    # 1.4e11 operations: more than 1 PFLOP/s or less than 1 TFLOP/s is no GPU's time.
    assert 1e-4 < times[10] < 0.14


def _between_products(op_type: str) -> onnx.ModelProto:
    b = GraphBuilder()
    x = linear(b, b.input([4, 64], name="x"), 64, 64)
    b.output(linear(b, b.op(op_type, x), 64, 64))
    return b.model()


def _left_to_the_cpu(folder: Path) -> onnx.ModelProto:
    """A model of which ONNX Runtime's own profile says that a node ran on the CPU.

    Which operators have no CUDA kernel follows the release.
    """
    for op_type in ("LpNormalization", "Asinh", "Atan", "Shrink", "Hardmax", "GlobalLpPool"):
        model = _between_products(op_type)
        options = ort.SessionOptions()
        options.enable_profiling, options.profile_file_prefix = True, str(folder / op_type)
        session = ort.InferenceSession(
            model.SerializeToString(), options, providers=["CUDAExecutionProvider"]
        )
        session.run(None, dict(samples(model)))
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
        found = [e.get("args", {}) for e in events]
        ran = {args.get("op_name"): args.get("provider") for args in found}
        if ran.get(op_type) == "CPUExecutionProvider":
            return model
    raise AssertionError("every one of these operators has a CUDA kernel: name others")


def test_a_node_without_a_kernel_is_named_and_prevents_graph_capture(tmp_path: Path) -> None:
    model = _left_to_the_cpu(tmp_path)
    made, artifact = backend(), model.SerializeToString()
    session = made.open(artifact, profiled=True)
    session.profile(samples(model), 1)
    session.close()
    made.open(artifact).time(samples(model), 2)
    made._profiles.close()
    said = " ".join(made.warnings(artifact))
    assert "ran on the CPU, because the CUDA provider has no kernel" in said
    assert "without a CUDA graph" in said


def test_a_profile_has_times_of_kernels_and_what_they_ran_in() -> None:
    b = GraphBuilder()
    x = b.op("MatMul", b.input([4096, 4096]), b.weight(4096, 4096))
    b.output(b.op("Relu", x))
    model, made = b.model(), backend()
    session = made.open(lowered(model, made, FP16).model, profiled=True)
    kernels = {k.op_type: k for k in session.profile(samples(model), 3)}
    session.close()
    made._profiles.close()
    assert kernels["MatMul"].precision is FP16
    assert kernels["MatMul"].seconds > 2 * kernels["Relu"].seconds


def test_a_search_ends_in_a_plan_that_is_replayed_byte_for_byte(tmp_path: Path) -> None:
    b = GraphBuilder()
    x = b.input([32, 128, 512], name="x")
    x = layer_norm(b, linear(b, x, 512, 512), 512)
    b.output(layer_norm(b, linear(b, x, 512, 512), 512))
    onnx.save(b.model(), tmp_path / "m.onnx")
    values = np.random.default_rng(0).standard_normal((64, 128, 512)).astype(np.float32)
    np.savez(tmp_path / "m.npz", x=values)
    config = OptimizeConfig(
        tmp_path / "m.onnx",
        tmp_path / "m.npz",
        1e-2,
        backend="onnxruntime-cuda",
        output=tmp_path / "plan.json",
        run_dir=tmp_path / "run",
        max_builds=3,
    )
    trials = [e.trial for e in optimize_events(config) if isinstance(e, TrialFinished)]
    assert all(isinstance(t.outcome, Measured) for t in trials)
    plan = read_plan(tmp_path / "plan.json")
    first = materialize(plan, tmp_path / "m.onnx", None).lowered.model
    assert materialize(plan, tmp_path / "m.onnx", None).lowered.model == first
