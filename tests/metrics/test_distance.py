"""Relative L2 is one rule: against NumPy where all is finite, case by case where it is not."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from precsearch.core.backend import Feed
from precsearch.metrics.distance import relative_l2, worst_relative_l2

FLOATS = hnp.arrays(np.float32, 20, elements=st.floats(-1e3, 1e3, width=32))
NAN, INF = np.nan, np.inf


@settings(max_examples=50, deadline=None)
@given(FLOATS, FLOATS)
def test_relative_l2_of_finite_tensors_is_what_numpy_computes(a: np.ndarray, b: np.ndarray) -> None:
    x, y = a.astype(np.float64), b.astype(np.float64)
    if norm := np.linalg.norm(y):
        assert relative_l2(a, b) == pytest.approx(np.linalg.norm(x - y) / norm, rel=1e-9)


@settings(max_examples=30, deadline=None)
@given(FLOATS, FLOATS, st.sampled_from([1e-250, 1e-100, 1e100, 1e250]))
def test_it_does_not_depend_on_the_unit(a: np.ndarray, b: np.ndarray, unit: float) -> None:
    x, y = a.astype(np.float64), b.astype(np.float64)
    assert relative_l2(x * unit, y * unit) == pytest.approx(relative_l2(x, y), rel=1e-6)


@pytest.mark.parametrize(
    ("value", "reference", "expected"),
    [
        ([0, 0], [0, 0], 0.0),
        ([1, 0], [0, 0], INF),
        ([3, 4], [0, 4], 0.75),
        ([NAN, 1], [1, 1], INF),
        ([INF, 1], [1, 1], INF),
        ([1, 1], [NAN, 1], INF),
        ([1, 1], [INF, 1], INF),
        ([-INF, 1], [INF, 1], INF),
        ([NAN, 1], [INF, 1], INF),
        ([-INF, 2], [-INF, 1], 1.0),
        ([NAN, 1], [NAN, 1], 0.0),
        ([[1, 2]], [1, 2], INF),
        ([], [], 0.0),
    ],
)
def test_the_rule_case_by_case(value: list[float], reference: list[float], expected: float) -> None:
    assert relative_l2(np.array(value), np.array(reference)) == expected


def test_the_worst_float_output_counts_and_those_of_another_size_do_not() -> None:
    reference: list[Feed] = [{"a": np.ones(4, np.float32), "n": np.ones(2, np.int64)}]
    worse: Feed = {"a": np.full(4, 1.5, np.float32), "n": np.zeros(2, np.int64)}
    assert worst_relative_l2([worse], reference) == 0.5
    shorter: Feed = {"b": np.ones(3, np.float32)}
    wider: list[Feed] = [{**reference[0], "b": np.ones(5, np.float32)}]
    assert worst_relative_l2([{**worse, **shorter}], wider) == 0.5
    assert worst_relative_l2([shorter], [{"b": np.ones(5, np.float32)}]) == math.inf
    assert worst_relative_l2([{"n": np.zeros(2)}], [{"n": np.zeros(2, np.int64)}]) == 0.0
