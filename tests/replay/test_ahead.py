"""Plans that are built for a GPU that is not here: refusals beforehand, and reports."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from precsearch.api import build, export
from precsearch.backends.tensorrt.rtx.backend import TensorRtRtxBackend
from precsearch.backends.tensorrt.rtx.bindings import installed
from precsearch.backends.tensorrt.rtx.options import RtxOptions
from precsearch.core.backend import TYPED_HALF, BackendOptions, BuildsAhead
from precsearch.core.errors import OptionError
from precsearch.core.precision import Precision
from precsearch.lowering.lower import Lowered
from precsearch.plan.plan import read_plan
from precsearch.replay.achieved import asked_and_ran, fused_attention
from precsearch.replay.ahead import handed_over
from precsearch.replay.materialize import materialize
from precsearch.system.serialized import SerializedModel
from tests.backends.trt.stand_in.plans import write_plan
from tests.graph.small_graphs import conv_net, residual_net

FP32, FP16, INT8 = Precision.FP32, Precision.FP16, Precision.INT8


def refused(plan: Path, backend: str | None, target: str | None) -> str:
    output = plan.with_name("model.engine")
    with pytest.raises(OptionError) as error:
        build(plan, None, output, backend=backend, target=target)
    assert not output.exists()
    return str(error.value)


def test_a_plan_of_another_kind_of_graph_is_refused(tmp_path: Path) -> None:
    plan = write_plan(tmp_path, conv_net(), "typed", {})
    assert "whose graphs tensorrt-rtx does not take" in refused(plan, "tensorrt-rtx", "sm89")


@pytest.mark.parametrize(
    ("maker", "other"), [("tensorrt", "tensorrt-rtx"), ("tensorrt-rtx", "tensorrt")]
)
def test_typed_plans_of_tensorrt_and_tensorrt_rtx_are_interchangeable(
    maker: str, other: str, tmp_path: Path
) -> None:
    asked = {"t0": "int8", "t2": "fp16"}
    build_with = {"tf32": "false"}
    path = write_plan(tmp_path, residual_net(), "typed-half", asked, build_with, maker=maker)
    plan = read_plan(path)
    own = materialize(plan, path.with_name("small.onnx"), None)
    place = handed_over(plan, own.target, other)
    assert (own.target.backend.name, place.backend.name) == (maker, other)
    assert place.options.build == build_with
    assert place.factory(place.options).form_named("typed-half") is TYPED_HALF
    assert (place.space, place.scheme) == (own.target.space, own.target.scheme)
    onnx = build(path, None, tmp_path / "model.onnx", backend=other)
    assert onnx.verdict == "identical"
    assert onnx.sha256 == plan.recipe.materialised_sha256


def test_without_a_gpu_the_way_to_build_for_one_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    plan = write_plan(tmp_path, residual_net(), "typed-half", {"t0": "int8"})
    said = refused(plan, "tensorrt-rtx", None)
    here = "precsearch build PLAN --backend tensorrt-rtx --target sm89"
    assert (here if installed() else "pip install 'precsearch[tensorrt-rtx]'") in said


def test_an_engine_of_another_backend_that_takes_no_such_graph_is_refused(
    tmp_path: Path,
) -> None:
    plan = write_plan(tmp_path, conv_net(), "typed-half", {})
    assert "onnxruntime does not take (it builds its own" in refused(plan, "onnxruntime", None)
    plan = write_plan(tmp_path, conv_net(), "weak", {})
    assert "tensorrt-rtx does not take" in refused(plan, "tensorrt-rtx", None)


def test_a_target_needs_a_backend_that_builds_ahead(tmp_path: Path) -> None:
    plan = write_plan(tmp_path, conv_net(), "typed-half", {})
    assert "add --backend tensorrt-rtx" in refused(plan, None, "sm89")
    assert "such as sm89, not 'rtx'" in refused(plan, "tensorrt-rtx", "rtx")
    assert "no backend 'nothing'" in refused(plan, "nothing", "sm89")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"timing_iterations": "3"}, "no build option 'timing_iterations'"),
        ({"target": "8.9"}, "a compute capability such as sm89"),
        ({"tf32": "perhaps"}, "true or false"),
    ],
)
def test_options_without_a_meaning_there_are_refused(given: Mapping[str, str], said: str) -> None:
    with pytest.raises(OptionError, match=said):
        RtxOptions.of(given)


def test_a_backend_for_a_target_declares_what_it_builds() -> None:
    made = TensorRtRtxBackend(BackendOptions(build={"target": "SM89", "tf32": "false"}))
    assert isinstance(made, BuildsAhead)
    assert (made.target, made.knobs.tf32, made.form) == ("sm89", False, TYPED_HALF)
    assert [m.name for m in made.fp32_modes()] == ["strict", "tf32"]
    assert made.scheme_named("trt-s8s8").name == "trt-s8s8"
    assert not {"ConvTranspose", "AveragePool"} & {op for op, _ in made.scheme.formats}
    with pytest.raises(OptionError, match="only from typed-half"):
        made.form_named("weak")


def test_a_precision_that_the_target_lacks_is_named_with_what_it_needs() -> None:
    old, new = (
        TensorRtRtxBackend(BackendOptions(build={"target": target})) for target in ("sm75", "sm80")
    )
    every = TensorRtRtxBackend.precisions
    assert old.unavailable({FP16, INT8}) == new.unavailable(every - {Precision.FP8}) == ""
    said = "needs compute capability 8.0, and engines are built for 7.5"
    assert old.unavailable(every) == f"bf16 {said}"
    assert "fp8 needs compute capability 8.9" in new.unavailable(every)
    assert old.unavailable({Precision.INT4}) == f"int4 {said}"


def lowered(asked: Mapping[str, Precision]) -> Lowered:
    return Lowered(SerializedModel(()), "", {}, asked, {n: f"group {n}" for n in "abcdef"}, {})


def test_layers_that_run_in_another_precision_than_requested_are_reported() -> None:
    made = lowered({"a": INT8, "b": FP16})
    assert asked_and_ran(made, {"a": INT8, "b": FP16, "c": FP32, "d": None}) == ()
    (line,) = asked_and_ran(made, {"a": FP16, "b": FP16, "c": FP16})
    assert "'group a': asked int8, runs fp16; 'group c': asked fp32, runs fp16" in line
    (line,) = asked_and_ran(made, dict.fromkeys("abcde", INT8))
    assert line.endswith("and 1 more")


def test_attention_that_is_no_longer_fused_is_reported() -> None:
    assert fused_attention((0, 0)) == ()
    assert fused_attention((6, 6)) == ("each of 6 attention cores runs in one kernel",)
    (line,) = fused_attention((1, 6))
    assert line.startswith("1 of 6 attention cores run in one kernel")


@pytest.mark.parametrize("asked", [{}, {"t0": "fp16"}, {"t0": "int8"}])
def test_a_plan_that_uses_fewer_precisions_than_were_offered_replays(
    asked: dict[str, str], tmp_path: Path
) -> None:
    """A residual Add has a group of its own for the sake of INT8, which this plan may not use."""
    plan = write_plan(tmp_path, residual_net(), "typed-half", asked)
    found = export(plan, None, "polygraphy", tmp_path / "out")
    assert found.identical
    assert any(g.key.endswith("//branch") for g in read_plan(plan).recipe.groups)
