"""Several tolerances in one command, on made-up times."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from precsearch.core.events import SearchStarted, TrialFinished
from precsearch.plan.plan import read_plan
from precsearch.search.journal import read
from tests.e2e.command import MODEL, few_samples, run
from tests.e2e.plugins.clocked_backend import install


@pytest.mark.slow
def test_each_bound_gets_a_plan_and_nothing_is_measured_twice(tmp_path: Path) -> None:
    data = few_samples(tmp_path / "few.npz", 16)
    words = ["optimize", str(MODEL), "--data", str(data), "--threads", "1"]
    words += ["--backend", "clocked", "--no-corrections"]
    env = install(tmp_path)
    words += ["--tol", "1e-1,2e-2", "--max-builds", "3", "--json"]
    done = run(*words, cwd=tmp_path, env=env)
    assert done.returncode == 0, done.stderr
    results = [r for s in done.stdout.splitlines() if (r := json.loads(s))["type"] == "Result"]
    plans = [tmp_path / f"model.tol{t}.plan.json" for t in ("2e-2", "1e-1")]
    assert [Path(r["plan"]).name for r in results] == [p.name for p in plans]
    assert [read_plan(p).criteria.tolerance for p in plans] == [0.02, 0.1]

    journals = [list(read(tmp_path / f"model.tol{t}.precsearch")) for t in ("2e-2", "1e-1")]
    tight, wide = ([e.trial for e in es if isinstance(e, TrialFinished)] for es in journals)
    (started,) = (e for e in journals[1] if isinstance(e, SearchStarted))
    assert started.earlier == len(tight)
    assert [t.outcome for t in wide[: len(tight)]] == [t.outcome for t in tight]
    assert len({t.proposal for t in wide}) == len(wide)
    assert any("of earlier runs are taken over" in w for w in read_plan(plans[1]).evidence.warnings)

    before = [p.read_bytes() for p in plans]
    again = run(*words, "--resume", cwd=tmp_path, env=env)
    assert again.returncode == 0, again.stderr
    assert [p.read_bytes() for p in plans] == before
