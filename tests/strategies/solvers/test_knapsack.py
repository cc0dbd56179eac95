import time
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from precsearch_strategies.solvers.elimination import Elimination
from precsearch_strategies.solvers.knapsack import Costs, solve


def costs(rng: np.random.Generator, n: int, p: int, border: float = 0.2) -> Costs:
    """A chain with some skips; lower labels are faster and less accurate."""
    pairs = [(i, i + 1) for i in range(n - 1)]
    pairs += [(i, i + 3) for i in range(n - 3) if rng.random() < 0.3]
    unequal = 1.0 - np.eye(p)
    gains, errors = rng.lognormal(0, 0.7, size=(n, 1)), rng.lognormal(0, 1.4, size=(n, 1))
    levels = np.arange(p) / (p - 1)
    allowed = rng.random((n, p)) < 0.9
    allowed[:, 0] = True
    return Costs(
        -gains * levels * rng.uniform(-0.2, 1.2, size=(n, p)),
        np.array(pairs, dtype=np.intp).reshape(-1, 2),
        border * rng.uniform(0.3, 2, size=(len(pairs), 1, 1)) * unequal,
        errors * levels**3,
        allowed,
    )


def plan(model: Costs) -> Elimination:
    n, p = model.time.shape
    return Elimination(n, model.edges, p)


def gaps(model: Costs, shares: tuple[float, ...]) -> list[float]:
    """The part of the possible gain that the solver misses, for bounds as shares of all error."""
    n, p = model.time.shape
    bounds = [s * float(model.squared_usage[:, -1].sum()) for s in shares]
    found = solve(model, plan(model), bounds, [np.zeros(n, dtype=np.intp)])
    every = np.array(list(product(range(p), repeat=n)), dtype=np.intp)
    every = every[model.allowed[np.arange(n), every].all(axis=1)]
    fast, square = model.total_time(every), model.total_square(every)
    none = float(model.total_time(np.zeros((1, n), dtype=np.intp))[0])
    missed = []
    for bound in bounds:
        own = np.array([x for x in found if model.total_square(x[None])[0] <= bound + 1e-9])
        assert all(model.allowed[np.arange(n), x].all() for x in own)
        best = float(fast[square <= bound].min())
        missed.append((float(model.total_time(own).min()) - best) / max(none - best, 1e-9))
    return missed


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(1, 7), p=st.integers(2, 3))
def test_the_knapsack_keeps_bounds_and_finds_most_of_the_gain(seed: int, n: int, p: int) -> None:
    missed = gaps(costs(np.random.default_rng(seed), n, p), (0.05, 0.3, 0.7))
    assert min(missed) > -1e-9
    assert sorted(missed)[1] <= 0.25


def test_the_knapsack_is_nearly_always_optimal() -> None:
    missed = [
        m
        for seed in range(40)
        for m in gaps(costs(np.random.default_rng(seed), 8, 3), (0.05, 0.2, 0.5))
    ]
    assert np.mean(missed) < 0.01
    assert np.mean(np.array(missed) < 1e-6) > 0.8


def test_a_bound_of_zero_admits_only_what_costs_nothing() -> None:
    model = costs(np.random.default_rng(1), 6, 3)
    for x in solve(model, plan(model), [0.0], [np.zeros(6, dtype=np.intp)]):
        assert model.total_square(x[None])[0] == 0


@pytest.mark.parametrize("n", [1000])
def test_the_knapsack_is_fast_at_a_thousand_groups(n: int) -> None:
    model = costs(np.random.default_rng(0), n, 3)
    total = float(model.squared_usage[:, -1].sum())
    elimination = plan(model)
    began = time.perf_counter()
    solve(model, elimination, [0.02 * total, 0.1 * total, 0.5 * total], [np.zeros(n, np.intp)])
    assert time.perf_counter() - began < 2  # 0.3 s here; other work may share the machine
