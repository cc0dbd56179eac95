"""An engine that takes the worker down with it is a failed trial; the search goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from precsearch.core.events import TrialFinished
from precsearch.core.trial import Failed
from precsearch.plan.plan import read_plan
from precsearch.search.journal import read
from tests.e2e.command import MODEL, few_samples, run
from tests.e2e.plugins.frail_backend import install


@pytest.mark.parametrize(
    ("how", "stage", "kind", "said"),
    [
        ("segfault", "build", "crash", "SIGSEGV"),
        ("memory", "build", "memory", "out of memory: bad_alloc"),
    ],
)
def test_the_search_goes_on(how: str, stage: str, kind: str, said: str, tmp_path: Path) -> None:
    env = install(tmp_path, how)
    data = few_samples(tmp_path / "few.npz")
    args = (
        "--tol",
        "0.1",
        "--strategy",
        "uniform",
        "--threads",
        "1",
        "--backend",
        "frail",
        "--no-corrections",
    )
    done = run("optimize", MODEL, "--data", data, *args, "-o", tmp_path / "p.json", env=env)
    assert done.returncode == 0, done.stderr
    trials = [e.trial for e in read(tmp_path / "p.precsearch") if isinstance(e, TrialFinished)]
    failed = [t.outcome for t in trials if isinstance(t.outcome, Failed)]
    assert [(f.stage, f.kind) for f in failed] == [(stage, kind)]
    assert said in failed[0].message
    plan = read_plan(tmp_path / "p.json")
    assert plan.recipe.backend == "frail"
    assert plan.recipe.assignment.entries, "what did not fail is as fast as ever"
    told = [t.failed for t in plan.evidence.trials if t.failed]
    assert len(told) == 1
    assert told[0].startswith(f"{stage}/{kind}: ")
    assert said in told[0]
