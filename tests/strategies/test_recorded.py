"""`auto` on a recorded three-precision landscape: errors by proxy, latency from a table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.landscapes.models import write
from benchmarks.landscapes.record_proxy import SAMPLES, latencies, opened
from benchmarks.landscapes.replay import Landscape, load, replay
from precsearch.core.precision import Precision
from precsearch.core.space import Assignment
from precsearch_strategies import Auto

FP16, INT8 = Precision.FP16, Precision.INT8
RECORD = Path(__file__).parents[2] / "benchmarks" / "landscapes" / "proxy" / "norm.npz"
VARIANCE = "sqrt13"


@pytest.fixture(scope="module")
def landscape() -> Landscape:
    return load(RECORD)


@pytest.mark.parametrize("seed", range(3))
def test_auto_reaches_the_optimum_of_three_precisions(landscape: Landscape, seed: int) -> None:
    problem = landscape.problem(0.2, seed, 40)
    found = replay(landscape, Auto(), problem)
    assert found.builds_to() <= 15
    assert found.curve[-1] <= 1.02
    best = problem.goal.best(found.trials)
    assert best is not None
    assert landscape.passing(problem)[landscape.rows[best.assignment]]
    assert best.assignment[VARIANCE] is Precision.FP32
    assert {FP16, INT8} <= {p for _, p in best.assignment.entries}


def test_screening_names_the_group_that_overflows_and_no_other(landscape: Landscape) -> None:
    assert [(p.key, p.precision, p.avoid) for p in landscape.priors] == [(VARIANCE, FP16, True)]
    passing = landscape.passing(landscape.problem(0.4, 0))
    at_fault = np.array([a[VARIANCE] is FP16 for a in landscape.rows])
    assert not passing[at_fault].any()
    assert passing[~at_fault].mean() > 0.5


def test_the_record_is_what_the_model_gives(landscape: Landscape, tmp_path: Path) -> None:
    case = opened(*write("norm", tmp_path, SAMPLES))
    space = case.space
    assert case.priors == landscape.priors
    some = [
        Assignment(),
        space.uniform(FP16, without=[VARIANCE]),
        space.uniform(FP16),
        *(Assignment.of({g.key: g.choices[-1]}) for g in space.free if not g.passive),
    ]
    rows = [landscape.rows[a] for a in some]
    losses = [case.score(a, len(case.data.feeds)).loss for a in some]
    assert losses == pytest.approx(landscape.loss[rows], rel=0.05, abs=1e-6)
    micro, _ = latencies(case, some)
    assert micro / micro[0] == pytest.approx(landscape.seen[rows], rel=0.025)
