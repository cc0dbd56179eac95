"""A wider bound never gives a slower engine, within the noise, whatever the holdout says."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import pytest

from precsearch.core.precision import Precision
from precsearch.core.problem import Bound, Problem
from precsearch.core.space import Assignment
from precsearch.core.trial import Trial
from precsearch_strategies import Auto
from tests.strategies.harness import run
from tests.strategies.landscapes import FP32, INT8, Landscape, Recipe, bell

TWO = (FP32, INT8)
STEPS = (0.15, 0.3, 0.6, 0.9, 1.05, 1.5)
TIGHTER = 0.8  # of the tolerance: what a continued search aims for after a miss
LIGHT = Auto(builds=14, patience=4, draws=1)


def asked(landscape: Landscape, tolerance: float, known: tuple[Trial, ...] = ()) -> Landscape:
    goal = replace(landscape.problem.goal, bound=Bound(tolerance))
    return replace(landscape, problem=replace(landscape.problem, goal=goal, known=known))


def on_holdout(landscape: Landscape, a: Assignment) -> float:
    """Another sample of the loss: up to 20 % more or less."""
    return landscape.loss(a) * math.exp(0.07 * bell(a, "holdout")) if len(a) else 0.0


def shipped(landscape: Landscape, tolerance: float) -> float:
    """The noise-free ratio of the fastest finalist within the tolerance on the holdout.

    Where none of three is, the search goes on once with a tighter bound.
    """
    known: tuple[Trial, ...] = ()
    for share in (1.0, TIGHTER):
        made = asked(landscape, share * tolerance, known)
        found = run(LIGHT, made)
        known = (*known, *found.trials)
        for trial in finalists(made.problem, known):
            if on_holdout(landscape, trial.assignment) <= tolerance:
                return landscape.seconds(trial.assignment) / landscape.full
    return 1.0


def finalists(problem: Problem, trials: tuple[Trial, ...]) -> list[Trial]:
    rows = [
        (m.latency.ratio, t.number, t)
        for t in trials
        if (m := t.measurement) is not None
        and m.latency is not None
        and len(t.assignment)
        and problem.goal.passes(m)
    ]
    return [row[2] for row in sorted(rows, key=lambda row: row[:2])[:3]]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("precisions", [TWO, (FP32, Precision.FP16, INT8)], ids=["two", "three"])
def test_a_wider_bound_is_never_slower(seed: int, precisions: tuple[Precision, ...]) -> None:
    recipe = Recipe(groups=8, precisions=precisions, tolerance=1.0, border=0.05, time_noise=0.003)
    landscape = recipe.draw(seed)
    whole = landscape.problem.goal.bound.tolerance
    ratios = [shipped(landscape, step * whole) for step in STEPS]
    for tight, wide in pairwise(ratios):
        assert wide <= tight * (1 + 2 * landscape.problem.goal.noise)


@pytest.mark.parametrize("tolerance", [1.03, 1.1])
def test_uniform_int8_at_the_edge_of_the_bound_has_engines_in_reserve(tolerance: float) -> None:
    """It ends the search, and may miss on the holdout."""
    made = Recipe(groups=8, precisions=TWO, tolerance=tolerance, border=0.0).draw(1)
    found = run(LIGHT, made)
    assert found.best is not None
    assert found.best.assignment == made.space.uniform(INT8)
    goal = made.problem.goal
    usages = [
        goal.usage(t.measurement)
        for t in found.engines
        if t.measurement is not None and len(t.assignment)
    ]
    assert min(usages) <= 0.88, "something holds if the fastest misses"


def test_uniform_int8_well_within_the_bound_needs_none() -> None:
    made = Recipe(groups=8, precisions=TWO, tolerance=1.6, border=0.0).draw(1)
    assert len(run(LIGHT, made).engines) == 2


def test_a_continued_search_builds_nothing_again_and_finds_what_holds() -> None:
    made = Recipe(groups=8, precisions=TWO, tolerance=0.8, border=0.05).draw(1)
    first = run(LIGHT, made)
    tolerance = 0.7 * made.problem.goal.bound.tolerance
    again = asked(made, tolerance, first.trials)
    second = run(replace(LIGHT, builds=len(first.engines) + 8), again)
    assert {t.proposal for t in second.trials}.isdisjoint(t.proposal for t in first.trials)
    trials = (*first.trials, *second.trials)
    best = again.problem.goal.best(trials)
    fresh = run(LIGHT, asked(made, tolerance)).best
    assert best is not None
    assert fresh is not None
    noise = 1 + 2 * made.problem.goal.noise
    assert made.seconds(best.assignment) <= made.seconds(fresh.assignment) * noise
