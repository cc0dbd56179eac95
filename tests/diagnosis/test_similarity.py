"""How alike two tensors are, against numpy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from precsearch.metrics.distance import relative_l2
from precsearch.metrics.similarity import Sums

ODD = hnp.arrays(np.float32, 8, elements=st.sampled_from([0, 1, -3, np.nan, np.inf, -np.inf]))
FLOATS = hnp.arrays(np.float32, 50, elements=st.floats(-1e3, 1e3, width=32))


@settings(max_examples=50, deadline=None)
@given(FLOATS, FLOATS)
def test_similarity_is_what_numpy_computes(a: np.ndarray, b: np.ndarray) -> None:
    sums = Sums()
    sums.add(a[:20], b[:20])
    sums.add(a[20:], b[20:])
    x, y = a.astype(np.float64), b.astype(np.float64)
    alike = sums.likeness()
    norm = np.linalg.norm(y)
    assert alike.euclidean == pytest.approx(np.linalg.norm(x - y))
    assert alike.max_abs == np.abs(x - y).max()
    if norm > 1e-3 and np.linalg.norm(x) > 1e-3:
        assert alike.relative == pytest.approx(np.linalg.norm(x - y) / norm)
        cosine = float(x @ y / (norm * np.linalg.norm(x)))
        assert alike.cosine == pytest.approx(cosine, abs=1e-9)
    small = (np.abs(y) > 0) & (np.abs(y) < 2.0**-14)
    assert alike.subnormal == small.mean()


def test_values_that_became_infinite_count_and_those_that_were_infinite_do_not() -> None:
    wanted = np.array([1, -np.inf, 2, 3], np.float32)
    sums = Sums()
    sums.add(np.array([1, -np.inf, 2, 3], np.float32), wanted)
    assert sums.likeness().relative == 0
    sums.add(np.array([1, -np.inf, np.nan, 3], np.float32), wanted)
    alike = sums.likeness()
    assert (alike.relative, alike.nonfinite) == (np.inf, 1 / 8)
    assert alike.reference_absmax == 3


@settings(max_examples=50, deadline=None)
@given(ODD, ODD)
def test_sums_over_feeds_follow_the_rule_of_relative_l2(a: np.ndarray, b: np.ndarray) -> None:
    sums = Sums()
    sums.add(a[:3], b[:3])
    sums.add(a[3:], b[3:])
    assert sums.likeness().relative == pytest.approx(relative_l2(a, b), rel=1e-9)
