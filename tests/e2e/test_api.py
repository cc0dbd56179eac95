"""The same from Python, from a script that guards nothing with ``if __name__ == "__main__"``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import precsearch
from tests.e2e.command import HOLDOUT, LIMIT_S, MODEL, few_samples, processes
from tests.e2e.plugins.clocked_backend import install

SCRIPT = """
import sys, precsearch
assert not {"onnxruntime", "optuna", "tensorrt"} & set(sys.modules)
plan = precsearch.optimize(
    sys.argv[1], data=sys.argv[2], tol=0.1, strategy="uniform", threads=1, output="p.json",
    backend="clocked",
).plan
assert plan == precsearch.read_plan("p.json")
made = precsearch.build("p.json", sys.argv[1], "fast.onnx")
assert (made.verdict, made.sha256) == ("identical", plan.recipe.materialised_sha256)
report = precsearch.verify("p.json", sys.argv[1], sys.argv[3])
assert report.loss <= 0.1 and report.passed != report.slower, report.lines
print(report.ratio, made.size)
"""


def test_optimize_build_verify_in_a_plain_script(tmp_path: Path) -> None:
    data = few_samples(tmp_path / "few.npz", 32)
    held = few_samples(tmp_path / "held.npz", 32, HOLDOUT)
    before = processes()
    done = subprocess.run(
        [sys.executable, "-", str(MODEL), str(data), str(held)],
        input=SCRIPT,
        cwd=tmp_path,
        env=install(tmp_path),
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    ratio, size = done.stdout.split()
    assert float(ratio) > 0
    assert int(size) == (tmp_path / "fast.onnx").stat().st_size
    left = processes().keys() - before.keys()
    assert not [p for p in left if str(tmp_path) in processes().get(p, "")]


def test_mistakes_are_exceptions_of_one_tree(tmp_path: Path) -> None:
    data = few_samples(tmp_path / "few.npz")
    out: dict[str, Any] = {"output": tmp_path / "p.json", "data": data}
    with pytest.raises(precsearch.ModelError, match="there is no model file"):
        precsearch.optimize(tmp_path / "no.onnx", **out)
    with pytest.raises(precsearch.DataError):
        precsearch.optimize(MODEL, **{**out, "data": tmp_path / "no.npz"})
    with pytest.raises(precsearch.OptionError, match="fp16"):
        precsearch.optimize(MODEL, **out, precisions=(precsearch.Precision.FP16,))
    with pytest.raises(precsearch.OptionError, match="no strategy"):
        precsearch.optimize(MODEL, **out, strategy="none")
    with pytest.raises(TypeError, match="tolerance"):
        precsearch.optimize(MODEL, **{**out, "tolerance": 0.1})
    with pytest.raises(precsearch.PlanError, match="cannot be read"):
        precsearch.build(tmp_path / "no.json", MODEL, tmp_path / "out.onnx")
    (tmp_path / "out.onnx").touch()
    with pytest.raises(precsearch.OutputError, match="exists already"):
        precsearch.build(tmp_path / "no.json", MODEL, tmp_path / "out.onnx")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["few.npz", "out.onnx"]


def test_a_bound_below_fp32_itself_is_an_error_with_the_reason(tmp_path: Path) -> None:
    data = few_samples(tmp_path / "few.npz")
    with pytest.raises(precsearch.PrecsearchError, match="the FP32 engine itself is off by"):
        precsearch.optimize(
            MODEL, data=data, tol=1e-9, output=tmp_path / "p.json", strategy="uniform"
        )
    assert not (tmp_path / "p.json").exists()


def test_events_can_be_followed_and_left(tmp_path: Path) -> None:
    data = few_samples(tmp_path / "few.npz")
    config = precsearch.OptimizeConfig(MODEL, data, output=tmp_path / "p.json", threads=1)
    events = precsearch.optimize_events(config)
    kinds = [type(next(events)).__name__ for _ in range(3)]
    assert kinds[0] == "RunStarted"
    events.close()
    assert not (tmp_path / "p.json").exists()
    assert (tmp_path / "p.precsearch/journal.jsonl").exists()
