"""Conclusions about models with an unstable output, several outputs, or nothing to search."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from precsearch.api import OptimizeConfig, OptimizeResult, optimize_events
from tests.e2e.plugins.case_models import detector, greedy_decoder, merged_decoder, pictures
from tests.e2e.plugins.clocked_backend import here


def searched(folder: Path, tol: float, builds: int = 8) -> OptimizeResult:
    steps = optimize_events(
        OptimizeConfig(
            folder / "model.onnx",
            data=folder / "data.npz",
            holdout=folder / "holdout.npz",
            tol=tol,
            threads=1,
            max_builds=builds,
            backend="clocked",
            corrections=(),
            output=folder / f"{tol}.json",
        )
    )
    while True:
        try:
            next(steps)
        except StopIteration as end:  # noqa: PERF203 - how a generator returns
            found: OptimizeResult = end.value
            return found


@pytest.fixture
def clocked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    here(tmp_path, monkeypatch)
    pictures(tmp_path / "data.npz", 5, 40)
    pictures(tmp_path / "holdout.npz", 6, 20)
    return tmp_path


def test_a_wider_bound_is_not_slower_where_a_token_flips_on_the_holdout(clocked: Path) -> None:
    greedy_decoder(clocked / "model.onnx")
    tight, wide = searched(clocked, 5e-3), searched(clocked, 5e-2)
    assert tight.plan is not None
    assert wide.plan is not None
    for found in (tight.plan, wide.plan):
        assert found.evidence.holdout is not None
        assert found.evidence.holdout.loss <= found.criteria.tolerance
    noise = wide.plan.evidence.noise
    assert wide.plan.evidence.latency.ratio <= tight.plan.evidence.latency.ratio * (1 + noise)
    for result in (tight, wide):
        assert result.plan is not None
        missed = [f for f in result.plan.evidence.finalists if not f.passed]
        assert any("missed it on the holdout" in s for s in result.summary) == bool(missed)
        assert bool(result.plan.evidence.continued) <= bool(missed)


def test_the_output_that_misses_is_named(clocked: Path) -> None:
    detector(clocked / "model.onnx")
    result = searched(clocked, 5e-2, builds=4)
    said = " ".join(result.summary)
    assert "misses it at the outputs 'boxes' (" in said, said


def test_layers_inside_an_if_are_named_where_there_is_nothing_else(clocked: Path) -> None:
    _, data = merged_decoder(clocked / "model.onnx")
    for name in ("data.npz", "holdout.npz"):
        np.savez(clocked / name, **data)  # type: ignore[arg-type]
    result = searched(clocked, 3e-2)
    assert result.summary == (
        "FP32 is the answer: no group of this model has a lower precision here. 8 layers (8 "
        "MatMul) are inside of If 'logits', where precsearch does not search: they stay as they "
        "are.",
    )
