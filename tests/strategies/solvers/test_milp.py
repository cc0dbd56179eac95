from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from precsearch_strategies.solvers.milp import milp
from tests.strategies.solvers.test_knapsack import costs


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(1, 7), share=st.sampled_from([0.0, 0.1, 0.4]))
def test_the_solution_is_the_minimum_within_the_bound(seed: int, n: int, share: float) -> None:
    model = costs(np.random.default_rng(seed), n, 3)
    bound = share * float(model.squared_usage[:, -1].sum())
    every = np.array(list(product(range(3), repeat=n)), dtype=np.intp)
    every = every[model.allowed[np.arange(n), every].all(axis=1)]
    inside = every[model.total_square(every) <= bound + 1e-9]
    best = float(model.total_time(inside).min())
    found = milp(model, bound, np.zeros(n, dtype=np.intp))
    assert found is not None
    assert model.total_square(found[None])[0] <= bound + 1e-9
    assert model.total_time(found[None])[0] <= best + 1e-3 * abs(best) + 1e-6


def test_the_core_of_a_large_model_is_improved_and_the_rest_kept() -> None:
    model = costs(np.random.default_rng(0), 200, 3)
    start = np.zeros(200, dtype=np.intp)
    found = milp(model, 0.1 * float(model.squared_usage[:, -1].sum()), start)
    assert found is not None
    assert 0 < int((found != start).sum()) <= 48
    assert model.total_time(found[None])[0] < model.total_time(start[None])[0]


def test_nothing_is_printed_into_the_output_of_a_program(capfd: pytest.CaptureFixture[str]) -> None:
    model = costs(np.random.default_rng(0), 4, 3)
    print("before")
    assert milp(model, 1.0, np.zeros(4, dtype=np.intp)) is not None
    print("after")
    assert capfd.readouterr().out == "before\nafter\n"
