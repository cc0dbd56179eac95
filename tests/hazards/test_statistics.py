"""Statistics of values: as NumPy computes them from all of them at once."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from precsearch.core.formats import FLOAT16
from precsearch.hazards.statistics import Tally, half_error

Array = npt.NDArray[Any]

ANY = st.floats(width=32, allow_nan=True, allow_infinity=True)
IN_RANGE = st.floats(-65504, 65504, width=32)


def to_half(values: Array) -> Array:
    with np.errstate(over="ignore"):
        return values.astype(np.float16).astype(np.float32)


@settings(max_examples=100, deadline=None)
@given(st.lists(IN_RANGE, min_size=1, max_size=50))
def test_the_rounding_error_is_numpys_bit_by_bit(values: list[float]) -> None:
    array = np.asarray(values, np.float32)
    assert np.array_equal(half_error(array), array - to_half(array))


def test_the_rounding_error_at_every_number_and_every_tie_of_fp16() -> None:
    numbers = np.arange(0x7C00, dtype=np.uint16).view(np.float16).astype(np.float32)
    ties = ((numbers[1:] + numbers[:-1]) / 2).astype(np.float32)
    assert not half_error(numbers).any()
    above = np.nextafter(ties, np.float32(np.inf))
    for array in (ties, above, np.nextafter(ties, np.float32(0)), -ties):
        assert np.array_equal(half_error(array), array - to_half(array))
    last = np.asarray([65504, 65519.99], np.float32)
    assert np.array_equal(half_error(last), last - np.float32(65504))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(ANY, min_size=1, max_size=40), min_size=1, max_size=4))
def test_a_tally_of_pieces_is_numpys_of_the_whole(pieces: list[list[float]]) -> None:
    tally = Tally()
    for piece in pieces:
        tally.add(np.asarray(piece, np.float32))
    whole = np.concatenate([np.asarray(p, np.float32) for p in pieces])
    finite = whole[np.isfinite(whole)]
    found = tally.result()
    assert found is not None
    assert found.count == whole.size
    assert found.nonfinite == pytest.approx(1 - finite.size / whole.size)
    if not finite.size:
        assert (found.absmax, found.rms, found.least) == (0, 0, math.inf)
        return
    size = np.abs(finite)
    assert (found.low, found.high) == (finite.min(), finite.max())
    assert found.absmax == size.max()
    assert found.least == (size[size > 0].min() if size.any() else math.inf)
    assert found.subnormal * whole.size == pytest.approx(
        np.sum((size > 0) & (size < FLOAT16.smallest_normal))
    )
    flushed = (size > 0) & (to_half(finite) == 0)
    assert np.array_equal(flushed, (size > 0) & (size <= FLOAT16.flushed))
    assert found.flushed * whole.size == pytest.approx(np.sum(flushed))
    wide = finite.astype(np.float64)
    tiny = 1e-15  # squares are added in FP32
    assert found.rms == pytest.approx(np.sqrt(np.mean(wide**2)), rel=1e-4, abs=tiny)
    lost = np.where(size < FLOAT16.overflow, wide - to_half(finite), 0)
    assert found.error == pytest.approx(np.sqrt(np.mean(lost**2)), rel=1e-4, abs=tiny)


def test_blocks_of_a_large_tensor_are_added_up() -> None:
    values = np.random.default_rng(0).standard_normal((3, 100_003)).astype(np.float32)
    values[1, 70_000] = -9e4
    values[2, 5] = np.nan
    tally = Tally()
    tally.add(values[::-1])
    found = tally.result()
    assert found is not None
    assert (found.count, found.low) == (300_009, float(np.float32(-9e4)))
    assert found.nonfinite == pytest.approx(1 / 300_009)
    assert found.rms == pytest.approx(np.sqrt(np.nanmean(values.astype(float) ** 2)), rel=1e-5)


def test_without_values_there_are_no_statistics() -> None:
    tally = Tally()
    tally.add(np.zeros((0, 3), np.float32))
    assert tally.result() is None
