"""Several metrics in one command: an engine is measured once and scored by each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from precsearch.core.events import TrialFinished
from precsearch.core.trial import Trial
from precsearch.search.journal import read
from tests.e2e.plugins.clocked_backend import diary, here
from tests.optimization.unequal import searched, unequal
from tests.rewrites.scalable_models import CHANNELS

METRICS = ("rel-l2", "cosine")


def trials(run: str) -> list[Trial]:
    return [e.trial for e in read(run) if isinstance(e, TrialFinished)]


def losses(run: str) -> dict[str, float]:
    rows = [t for t in trials(run) if t.measurement is not None]
    return {t.assignment.digest: t.measurement.accuracy.loss for t in rows if t.measurement}


def test_a_loss_is_the_same_taken_over_or_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here(tmp_path, monkeypatch)
    monkeypatch.chdir(tmp_path)
    onnx.save(unequal(), "model.onnx")
    rng = np.random.default_rng(0)
    np.savez("data.npz", x=rng.normal(0, 1, (16, CHANNELS, 8, 8)).astype(np.float32))

    def run(name: str, **options: Any) -> Any:
        return searched(output=Path(f"{name}.json"), run_dir=Path(name), **options)

    first = run("first", metrics=METRICS)
    lowered = [p.name for p in Path("first").glob("corrections-*.json")]
    built = len([d for d in diary(tmp_path / "clocked" / "diary") if d.what == "build"])
    taken = run("taken", metric="cosine", tol=1e-3, metrics=METRICS, warm_start=(Path("first"),))
    more = len([d for d in diary(tmp_path / "clocked" / "diary") if d.what == "build"]) - built
    alone = run("alone", metric="cosine", tol=1e-3)
    assert (first.criteria.metric, taken.criteria.metric) == METRICS
    assert first.recipe == taken.recipe == alone.recipe
    assert losses("taken") == losses("alone") != losses("first")
    assert [p.name for p in Path("taken").glob("corrections-*.json")] == lowered
    assert {t.proposal.reason.partition(":")[0] for t in trials("taken")} == {
        "measured by an earlier run"
    }
    assert more < built, "only FP32 and the finalist are opened again"
