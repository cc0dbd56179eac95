"""How good the search is, on landscapes whose optimum is known; each figure has slack over what
it measures now."""

import statistics
from collections.abc import Sequence

import pytest

from precsearch_strategies import Auto, Bisection, Uniform
from tests.strategies.harness import Found, run
from tests.strategies.landscapes import FP32, INT8, Recipe

TWO = (FP32, INT8)
SEEDS = range(6)


def gaps(runs: Sequence[Found]) -> list[float]:
    return [f.ratio / f.landscape.optimum - 1 for f in runs]


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(groups=7),
        Recipe(groups=7, tolerance=0.2),
        Recipe(groups=10, precisions=TWO, border=0.35),
        Recipe(groups=10, precisions=TWO, passive=0.3, border=0.15, skip=0.3, tolerance=0.6),
        Recipe(groups=10, precisions=TWO, slow=0.3, border=0.2, tolerance=0.6),
    ],
    ids=["three", "tight", "borders", "passive", "slow"],
)
def test_auto_is_within_two_percent_of_the_optimum(recipe: Recipe) -> None:
    found = [run(Auto(), recipe.draw(seed)) for seed in SEEDS]
    assert max(gaps(found)) <= 0.02
    assert max(len(f.engines) for f in found) <= 40
    reached = [f.builds_to(f.landscape.optimum * 1.02) or 99 for f in found]
    assert statistics.median(reached) <= 8
    for other in (Bisection(), Uniform()):
        rivals = [run(other, f.landscape) for f in found]
        for f, rival in zip(found, rivals, strict=True):
            assert f.ratio <= rival.ratio * 1.02


@pytest.mark.parametrize("bias", [0.7, 1.0, 1.4])
def test_auto_does_not_believe_proxies(bias: float) -> None:
    recipe = Recipe(groups=10, precisions=TWO, border=0.2, proxy_bias=bias)
    found = [run(Auto(), recipe.draw(seed)) for seed in SEEDS]
    assert statistics.mean(gaps(found)) <= 0.02
    assert max(gaps(found)) <= 0.06


def test_auto_copes_with_everything_at_once() -> None:
    recipe = Recipe(
        groups=9, precisions=TWO, passive=0.2, slow=0.15, border=0.2, skip=0.3, pairs=4, paths=1,
        error_noise=0.1, time_noise=0.01, fails=0.05,
    )  # fmt: skip
    found = [run(Auto(), recipe.draw(seed)) for seed in range(8)]
    rivals = [run(Bisection(), f.landscape) for f in found]
    assert statistics.mean(gaps(found)) <= 0.05
    assert statistics.mean(gaps(found)) <= statistics.mean(gaps(rivals))


def test_auto_on_a_large_model_with_few_sensitive_groups() -> None:
    recipe = Recipe(
        groups=300, precisions=TWO, sensitive=10, tolerance=0.5, border=0.05, skip=0.1,
        single_noise=0.35, error_noise=0.05, time_noise=0.005,
    )  # fmt: skip
    found = run(Auto(), recipe.draw(0))
    assert len(found.engines) <= 60
    assert found.best is not None
    assert found.lowered_insensitive() >= 0.9


def test_auto_asks_for_few_proxies_where_groups_are_alike() -> None:
    landscape = Recipe(groups=400, precisions=TWO, sensitive=4, tolerance=0.5, border=0.1).draw(0)
    found = run(Auto(), landscape, max_builds=6)
    assert len(found.trials) - len(found.engines) < 400
    assert found.best is not None
    assert len(found.best.assignment) > 100
