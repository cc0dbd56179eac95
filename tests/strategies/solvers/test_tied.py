"""A decision a class costs what it does when every group of the class takes it."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from precsearch.core.precision import Precision
from precsearch.core.space import LayerGroup, SearchSpace
from precsearch_strategies.encoding import Encoding
from precsearch_strategies.solvers.knapsack import Costs
from precsearch_strategies.solvers.tied import alike, shared


def drawn(rng: np.random.Generator, n: int, p: int) -> Costs:
    ends = rng.integers(0, n, (2 * n, 2))
    edges = np.unique(ends[ends[:, 0] != ends[:, 1]], axis=0).astype(np.intp).reshape(-1, 2)
    allowed = rng.random((n, p)) < 0.7
    allowed[:, 0] = True
    return Costs(
        rng.normal(size=(n, p)),
        edges,
        rng.random((len(edges), p, p)),
        rng.random((n, p)),
        allowed,
    )


@settings(deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(1, 9), p=st.integers(2, 3), k=st.integers(1, 4))
def test_a_class_costs_what_its_groups_do(seed: int, n: int, p: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    costs = drawn(rng, n, p)
    classes = np.unique(rng.integers(0, k, n), return_inverse=True)[1].reshape(-1).astype(np.intp)
    small = shared(costs, classes)
    many = rng.integers(0, p, (12, len(small.time))).astype(np.intp)
    spread = many[:, classes]
    assert np.allclose(small.total_time(many), costs.total_time(spread))
    assert np.allclose(small.total_square(many), costs.total_square(spread))
    one = small.allowed[np.arange(len(small.time)), many].all(axis=1)
    assert (one == costs.allowed[np.arange(n), spread].all(axis=1)).all()
    assert (small.edges[:, 0] < small.edges[:, 1]).all()
    assert len(np.unique(small.edges, axis=0)) == len(small.edges)


def test_blocks_that_repeat_are_alike() -> None:
    both = (Precision.FP32, Precision.INT8)
    rows = [("conv", "a"), ("add", "b"), ("conv", "a"), ("add", "b"), ("conv", "c"), ("add", "a")]
    groups = tuple(
        LayerGroup(f"g{i}", kind, (f"n{i}",), both, signature=signature)
        for i, (kind, signature) in enumerate(rows)
    )
    encoding = Encoding(SearchSpace(groups, tuple((i, i + 1) for i in range(len(rows) - 1))))
    assert alike(encoding, range(len(rows))) == [(0, 2), (1, 3), (4,), (5,)]
    assert alike(encoding, [2, 3, 5]) == [(2,), (3,), (5,)]
