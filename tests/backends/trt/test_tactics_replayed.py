"""A plan names its engine's tactics; `build` and `verify` take them where they mean something."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

import precsearch
from precsearch.core.errors import PlanError
from precsearch.plan.plan import Plan
from tests.backends.trt.stand_in.choosing_backend import BUILT, DRIVER

PLAN, MODEL = "model.plan.json", "model.onnx"


def kernel(path: str) -> str:
    return Path(path).read_bytes()[:16].decode()


def test_a_build_takes_the_tactics_of_the_plan(chosen: Plan) -> None:
    assert f"0x{kernel('first.engine')}" in chosen.evidence.tactics.values()
    report = precsearch.build(PLAN, MODEL, "again.engine")
    assert report.verdict == "identical"
    assert report.lines == ()
    assert Path("again.engine").read_bytes() == Path("first.engine").read_bytes()


def test_with_another_driver_the_tactics_are_not_taken(
    chosen: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(DRIVER, "2")
    report = precsearch.build(PLAN, MODEL, "again.engine")
    assert report.verdict == "same plan, other kernels"
    assert kernel("again.engine") != kernel("first.engine")
    assert "driver is 2 here, 1 in the plan" in report.lines
    assert "not the plan's tactics: 1 of 1" in report.lines


def test_a_plan_without_tactics_is_built_without_them(chosen: Plan) -> None:
    write(chosen, {})
    report = precsearch.build(PLAN, MODEL, "again.engine")
    assert report.verdict == "same plan, other kernels"
    assert not any("tactics" in line for line in report.lines)


def test_verify_measures_the_engine_that_build_builds(
    chosen: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(BUILT, "built.txt")
    assert precsearch.verify(PLAN, MODEL, "data.npz").verdict == "identical"
    built = set(Path("built.txt").read_text().split())
    assert f"0x{kernel('first.engine')}" in built
    assert built <= set(chosen.evidence.tactics.values()), "FP32's engine is the search's, too"


def test_an_invalid_tactic_means_that_the_plan_was_edited(chosen: Plan) -> None:
    write(chosen, {"key": "0x12"})
    for use in (
        lambda: precsearch.verify(PLAN, MODEL, "data.npz"),
        lambda: precsearch.build(PLAN, MODEL, "again.engine"),
    ):
        with pytest.raises(PlanError, match="the plan's tactic of 'key' is '0x12'"):
            use()


def write(plan: Plan, tactics: dict[str, str]) -> None:
    evidence = dataclasses.replace(plan.evidence, tactics=tactics)
    Path(PLAN).write_text(dataclasses.replace(plan, evidence=evidence).to_json())
