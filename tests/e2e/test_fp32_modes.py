"""TF32 is an engine of its own: the gate is tried again without it, and speeds say what FP32 is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

import precsearch
from precsearch.api import OptimizeConfig, OptimizeResult
from precsearch.cli.output.optimize import optimize_lines, result_fields
from precsearch.cli.output.page import Page
from precsearch.core.events import Event, SearchStarted, Warned
from precsearch.formatting import UNICODE
from precsearch.report.page import run_page
from precsearch.report.run_record import Story
from tests.e2e.plugins.coarse_backend import OFF, here
from tests.graph.small_graphs import GraphBuilder, linear

NONE: Mapping[str, str] = {}


def config(
    folder: Path, tol: float, build: Mapping[str, str] = NONE, **more: object
) -> OptimizeConfig:
    path = folder / "model.onnx"
    if not path.exists():
        b = GraphBuilder()
        first = linear(b, b.input(["n", 64], name="x"), 64, 64)
        b.output(linear(b, b.op("Relu", first), 64, 64))
        onnx.save(b.model(), path)
        rng = np.random.default_rng(0)
        np.savez(folder / "data.npz", x=rng.standard_normal((32, 64)).astype(np.float32))
    return OptimizeConfig(
        path,
        folder / "data.npz",
        tol,
        backend="coarse",
        corrections=(),
        threads=1,
        max_builds=3,
        strategy="uniform",
        output=folder / "plan.json",
        build_options=build,
        **more,  # type: ignore[arg-type]
    )


def run(asked: OptimizeConfig) -> tuple[OptimizeResult, list[Event]]:
    results: list[OptimizeResult] = []

    def through() -> Iterator[Event]:
        results.append((yield from precsearch.optimize_events(asked)))

    events = list(through())
    return results[0], events


def said(events: list[Event]) -> str:
    return "\n".join(e.message for e in events if isinstance(e, Warned))


def mode(events: list[Event]) -> str:
    return next(e.fp32 for e in events if isinstance(e, SearchStarted))


@pytest.mark.parametrize("compiles", [False, True])
def test_a_gate_that_tf32_fails_is_tried_again_in_strict_fp32_and_the_search_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compiles: bool
) -> None:
    here(tmp_path, monkeypatch, compiles=compiles)
    asked = config(tmp_path, OFF / 2)
    result, events = run(asked)
    assert result.plan is not None
    coarse, strict = result.plan.evidence.fp32
    assert (coarse.mode, coarse.passed, coarse.baseline) == ("tf32", False, False)
    assert (strict.mode, strict.passed, strict.baseline) == ("strict", True, True)
    assert coarse.loss == pytest.approx(OFF, rel=1e-2)
    assert strict.loss < 1e-5
    assert coarse.seconds == pytest.approx(strict.seconds / 2)
    assert result.plan.recipe.options["tf32"] == "false", "a replay computes the same"
    assert mode(events) == "strict"
    assert "FP32 is strict FP32 here: TF32 is off by 0.02 (rel-l2), the bound is 0.01" in said(
        events
    )
    engines = [t.loss for t in result.plan.evidence.trials if t.fidelity == "engine"]
    assert engines[0] is not None
    assert engines[0] < 1e-5, "FP32's trial is strict"
    assert precsearch.read_plan(tmp_path / "plan.json") == result.plan
    report = precsearch.verify(tmp_path / "plan.json", asked.model, asked.data)
    assert report.loss < OFF
    assert "speeds are relative to strict FP32, as the plan's are" in report.lines


def test_tf32_within_the_bound_is_fp32_and_named_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here(tmp_path, monkeypatch)
    asked = config(tmp_path, OFF * 3)
    result, events = run(asked)
    assert result.plan is not None
    (only,) = result.plan.evidence.fp32
    assert (only.mode, only.baseline) == ("tf32", True)
    assert result.plan.recipe.options["tf32"] == "true", "a plan does not hang on a default"
    assert (mode(events), said(events).count("FP32 is")) == ("tf32", 0)


def test_speeds_name_the_fp32_mode_that_they_are_relative_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here(tmp_path, monkeypatch)
    asked = config(tmp_path, OFF * 3)
    result, _ = run(asked)
    assert result.plan is not None
    assert result.plan.recipe.assignment.entries, "INT8 is faster by this backend's clock"
    lines = [line.plain for line in optimize_lines(asked, result, Page(100, UNICODE))]
    assert "TF32's speed" in lines[0]
    assert any(line.split()[:2] == ["FP32", "TF32:"] for line in lines)
    fields = result_fields(result)["fp32"]
    assert isinstance(fields, list)
    assert [(f["mode"], f["baseline"]) for f in fields] == [("tf32", True)]
    assert "TF32&#39;s speed" in run_page(Story("model.onnx", plan=result.plan))


def test_a_mode_that_the_user_has_chosen_is_the_only_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here(tmp_path, monkeypatch)
    result, events = run(config(tmp_path, OFF / 2, {"tf32": "true"}))
    assert (result.plan, result.met) == (None, False)
    assert not any(isinstance(e, SearchStarted) for e in events)
    assert "each way" not in " ".join(result.summary)
    result, events = run(config(tmp_path, OFF / 2, {"tf32": "false"}, force=True))
    assert mode(events) == "strict"
    assert result.plan is not None
    assert [e.mode for e in result.plan.evidence.fp32] == ["strict"]


def test_where_strict_fp32_misses_the_bound_too_both_losses_are_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here(tmp_path, monkeypatch, strict_off=0.015)
    result, _ = run(config(tmp_path, OFF / 2))
    assert result.plan is None
    assert "off by 0.02 in TF32, 0.015 in strict FP32" in " ".join(result.summary)


def test_a_device_with_one_way_to_compute_fp32_calls_it_strict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here(tmp_path, monkeypatch, alone=True)
    result, events = run(config(tmp_path, OFF * 3))
    assert mode(events) == "strict"
    assert result.plan is not None
    assert len(result.plan.evidence.fp32) == 1


def test_a_resumed_search_goes_on_in_the_mode_that_it_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here(tmp_path, monkeypatch)
    run(config(tmp_path, OFF / 2))
    again = replace(config(tmp_path, OFF / 2, resume=True), max_builds=4)
    result, events = run(again)
    assert mode(events) == "strict"
    assert result.plan is not None
    assert [e.mode for e in result.plan.evidence.fp32] == ["strict"]


def test_a_backend_with_one_unnamed_way_to_compute_fp32_names_none(tmp_path: Path) -> None:
    asked = config(tmp_path, 0.05)
    result, events = run(OptimizeConfig(**{**asked.__dict__, "backend": "onnxruntime"}))
    assert mode(events) == ""
    assert result.plan is not None
    assert result.plan.evidence.fp32 == ()
    lines = [line.plain for line in optimize_lines(asked, result, Page(100, UNICODE))]
    assert "strict" not in lines[0]
