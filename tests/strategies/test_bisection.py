import math
from dataclasses import replace

import pytest

from precsearch_strategies import Bisection
from tests.strategies.harness import run
from tests.strategies.landscapes import FP32, INT8, Recipe

TWO = (FP32, INT8)


def test_bisection_follows_the_ranking_and_not_the_graph() -> None:
    recipe = Recipe(groups=64, precisions=TWO, sensitive=4, tolerance=0.6, border=0.0)
    for seed in range(4):
        found = run(Bisection(builds=20), recipe.draw(seed))
        assert found.lowered_insensitive() > 0.9
        assert found.builds_to(found.ratio * 1.02 + 1e-9) is not None
        blind = run(Bisection(rank="graph", builds=20), recipe.draw(seed))
        assert found.ratio <= blind.ratio


def test_bisection_stops_at_once_if_everything_may_be_lowered() -> None:
    found = run(Bisection(), Recipe(groups=20, tolerance=2.0).draw(0))
    assert len(found.engines) == 2
    assert len(found.trials) == 2


def test_bisection_needs_at_most_the_logarithm_before_it_splits() -> None:
    landscape = Recipe(groups=100, precisions=TWO, sensitive=5, border=0.0).draw(2)
    reasons = [t.proposal.reason for t in run(Bisection(), landscape).engines]
    assert sum("least harmful" in r for r in reasons) <= math.ceil(math.log2(100))


@pytest.mark.parametrize("seed", range(5))
def test_a_path_needs_both_its_groups_back(seed: int) -> None:
    """No single reversal helps from all-INT8: both must come back at once."""
    landscape = Recipe(groups=8, precisions=TWO, tolerance=1.2, paths=1, border=0.0).draw(seed)
    found = run(Bisection(), landscape)
    assert found.best is not None
    (path, _) = landscape.paths[0]
    assert all(found.best.assignment[k] is FP32 for k in path)
    assert found.lowered_insensitive() > 0.5


def test_a_failed_build_is_neither_a_pass_nor_an_accuracy_failure() -> None:
    landscape = Recipe(groups=32, precisions=TWO, tolerance=0.9, border=0.0).draw(1)
    whole = run(Bisection(), landscape)
    broken = run(Bisection(), replace(landscape, fails=0.2))
    assert broken.best is not None
    assert broken.ratio <= whole.ratio + 0.15
