"""Engines with a tail: what percentile decides which of them is the faster one."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count

import numpy as np
import pytest

from precsearch.core.backend import Array, Feed, KernelTime
from precsearch.core.objective import Timing
from precsearch.measurement.timing.latency import Load, TimingOptions, compare, head_to_head

LOADS = (Load(({"x": np.zeros(1)},)),)


@dataclass
class Tailed:
    """Takes ``usual`` seconds, and each ``every``-th time ``late`` ones."""

    usual: float
    late: float = 0.0
    every: int = 0
    asked: int = 0

    def __post_init__(self) -> None:
        self._number = count(1)

    def run(self, feed: Feed) -> dict[str, Array]:
        return dict(feed)

    def time(self, feed: Feed, repeats: int) -> list[float]:
        self.asked = max(self.asked, repeats)
        numbers = [next(self._number) for _ in range(repeats)]
        return [self.late if self.every and n % self.every == 0 else self.usual for n in numbers]

    def profile(self, feed: Feed, runs: int) -> tuple[KernelTime, ...]:
        return ()

    def close(self) -> None:
        pass


def ratio(timing: Timing, engine: Tailed) -> float:
    options = TimingOptions(rounds=10, max_rounds=10, seconds=1e9, timing=timing)
    return compare(engine, Tailed(1e-3), LOADS, 0.02, options).ratio


def test_the_median_is_blind_to_a_tail_that_percentiles_and_the_mean_see() -> None:
    def engine() -> Tailed:
        return Tailed(0.5e-3, 2e-3, every=10)

    assert ratio(Timing.MEDIAN, engine()) == pytest.approx(0.5)
    assert ratio(Timing.P95, engine()) == pytest.approx(2.0)
    assert ratio(Timing.P99, engine()) == pytest.approx(2.0)
    assert ratio(Timing.MEAN, engine()) == pytest.approx(0.65, rel=0.1)


def test_a_rare_tail_is_seen_by_the_99th_percentile_alone() -> None:
    assert ratio(Timing.P95, Tailed(0.5e-3, 2e-3, every=50)) == pytest.approx(0.5)
    assert ratio(Timing.P99, Tailed(0.5e-3, 2e-3, every=50)) == pytest.approx(2.0)


@pytest.mark.parametrize(("timing", "least"), [(Timing.P95, 20), (Timing.P99, 100)])
def test_a_slow_engine_runs_often_enough_in_a_round_to_show_its_tail(
    timing: Timing, least: int
) -> None:
    slow, plain = Tailed(0.2, 0.4, every=5), Tailed(0.2)
    options = TimingOptions(rounds=5, max_rounds=5, seconds=1e9, timing=timing)
    (found,) = head_to_head([slow], plain, LOADS, options)
    assert slow.asked == plain.asked == least
    assert found.ratio == pytest.approx(2.0)
