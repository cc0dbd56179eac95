"""A plan that is edited by hand builds, says that nobody measured it, and is measured by verify."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from precsearch import api
from precsearch.core.errors import InputError
from precsearch.core.precision import Precision
from tests.hostile.situations.world import write_world


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_world(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_edited_plan_is_valid_and_builds(world: Path) -> None:
    before = api.load_plan("plan.json")
    report = api.edit("plan.json", {"op:MatMul": "fp32"}, "edited.json", model="model.onnx")
    after = api.load_plan("edited.json")
    assert after.digest == report.digest != before.digest
    assert after.notes == ()
    changed = {g.key: g.precision for g in after.recipe.groups if g.kind == "matmul"}
    assert set(changed.values()) == {Precision.FP32}
    assert list(report.changed.values()) == [(Precision.INT8, Precision.FP32)]
    assert len(after.recipe.scales) < len(before.recipe.scales)
    built = api.build("edited.json", "model.onnx", "edited.onnx")
    assert built.sha256 == after.recipe.materialised_sha256


def test_the_evidence_of_an_edited_plan_says_that_it_was_not_measured(world: Path) -> None:
    api.edit("plan.json", {"op:MatMul": "fp32"}, "edited.json", model="model.onnx")
    evidence = api.load_plan("edited.json").evidence
    assert math.isnan(evidence.latency.ratio)
    assert math.isnan(evidence.accuracy.loss)
    assert evidence.latency.unsure == ("edited by hand and not measured since",)
    assert evidence.warnings[0].startswith("edited by hand")
    assert "set to fp32 by hand, was int8" in {g.reason for g in evidence.groups}


def test_an_impossible_edit_is_refused(world: Path) -> None:
    for changes, said in (
        ({"op:MatMult": "fp32"}, "matches nothing"),
        ({"op:MatMul": "int8"}, "changes nothing"),
        ({"op:MatMul": "fp12"}, "PATTERN=PRECISION"),
        ({"op:MatMul": "fp16"}, "does not run fp16; use one of fp32, int8"),
    ):
        with pytest.raises(InputError, match=said):
            api.edit("plan.json", changes, "edited.json", model="model.onnx")
    api.edit("plan.json", {"op:MatMul": "fp32"}, "edited.json", model="model.onnx")
    with pytest.raises(InputError, match="lacks the scale"):
        api.edit("edited.json", {"op:MatMul": "int8"}, "again.json", model="model.onnx")
    assert not (world / "again.json").exists()
