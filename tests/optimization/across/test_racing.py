"""Which search gets the rest of a budget."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from precsearch.optimization.across.racing import (
    OPENING,
    Standing,
    next_share,
    opening_share,
)

standings = st.lists(
    st.builds(
        Standing,
        st.text("abc", min_size=1, max_size=3),
        st.integers(0, 40),
        st.floats(1e-4, 1.0),
        st.floats(1e-4, 1.0),
        st.booleans(),
    ),
    min_size=1,
    max_size=4,
    unique_by=lambda s: s.backend,
)


@given(standings, st.integers(0, 60))
def test_a_share_is_within_the_budget_and_of_one_that_has_not_ended(
    found: list[Standing], left: int
) -> None:
    share = next_share(found, left)
    if share is None:
        return
    name, count = share
    assert 1 <= count <= left
    assert not next(s for s in found if s.backend == name).ended


@given(st.one_of(st.none(), st.integers(2, 200)), st.integers(2, 4))
def test_first_engines_leave_a_part_of_a_sufficient_budget(
    budget: int | None, entrants: int
) -> None:
    share = opening_share(budget, entrants)
    assert 1 <= share <= OPENING
    if budget is not None and budget >= entrants:
        assert share * entrants <= budget


def test_an_engine_drops_out_once_all_that_it_built_is_slower_than_the_best_of_another() -> None:
    fast, slow = Standing("a", 8, 1.0, 0.9), Standing("b", 8, 3.0, 1.1)
    assert next_share([fast, slow], 20) == ("a", 20)
    assert next_share([fast, Standing("b", 8, math.inf, 0.8)], 20) == ("b", 10)


def test_an_engine_with_fp32_alone_does_not_drop_out() -> None:
    leader, fresh = Standing("a", 8, 1.0, 0.9, ended=True), Standing("b", 2, 5.0, 5.0)
    assert next_share([leader, fresh], 20) == ("b", 20)


def test_nothing_continues_once_all_searches_or_the_budget_have_ended() -> None:
    done = Standing("a", 8, 1.0, 0.9, ended=True)
    assert next_share([done, done], 20) is None
    assert next_share([Standing("a", 8, 1.0, 0.9)], 0) is None
