from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from precsearch_strategies.encoding import Floats, Labels
from precsearch_strategies.solvers.elimination import Elimination


def graph(rng: np.random.Generator, n: int, p: int, density: float) -> tuple[Labels, Floats]:
    pairs = [(i, j) for i in range(n) for j in range(i + 1, n) if rng.random() < density]
    edges = np.array(pairs, dtype=np.intp).reshape(-1, 2)
    return edges, rng.normal(size=(len(pairs), p, p))


def energy(unary: Floats, edges: Labels, pair: Floats, x: tuple[int, ...]) -> float:
    own = sum(float(unary[i, label]) for i, label in enumerate(x))
    return own + sum(float(t[x[a], x[b]]) for (a, b), t in zip(edges.tolist(), pair, strict=True))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(1, 7),
    p=st.integers(2, 3),
    density=st.sampled_from([0.0, 0.3, 0.6, 1.0]),
)
def test_elimination_is_exact_where_the_graph_fits(
    seed: int, n: int, p: int, density: float
) -> None:
    rng = np.random.default_rng(seed)
    edges, pair = graph(rng, n, p, density)
    unary = rng.normal(size=(3, n, p))
    elimination = Elimination(n, edges, p, cells=3**8)
    assert elimination.exact
    found = elimination.minimize(unary, pair, np.zeros(n, dtype=np.intp))
    for weight in range(3):
        least = min(energy(unary[weight], edges, pair, x) for x in product(range(p), repeat=n))
        got = energy(unary[weight], edges, pair, tuple(found[weight].tolist()))
        assert got == pytest.approx(least)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_a_dense_graph_is_no_worse_than_its_start(seed: int) -> None:
    rng = np.random.default_rng(seed)
    edges, pair = graph(rng, 12, 3, 1.0)
    unary, start = rng.normal(size=(1, 12, 3)), rng.integers(0, 3, size=12)
    elimination = Elimination(12, edges, 3, cells=30)
    assert not elimination.exact
    found = elimination.minimize(unary, pair, start)[0]
    before = energy(unary[0], edges, pair, tuple(start.tolist()))
    assert energy(unary[0], edges, pair, tuple(found.tolist())) <= before + 1e-9
