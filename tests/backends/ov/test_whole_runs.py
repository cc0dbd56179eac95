"""A search, its plan and its engine with OpenVINO, and what such a run leaves behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import precsearch
from precsearch.core.precision import Precision
from tests.backends.ov.clocked_openvino import install
from tests.hostile.situations.world import write_world
from tests.reference.test_telemetry import left


@pytest.mark.slow
def test_a_plan_is_searched_built_and_verified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_world(tmp_path)
    name, model, data = (
        install(tmp_path, monkeypatch),
        tmp_path / "model.onnx",
        tmp_path / "data.npz",
    )
    plan = precsearch.optimize(
        model,
        data=data,
        backend=name,
        tol=9.0,
        threads=1,
        max_builds=3,  # FP32, 16 bits where this processor has them, and INT8
        output=tmp_path / "p.json",
        build_options={"streams": "1", "pinning": "false"},
    ).plan
    assert plan.recipe.options == {"pinning": "false", "streams": "1", "threads": 1}
    assert "openvino" in plan.evidence.fingerprint.versions
    asked = {g.key for g in plan.recipe.groups if g.precision is Precision.INT8}
    ran = {g.key: g.achieved for g in plan.evidence.groups}
    assert asked
    assert {ran[key] for key in asked} == {Precision.INT8}
    built = precsearch.build(tmp_path / "p.json", model, tmp_path / "m.engine")
    assert built.verdict == "identical", built.lines
    checked = precsearch.verify(
        tmp_path / "p.json", model, data=data, artifact=tmp_path / "m.engine", tol=9.0
    )
    assert checked.passed


PLAIN = "import openvino"


@pytest.mark.slow
def test_openvino_reports_nothing_and_leaves_nothing_in_a_fresh_home(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    if not left(tmp_path / "plain", [sys.executable, "-c", PLAIN]):
        pytest.skip("this OpenVINO has no telemetry")
    write_world(tmp_path)
    line = "optimize model.onnx --data data.npz --tol 9 --threads 1 --backend openvino"
    words = [*line.split(), "--strategy", "uniform", "--max-builds", "1"]
    assert left(tmp_path, [sys.executable, "-m", "precsearch", *words]) == []


def test_telemetry_is_only_hidden_while_openvino_is_loaded() -> None:
    code = (
        "from precsearch.backends.openvino.runtime import import_openvino as load\n"
        "import sys; load(); assert 'openvino_telemetry' not in sys.modules\n"
        "from openvino.tools.ovc import telemetry_utils as t; print(t.tm.__name__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    )
    assert done.stdout.strip() == "openvino.tools.ovc.telemetry_stub"
