"""A plan names its engine's tactics; `build` and `verify` take them where they mean something."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import pytest

import precsearch
from precsearch.api.config import OptimizeConfig
from precsearch.api.run import optimize_events
from precsearch.errors import PlanError
from precsearch.plan import Plan, read_plan
from tests.diagnose.sick_models import SHAPE, overflowing
from tests.trt.choosing_backend import BUILT, DRIVER, install

ROOT = Path(__file__).parents[2]
PLAN, MODEL = "model.plan.json", "model.onnx"


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """Made by a backend that never chooses the same kernel twice."""
    install(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.chdir(tmp_path)
    onnx.save(overflowing(), MODEL)
    np.savez("data.npz", x=np.random.default_rng(0).normal(0, 1, (12, *SHAPE[1:])).astype("f4"))
    config = OptimizeConfig(
        *(Path(MODEL), Path("data.npz"), 1e-1),
        backend="choosing",
        threads=1,
        max_builds=3,
        artifact=Path("first.engine"),
    )
    list(optimize_events(config))
    return read_plan(PLAN)


def kernel(path: str) -> str:
    return Path(path).read_bytes()[:16].decode()


def test_a_build_takes_the_tactics_of_the_plan(plan: Plan) -> None:
    assert f"0x{kernel('first.engine')}" in plan.evidence.tactics.values()
    report = precsearch.build(PLAN, MODEL, "again.engine")
    assert report.verdict == "identical"
    assert report.lines == ()
    assert Path("again.engine").read_bytes() == Path("first.engine").read_bytes()


def test_with_another_driver_they_are_not_taken(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(DRIVER, "2")
    report = precsearch.build(PLAN, MODEL, "again.engine")
    assert report.verdict == "same plan, other kernels"
    assert kernel("again.engine") != kernel("first.engine")
    assert "driver is 2 here, 1 in the plan" in report.lines
    assert "not the plan's tactics: 1 of 1" in report.lines


def test_a_plan_without_tactics_is_built_as_ever(plan: Plan) -> None:
    write(plan, {})
    report = precsearch.build(PLAN, MODEL, "again.engine")
    assert report.verdict == "same plan, other kernels"
    assert not any("tactics" in line for line in report.lines)


def test_verify_measures_the_engine_that_build_builds(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(BUILT, "built.txt")
    assert precsearch.verify(PLAN, MODEL, "data.npz").verdict == "identical"
    built = set(Path("built.txt").read_text().split())
    assert f"0x{kernel('first.engine')}" in built
    assert built <= set(plan.evidence.tactics.values()), "FP32's engine is the search's, too"


def test_a_tactic_that_is_none_is_an_edited_plan(plan: Plan) -> None:
    write(plan, {"key": "0x12"})
    for use in (
        lambda: precsearch.verify(PLAN, MODEL, "data.npz"),
        lambda: precsearch.build(PLAN, MODEL, "again.engine"),
    ):
        with pytest.raises(PlanError, match="the plan's tactic of 'key' is '0x12'"):
            use()


def write(plan: Plan, tactics: dict[str, str]) -> None:
    evidence = dataclasses.replace(plan.evidence, tactics=tactics)
    Path(PLAN).write_text(dataclasses.replace(plan, evidence=evidence).to_json())
