"""`verify` on made-up times: what is faster passes, and what is slower here does not."""

from __future__ import annotations

from pathlib import Path

from precsearch.plan.plan import read_plan
from tests.e2e.command import MODEL, few_samples, run
from tests.e2e.plugins.clocked_backend import install


def test_a_plan_that_is_slower_elsewhere_is_not_verified_there(tmp_path: Path) -> None:
    env = install(tmp_path)
    data = few_samples(tmp_path / "few.npz", 16)
    args = ("--tol", "0.1", "--strategy", "uniform", "--threads", "1", "--backend", "clocked")
    line = ("optimize", MODEL, "--data", data, *args, "--no-corrections")
    done = run(*line, "-o", tmp_path / "p.json", env=env)
    assert done.returncode == 0, done.stderr
    plan = read_plan(tmp_path / "p.json")
    assert plan.recipe.assignment.entries, "INT8 is faster"
    check = ("verify", tmp_path / "p.json", "--model", MODEL, "--data", data)
    done = run(*check, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "verified, within rel-l2 ≤ 0.1" in done.stdout
    done = run(*check, env=install(tmp_path, slower=True))
    assert done.returncode == 4, done.stdout + done.stderr
    assert "not verified: it is slower than FP32 on this machine" in done.stdout
