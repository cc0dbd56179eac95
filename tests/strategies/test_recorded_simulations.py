"""Recorded landscapes with several devices."""

from __future__ import annotations

import pytest

from benchmarks.devices import RECORDS, run_recorded
from benchmarks.landscapes.replay import Landscape, load


@pytest.fixture(scope="module")
def record() -> Landscape:
    return load(RECORDS / "fire.npz")


def test_four_devices_end_sooner_and_are_no_slower_at_the_end(record: Landscape) -> None:
    one, four = (run_recorded(record, 0.5, count, 0.3, seed=0) for count in (1, 4))
    assert four.wall < 0.7 * one.wall
    assert four.gap <= one.gap + record.noise
