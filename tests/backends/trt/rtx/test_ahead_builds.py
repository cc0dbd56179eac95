"""`precsearch build --target` writes a TensorRT plan's engine without a GPU."""

from __future__ import annotations

from pathlib import Path

import pytest

from precsearch.api import build
from precsearch.backends.tensorrt.rtx.backend import TensorRtRtxBackend
from precsearch.core.backend import BackendOptions
from precsearch.core.errors import OptionError
from precsearch.core.precision import Precision
from tests.backends.trt.rtx.building import TARGETS
from tests.backends.trt.stand_in.plans import write_plan
from tests.graph.small_graphs import conv_net, residual_net

pytestmark = pytest.mark.rtx


@pytest.mark.parametrize("target", [t.lower() for t in TARGETS])
def test_a_plan_of_tensorrt_is_built_for_a_gpu_that_is_not_here(
    target: str, tmp_path: Path
) -> None:
    asked = {"t0": "int8", "t2": "fp16"}
    plan = write_plan(tmp_path, residual_net(), "typed-half", asked)
    output = tmp_path / "model.engine"
    report = build(plan, None, output, backend="tensorrt-rtx", target=target)
    assert report.verdict == "built ahead of time"
    assert output.stat().st_size == report.size > 1000
    (line,) = report.lines
    assert f"built for {target} by tensorrt-rtx" in line
    assert "has never run" in line


def test_a_capability_that_rtx_lacks_is_refused_with_those_it_has(tmp_path: Path) -> None:
    plan = write_plan(tmp_path, conv_net(), "typed-half", {})
    with pytest.raises(OptionError, match="does not build for sm90; use one of sm120"):
        build(plan, None, tmp_path / "model.engine", backend="tensorrt-rtx", target="sm90")


def test_fp32_matrix_products_are_refused_on_sm75_before_the_builder_does(tmp_path: Path) -> None:
    plan = write_plan(tmp_path, conv_net(), "typed-half", {})
    with pytest.raises(OptionError, match="multiplies no FP32 matrices on sm75"):
        build(plan, None, tmp_path / "model.engine", backend="tensorrt-rtx", target="sm75")


def test_without_a_target_and_without_a_gpu_the_way_to_build_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    backend = TensorRtRtxBackend(BackendOptions(shapes=({"in0": (2, 3, 8, 8)},)))
    with pytest.raises(OptionError, match=r"without a GPU, .* --target sm89"):
        backend.build(conv_net().SerializeToString())
    assert backend.unavailable({Precision.FP8}) == "", "a model for another machine's GPU"


def test_two_builds_have_one_layer_summary_and_report_what_runs() -> None:
    model = conv_net()
    model.opset_import[0].version = 19
    for node in model.graph.node:
        node.name = node.output[0]
    backend = TensorRtRtxBackend(
        BackendOptions(shapes=({"in0": (2, 3, 8, 8)},), build={"target": "sm89"})
    )
    first, second = (backend.build(model.SerializeToString()) for _ in range(2))
    assert backend.layer_summary(first) == backend.layer_summary(second)
    assert len(backend.layer_summary(first)) > 3
    products = [n.name for n in model.graph.node if n.op_type in ("Conv", "Gemm", "MatMul")]
    ran = backend.precisions_of(first, products)
    assert ran
    assert set(ran.values()) == {Precision.FP32}
    where = backend.fingerprint()
    assert (where.device, where.backend) == ("sm89, built for and not run on", "tensorrt-rtx")
