"""The samples themselves show how many of them are enough."""

from __future__ import annotations

import numpy as np
import pytest

from precsearch.core.trial import Aggregation
from precsearch.metrics.resample import how_sure

RMS, MEAN = Aggregation.RMS, Aggregation.MEAN


@pytest.mark.parametrize("aggregation", [RMS, MEAN])
def test_sixteen_times_the_samples_leave_a_quarter_of_the_doubt(aggregation: Aggregation) -> None:
    rng = np.random.default_rng(0)
    few, many = (rng.uniform(0, 1, n) for n in (50, 800))
    a = how_sure(few, np.ones(50), aggregation, 0.05)
    b = how_sure(many, np.ones(800), aggregation, 0.05)
    assert a is not None
    assert b is not None
    assert b.share == pytest.approx(a.share / 4, rel=0.4)
    assert 50 < a.needed < 800
    assert b.needed == 800


def test_the_number_needed_is_enough() -> None:
    rng = np.random.default_rng(1)
    first = how_sure(rng.lognormal(0, 0.7, 60), np.ones(60), MEAN, 0.1)
    assert first is not None
    more = how_sure(rng.lognormal(0, 0.7, first.needed), np.ones(first.needed), MEAN, 0.1)
    assert more is not None
    assert more.share < 0.16


@pytest.mark.parametrize(
    ("errors", "aggregation"),
    [
        (np.ones(4), RMS),
        (np.zeros(40), RMS),
        (np.full(40, np.inf), MEAN),
        (np.ones(40), Aggregation.MAX),
        (np.ones(40), Aggregation.NONE),
    ],
)
def test_without_a_result_of_resampling_nothing_is_reported(
    errors: np.ndarray, aggregation: Aggregation
) -> None:
    assert how_sure(errors, np.ones(len(errors)), aggregation, 0.1) is None
    same = how_sure(np.ones(40), np.ones(40), RMS, 0.1)
    assert same is not None
    assert same.share == pytest.approx(0, abs=1e-12)
