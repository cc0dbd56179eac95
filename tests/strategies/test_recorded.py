"""`auto` on landscapes of three precisions, recorded on OpenVINO: each engine was really timed."""

from __future__ import annotations

import statistics
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.landscapes.joint import fastest
from benchmarks.landscapes.replay import Landscape, load, replay
from precsearch.core.precision import Precision
from precsearch.core.space import Assignment
from precsearch_strategies import Auto

BF16, INT8 = Precision.BF16, Precision.INT8
RECORDS = Path(__file__).parents[2] / "benchmarks" / "landscapes" / "openvino"
SHARE, LOOSE = 0.2, 0.6


@pytest.fixture(scope="module", params=["fire", "mlp", "residual"])
def landscape(request: pytest.FixtureRequest) -> Landscape:
    return load(RECORDS / f"{request.param}.npz")


def test_every_canonical_assignment_was_recorded_with_two_timings(landscape: Landscape) -> None:
    assert landscape.space.precisions == (Precision.FP32, BF16, INT8)
    assert 3**5 * 0.8 <= len(landscape.rows) <= 3**5
    assert all(landscape.space.canonical(a) == a for a in landscape.rows)
    assert np.corrcoef(landscape.seen, landscape.scored)[0, 1] > 0.98
    assert landscape.loss[landscape.rows[Assignment()]] < 1e-5


def test_auto_reaches_the_optimum_of_three_precisions(landscape: Landscape) -> None:
    found = [replay(landscape, Auto(), landscape.problem(SHARE, seed, 40)) for seed in range(3)]
    builds = [f.builds_to() for f in found]
    assert max(builds) <= 15
    assert statistics.median(builds) <= 8
    assert all(f.curve[-1] <= 1.02 for f in found)


def test_a_loose_bound_is_searched_to_the_optimum(landscape: Landscape) -> None:
    found = replay(landscape, Auto(), landscape.problem(LOOSE, 0, 40))
    assert found.curve[-1] <= 1.02


@pytest.mark.parametrize(
    ("name", "seed"), [("rescat", 0), ("residual", 2), ("openvino/residual", 0)]
)
def test_noisy_timings_do_not_end_a_search_early(name: str, seed: int) -> None:
    quiet, rng = load(RECORDS.parent / f"{name}.npz"), np.random.default_rng(seed)
    times = quiet.seen * np.exp(0.04 * rng.standard_normal(len(quiet.seen)))
    loud = replace(quiet, seen=times)
    problem = loud.problem(0.4, seed, 40)
    problem = replace(problem, goal=replace(problem.goal, noise=0.1))
    built = [quiet.rows[t.assignment] for t in replay(loud, Auto(), problem).trials]
    # The three fastest are timed again at the end of a run.
    passing = quiet.passing(problem)
    finalists = sorted((i for i in built if passing[i]), key=lambda i: times[i])[:3]
    best = min(float(quiet.seen[i]) for i in finalists)
    assert best <= 1.02 * float(quiet.seen[passing].min())


def test_the_proxy_ranks_engines_as_they_are(landscape: Landscape) -> None:
    lowered = np.array([len(a) > 0 for a in landscape.rows])
    ratio = landscape.proxy[lowered] / landscape.loss[lowered]
    assert 1 / 1.5 < np.median(ratio) < 1.5


def test_three_precisions_are_never_worse_than_two(landscape: Landscape) -> None:
    for share in (0.2, 0.5):
        two = [fastest(landscape, share, (p,)) for p in (BF16, INT8)]
        assert fastest(landscape, share, (BF16, INT8)) <= min(two) + 3 * landscape.noise
