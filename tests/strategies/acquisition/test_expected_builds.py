import pytest

from precsearch_strategies import Auto
from precsearch_strategies.acquisition.expected_builds import expected_builds
from tests.strategies.harness import run
from tests.strategies.landscapes import FP32, INT8, Recipe


@pytest.mark.parametrize("seed", range(3))
def test_the_engines_of_a_search_are_within_the_estimate(seed: int) -> None:
    landscape = Recipe(groups=9, precisions=(FP32, INT8)).draw(seed)
    least, likely, most = expected_builds(landscape.problem)
    assert least <= likely <= most
    assert least <= len(run(Auto(), landscape).engines) <= most


def test_estimates_for_large_spaces_fit_past_searches() -> None:
    expected = {
        size: expected_builds(Recipe(groups=size, max_builds=100).draw(0).problem)[1]
        for size in (9, 300, 1000)
    }
    assert 8 <= expected[9] <= 18
    assert 20 <= expected[300] <= 32
    assert 60 <= expected[1000] <= 70


def test_the_budget_bounds_the_estimate() -> None:
    assert expected_builds(Recipe(groups=50, max_builds=5).draw(0).problem) == (3, 5, 5)


def test_a_space_without_a_choice_takes_the_baseline_alone() -> None:
    assert expected_builds(Recipe(groups=3, fixed_neighbours=1.1).draw(0).problem)[0] == 1
