"""Recorded landscapes with several devices, and with a holdout on which fast engines miss."""

from __future__ import annotations

import pytest

from benchmarks.continued import RECORDS, Afresh, Held
from benchmarks.continued import run as continued
from benchmarks.devices import run_recorded
from benchmarks.landscapes.replay import Landscape, load
from precsearch.registry import strategy


@pytest.fixture(scope="module")
def record() -> Landscape:
    return load(RECORDS / "fire.npz")


def test_four_devices_end_sooner_and_are_no_slower_at_the_end(record: Landscape) -> None:
    one, four = (run_recorded(record, 0.5, count, 0.3, seed=0) for count in (1, 4))
    assert four.wall < 0.7 * one.wall
    assert four.gap <= one.gap + record.noise


@pytest.mark.parametrize("seed", [0, 2])
def test_less_is_built_after_a_miss_where_what_passed_is_to_be_beaten(
    record: Landscape, seed: int
) -> None:
    held = Held(record, 0.3, seed)
    (went, *_, afresh, plan), (again, *_, later, same) = (
        continued(held, 0.5, searching) for searching in (Afresh(), strategy("auto"))
    )
    assert went > 0, "a faster finalist missed on the holdout"
    assert again > 0
    assert later < afresh
    assert same == plan
