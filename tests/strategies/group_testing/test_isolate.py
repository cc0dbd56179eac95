"""Group testing in large spaces: it ends, extends what has passed, finds culprits, and gives up."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from precsearch.core.space import Assignment
from precsearch.core.trial import Trial
from precsearch_strategies.acquisition.sensitivity_screen import screened_squared_usage
from precsearch_strategies.encoding import Encoding
from precsearch_strategies.group_testing.design import Design, GroupTestState
from precsearch_strategies.group_testing.isolate import isolated, most_engines
from precsearch_strategies.group_testing.posterior import Outcomes, fitted_odds, no_draws, redrawn
from precsearch_strategies.history import History, Subroutine
from tests.strategies.landscapes import FP32, INT8, Landscape, Recipe

TWO = (FP32, INT8)
SPARSE = Recipe(
    groups=200, precisions=TWO, sensitive=6, tolerance=0.75, border=0.05, error_noise=0.05,
    time_noise=0.005, single_noise=0.5,
)  # fmt: skip


def staged(landscape: Landscape, limit: int = 200) -> tuple[History, int, bool]:
    """Run the opening and the stage. Returns the trials, the engines before it, its verdict."""
    known, encoding = History(landscape.problem), Encoding(landscape.space)
    before, done = 0, False

    def strategy() -> Subroutine[None]:
        nonlocal before, done
        lower = [p for p in landscape.space.precisions if p is not FP32]
        opening = [Assignment(), *(landscape.space.uniform(p) for p in lower)]
        yield from known.build(opening, "opening")
        wanted = encoding.allowed
        squared_usage = yield from screened_squared_usage(known, encoding, wanted)
        before = known.builds
        _, done = yield from isolated(known, encoding, squared_usage, wanted, limit)

    asking = strategy()
    batch, number = next(asking), 0
    try:
        while True:
            answers = [Trial(number + i, p, landscape.measure(p)) for i, p in enumerate(batch)]
            number += len(batch)
            batch = asking.send(answers)
    except StopIteration:
        return known, before, done


def strong(landscape: Landscape, factor: float) -> Landscape:
    """Each sensitive group alone breaks the bound by this factor."""
    bound = landscape.problem.goal.bound.target
    for key in landscape.hot:
        landscape.errors[key, INT8] = factor * bound
    return landscape


@example(seed=19, groups=159, sensitive=5, fails=0.1, tolerance=0.5, limit=8)
@settings(max_examples=10, deadline=None)
@given(
    seed=st.integers(0, 10**6), groups=st.integers(90, 160), sensitive=st.integers(0, 12),
    fails=st.sampled_from([0.0, 0.1, 1.0]), tolerance=st.sampled_from([0.1, 0.5, 0.9]),
    limit=st.integers(2, 60),
)  # fmt: skip
def test_isolation_ends_and_only_extends_sets_that_have_passed(
    seed: int, groups: int, sensitive: int, fails: float, tolerance: float, limit: int
) -> None:
    recipe = Recipe(
        groups=groups, precisions=TWO, sensitive=sensitive, tolerance=tolerance, fails=fails,
        error_noise=0.1, single_noise=0.8,
    )  # fmt: skip
    known, before, _ = staged(recipe.draw(seed), limit)
    assert known.builds - before <= most_engines(groups)
    assert known.builds <= max(limit, before)
    # Engines that locate what does not build are small sets of their own.
    passed = [
        set(t.assignment)
        for t in known.passing()
        if len(t.assignment) and not t.proposal.reason.startswith("what makes an engine fail")
    ]
    # Each other engine within the bound has all that earlier ones of the stage had.
    for smaller, larger in zip(sorted(passed, key=len), sorted(passed, key=len)[1:], strict=False):
        assert smaller < larger


@pytest.mark.parametrize("seed", range(3))
def test_isolation_finds_the_culprits_and_lowers_the_others(seed: int) -> None:
    landscape = strong(SPARSE.draw(seed), 1.6)
    known, before, done = staged(landscape)
    best = known.passing()[0].assignment
    assert done
    assert not landscape.hot & set(best)
    assert len(best) >= 0.95 * (200 - len(landscape.hot))
    assert known.builds - before <= 36


def test_isolation_starts_from_fp16_where_fp16_passes() -> None:
    recipe = Recipe(groups=150, sensitive=5, tolerance=0.8, error_noise=0.05, single_noise=0.5)
    landscape = strong(recipe.draw(1), 1.6)
    known, before, _ = staged(landscape)
    best = known.passing()[0].assignment
    assert len(best) == 150
    assert not landscape.hot & best.keys_at(INT8)
    assert len(best.keys_at(INT8)) >= 0.9 * 145
    assert known.builds - before <= 30


def test_isolation_reports_the_loss_of_culprits() -> None:
    rng = np.random.default_rng(0)
    sets = np.zeros((3, 40), dtype=bool)
    sets[0, :20] = sets[1, :10] = sets[2, 5:10] = True
    tests = Outcomes(sets, np.array([9.3, 5.2, 0.9]), np.full(3, 0.2))
    draws = redrawn(tests, np.full(40, 0.05), no_draws(), rng)
    inside, outside = draws.excess(np.array([sets[1], sets[0] & ~sets[1]]))
    assert np.median(inside) == pytest.approx(5.0, rel=0.15)
    assert np.median(outside) == pytest.approx(4.1, rel=0.25)
    assert draws.marginals(40)[20:].sum() == 0


def test_odds_follow_the_proxy_as_far_as_it_proves_right() -> None:
    marks = np.linspace(-4, 4, 100)
    settled = np.ones(100, dtype=bool)
    right = fitted_odds(marks, settled, (marks > 3).astype(float), 12.0)
    wrong = fitted_odds(marks, settled, (np.arange(100) % 8 == 0).astype(float), 12.0)
    assert right[-1] / right[0] > 100 * wrong[-1] / wrong[0]
    assert (np.diff(right) >= 0).all()


@pytest.mark.parametrize("seed", range(3))
def test_isolation_gives_up_early_where_errors_are_dense(seed: int) -> None:
    dense = Recipe(groups=200, precisions=TWO, tolerance=0.5, border=0.05, error_noise=0.05)
    known, before, done = staged(dense.draw(seed))
    assert not done
    assert known.builds - before <= 12


def test_isolation_leaves_small_spaces_alone() -> None:
    known, before, done = staged(Recipe(groups=90, precisions=TWO, sensitive=5).draw(0))
    assert known.builds == before
    assert not done


def design(chance: float) -> Design:
    """Of 40 untested choices, each as valuable and as probably a culprit as the others."""
    state = GroupTestState.none(np.full(40, 0.01), np.zeros(40), 40 * chance, 0.0)
    return Design.of(state, np.random.default_rng(0))


def test_sets_beside_engines_under_way_are_ordered_by_their_probability_to_pass() -> None:
    rng, half = np.random.default_rng(0), np.arange(40)[None] < 20
    safe, bold = design(0.0005), design(0.2)
    clean = float(np.exp(-safe.chance[:20].sum()))
    assert safe.left_after(half, rng) == pytest.approx(safe.left * (1 - clean / 2), rel=0.02)
    assert bold.left_after(half, rng) > 0.9 * bold.left
    assert safe.left_after(half[:0], rng) == pytest.approx(safe.left)


def test_a_second_device_tests_other_choices_than_the_first() -> None:
    state = design(0.05)
    first, _ = state.best(np.random.default_rng(1), lambda _: False, np.zeros((0, 40), dtype=bool))
    second, _ = state.best(np.random.default_rng(1), lambda _: False, first[None])
    assert (second & ~first).any(), "what the first one tells already is worth nothing"
