"""Flags of the command line with real engines: what each one changes in the plan."""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from precsearch.cli.main import run
from precsearch.core.precision import Precision
from precsearch.plan.plan import Plan, read_plan
from tests.hostile.situations.world import data_bytes, write_world

ROOT = Path(__file__).parents[3]
METRICS = """
import numpy as np

def worst(outputs, reference, labels):
    return max(float(np.abs(o["y"] - r["y"]).max()) for o, r in zip(outputs, reference))

def each(outputs, reference, labels):
    return [float(np.abs(o["y"] - r["y"]).mean()) for o, r in zip(outputs, reference)]
"""
SCRIPT = """
import numpy as np

def load_data():
    for i in range(12):
        yield {"x": np.full((1, 1, 8, 8), i, np.float32)}
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_world(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def optimized(line: str, code: int = 0) -> Plan:
    """The plan that a short search with these flags writes."""
    given = "optimize model.onnx --tol 9 --threads 1 --strategy uniform --no-corrections --force"
    assert run(f"{given} -o p.json {line}".split()) == code
    return read_plan("p.json")


def polygraphy() -> str:
    rows = []
    for i in range(12):
        stream = io.BytesIO()
        np.save(stream, np.full((1, 1, 8, 8), i, np.float32))
        text = base64.b64encode(stream.getvalue()).decode()
        rows.append({"x": {"array": text, "polygraphy_class": "ndarray"}})
    return json.dumps(rows)


def test_metric_from_a_file_and_from_a_module(here: Path) -> None:
    (here / "my_losses.py").write_text(METRICS)
    found = optimized("--data data.npz --metric my_losses.py:worst --max-builds 1")
    assert found.criteria.metric == "my_losses.py:worst"
    assert found.evidence.accuracy.per_sample == ()
    found = optimized("--data data.npz --metric my_losses:each --max-builds 1")
    assert found.criteria.metric == "my_losses:each"
    assert len(found.evidence.accuracy.per_sample) == 8
    assert len(found.evidence.trials) == 1


def test_the_same_samples_from_a_script_from_polygraphy_and_from_a_folder(here: Path) -> None:
    (here / "samples.py").write_text(SCRIPT)
    (here / "samples.json").write_text(polygraphy())
    (here / "samples").mkdir()
    for i in range(12):
        content = data_bytes(x=np.full((1, 1, 8, 8), i, np.float32))
        (here / "samples" / f"{i:02}.npz").write_bytes(content)
    names = ("samples.py", "samples.json", "samples")
    plans = [optimized(f"--data {name} --max-builds 1") for name in names]
    for found in plans:
        assert found.criteria.data == plans[0].criteria.data
        assert found.criteria.data["random"] is False
        assert found.criteria.data["search_samples"] == 6


def test_calibration_holdout_and_method(here: Path) -> None:
    (here / "c.npz").write_bytes(data_bytes(x=np.ones((5, 1, 8, 8), np.float32)))
    (here / "h.npz").write_bytes(data_bytes(x=np.ones((7, 1, 8, 8), np.float32)))
    line = "--data data.npz --calibration c.npz --holdout h.npz --calibration-method mse"
    found = optimized(line)
    assert found.evidence.calibration == "mse"
    assert found.criteria.data["calibration_samples"] == 5
    assert found.criteria.data["holdout_samples"] == 7
    assert found.evidence.holdout is not None


def test_shape_batch_granularity_threads_and_precisions(here: Path) -> None:
    line = "--data data.npz --batch 4 --granularity node --precisions fp32"
    found = optimized(line)
    assert found.recipe.granularity == "node"
    assert len(found.recipe.groups) == 4
    assert found.recipe.options["threads"] == 1
    assert {g.precision for g in found.recipe.groups} == {Precision.FP32}
    assert "4" in json.dumps(json.loads((here / "p.json").read_text())["recipe"]["shapes"])
    found = optimized("--input-shape x:2x1x8x8 --threads 2 --max-builds 1")
    assert found.recipe.options["threads"] == 2
    assert found.criteria.data["random"] is True
    assert any("no --data was given" in w for w in found.evidence.warnings)


def test_one_seed_one_split_one_set_of_losses(here: Path) -> None:
    first, again = (optimized("--data data.npz --seed 3 --max-builds 2") for _ in range(2))
    other = optimized("--data data.npz --seed 4 --max-builds 1")
    rows = [[(t.assignment, t.loss) for t in p.evidence.trials] for p in (first, again)]
    assert rows[0] == rows[1]
    assert first.criteria.data == again.criteria.data
    assert first.criteria.data["holdout"] != other.criteria.data["holdout"]
    assert first.criteria.seed == 3


def test_artifact_run_dir_and_time_budget(here: Path) -> None:
    found = optimized("--data data.npz --artifact a.onnx --run-dir r --time-budget 30s")
    assert (here / "r" / "journal.jsonl").stat().st_size > 0
    assert run(["build", "p.json", "--model", "model.onnx", "-o", "b.onnx"]) == 0
    assert (here / "a.onnx").read_bytes() == (here / "b.onnx").read_bytes()
    assert found.evidence.stopped in ("done", "time")


@pytest.mark.parametrize("strategy", ["bisection", "tpe", "auto"])
def test_strategies(here: Path, strategy: str) -> None:
    line = f"--data data.npz --strategy {strategy} --max-builds 3"
    found = optimized(line)
    assert found.evidence.strategy == strategy
    engines = [t for t in found.evidence.trials if t.fidelity == "engine"]
    assert 1 <= len(engines) <= 3


def test_an_fp32_engine_that_is_off_ends_with_3(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = np.zeros((16, 3), np.float32)
    x = np.random.default_rng(0).normal(size=(16, 1, 8, 8)).astype(np.float32)
    (here / "d.npz").write_bytes(data_bytes(x=x, __ref__y=wrong + 1000))
    line = "optimize model.onnx --data d.npz --tol 1e-3 --threads 1 -o p.json"
    assert run(line.split()) == 3
    out = capsys.readouterr().out
    assert "nothing within rel-l2" in out
    assert "the FP32 engine itself is off by" in out
    assert not (here / "p.json").exists()


def test_verify_with_another_tolerance_ends_with_4(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = "verify plan.json --model model.onnx --data data.npz --threads 1 --tol 1e-6"
    assert run(line.split()) == 4
    assert "not verified: the loss is not within rel-l2" in capsys.readouterr().out
    line = "verify plan.json --model model.onnx --threads 1 --tol 0.9"
    assert run(line.split()) in (0, 4), "INT8 may be slower in so small a model"
    assert "no --data was given" in " ".join(capsys.readouterr().out.split())


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_a_full_disk_leaves_nothing_behind(here: Path) -> None:
    before = sorted(p.name for p in here.iterdir())
    command = f"{sys.executable} -m precsearch.cli.main build plan.json --model model.onnx"
    done = subprocess.run(
        ["bash", "-c", f"ulimit -f 1; exec {command} -o new.onnx"],  # files of at most 1 KiB
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'strategies'}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: 'new.onnx' cannot be written: File too large")
    assert sorted(p.name for p in here.iterdir()) == before


def test_a_dry_run_estimates_and_writes_nothing(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(here.rglob("*"))
    line = "optimize model.onnx --data data.npz --threads 1 --dry-run --json"
    assert run(line.split()) == 0
    found = json.loads(capsys.readouterr().out)
    least, likely, most = found["builds"]
    assert 1 <= least <= likely <= most
    assert found["engine_seconds"] > 0
    assert found["groups"] >= sum(found["choices"].values()) > 0
    line = "optimize model.onnx --threads 1 --dry-run --strategy tpe --max-builds 7"
    assert run(line.split()) == 0
    shown = capsys.readouterr().out
    assert "nothing was searched or written" in shown
    assert "--max-builds allows 7" in " ".join(shown.split())
    assert sorted(here.rglob("*")) == before
