"""What the error model makes of engines that are being built."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from precsearch_strategies.encoding import Encoding, Labels
from precsearch_strategies.models.error import ErrorModel
from tests.strategies.landscapes import FP32, INT8, Recipe
from tests.strategies.models.test_models import drawn, engines

LANDSCAPE = Recipe(groups=10, precisions=(FP32, INT8)).draw(3)
ENCODING = Encoding(LANDSCAPE.space)
KNOWN = engines(LANDSCAPE, drawn(LANDSCAPE, 3))


def model(level: float) -> ErrorModel:
    """All groups cost the same, in much doubt; ten of them use ``level`` of the bound."""
    medians = np.zeros(ENCODING.size)
    medians[:, 1] = level**2 / len(medians)
    unknown = engines(LANDSCAPE, [])
    return ErrorModel.fit(unknown, ENCODING, medians, np.full(ENCODING.size, 1.0))


def lowered(*positions: int) -> Labels:
    labels = ENCODING.lowest * 0
    labels[list(positions)] = 1
    return labels[None]


@pytest.mark.parametrize(("level", "likely"), [(0.6, True), (1.8, False)])
def test_an_engine_under_way_is_believed_on_its_likelier_side_of_the_bound(
    level: float, likely: bool
) -> None:
    before = model(level)
    built = lowered(*range(8))
    after = before.expecting(built)
    assert bool(before.chance(built)[0] > 0.5) is likely
    for candidate in (built, lowered(*range(1, 9)), lowered(*range(7))):
        sooner, later = before.chance(candidate)[0], after.chance(candidate)[0]
        assert later > sooner if likely else later < sooner


def test_what_shares_less_with_an_engine_that_will_miss_keeps_more_of_its_chance() -> None:
    before = model(1.8)
    after = before.expecting(lowered(0, 1, 2, 3, 4))
    kept = [
        (after.chance(c) / before.chance(c))[0]
        for c in (lowered(0, 1, 2, 3, 4), lowered(0, 1, 5, 6, 7), lowered(5, 6, 7, 8, 9))
    ]
    assert kept == sorted(kept)
    assert kept[0] < 0.5 * kept[2]


@settings(deadline=None, max_examples=20)
@given(st.lists(st.integers(1, 2**10 - 1), max_size=4))
def test_the_model_without_them_stays_as_it_was(masks: list[int]) -> None:
    before = ErrorModel.fit(KNOWN, ENCODING, np.ones(ENCODING.size) * 0.05)
    rows = [[i for i in range(10) if mask >> i & 1] for mask in masks]
    many = np.concatenate([lowered(), *(lowered(*row) for row in rows)])
    usages = before.predict(many)
    after = before.expecting(many[1:])
    assert (before.predict(many) == usages).all()
    assert (after is before) is (not masks)
    assert all(math.isfinite(c) and 0 <= c <= 1 for c in after.chance(many).tolist())
