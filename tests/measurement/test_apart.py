"""Noise with a slow part: what differs from one opening of an engine to the next."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from precsearch.core.backend import Array, Feed, KernelTime
from precsearch.core.problem import Bound, Goal
from precsearch.core.trial import Accuracy, Latency
from precsearch.measurement.config import Rival
from precsearch.measurement.timing.apart import agree, spread, together
from precsearch.measurement.timing.certainty import doubts, shaky
from precsearch.measurement.timing.latency import Load, Surroundings, TimingOptions
from precsearch.measurement.timing.timer import EngineTimer
from tests.cli.runs import latency

LOADS = (Load(({"x": np.zeros(1)},)),)
NOISE = 0.01
GOAL = Goal(Bound(1e-2), NOISE)


@dataclass
class Opened:
    """A session that is as fast as it was when it was opened."""

    seconds: float
    random: random.Random
    open_: bool = True

    def run(self, feed: Feed) -> dict[str, Array]:
        return dict(feed)

    def time(self, feed: Feed, repeats: int) -> list[float]:
        assert self.open_
        return [self.seconds * self.random.lognormvariate(0, 0.003) for _ in range(repeats)]

    def profile(self, feed: Feed, runs: int) -> tuple[KernelTime, ...]:
        return ()

    def close(self) -> None:
        self.open_ = False


@dataclass
class World:
    """Opens engines; ``factors`` says how slow each opening is, engine by engine in order."""

    seconds: float
    factors: Callable[[], float] = lambda: 1.0
    opened: list[Opened] = field(default_factory=list)

    def open(self) -> Opened:
        draw = random.Random(len(self.opened))
        self.opened.append(Opened(self.seconds * self.factors(), draw))
        return self.opened[-1]


def in_order(factors: Sequence[float]) -> Callable[[], float]:
    left = list(factors)
    return lambda: left.pop(0) if left else 1.0


def timed(
    engine: World, fp32: World, rival: Rival, noise: float = NOISE
) -> tuple[Latency, list[float]]:
    """What a service reports of an engine that a conclusion rests on, and the pauses."""
    pauses: list[float] = []
    timer = EngineTimer(fp32.open, LOADS, noise, TimingOptions(), Surroundings(), pauses.append)
    session = engine.open()
    first = timer.once(session, rival)
    session.close()
    return timer.again(engine.open, first, rival), pauses


@pytest.mark.parametrize(
    ("factors", "opened"),
    [([1.0, 1.0, 1.0], 3), ([1.0, 1.02, 1.02, 1.05], 4)],
    ids=["two floors that agree", "two that do not"],
)
def test_a_third_twin_is_timed_where_it_could_move_the_noise(
    factors: list[float], opened: int
) -> None:
    fp32 = World(1e-3, in_order(factors))
    noise = EngineTimer(fp32.open, LOADS, 0.0, TimingOptions(), Surroundings()).calibrate()
    assert len(fp32.opened) == opened, "the engine and its twins"
    assert 0.005 <= noise < 0.03


def test_two_timings_that_agree_are_enough() -> None:
    engine, fp32 = World(0.5e-3), World(1e-3)
    found, pauses = timed(engine, fp32, Rival(GOAL))
    assert found.apart == pytest.approx((0.5, 0.5), rel=0.01)
    assert len(engine.opened) == len(fp32.opened) == 2, "both are newly opened"
    assert pauses == []
    assert doubts(found) == ()


def test_two_that_disagree_are_followed_by_a_third_and_the_middle_stands() -> None:
    engine, fp32 = World(0.62e-3, in_order([1.35, 1.0, 1.0])), World(1e-3)
    found, _ = timed(engine, fp32, Rival(GOAL))
    assert found.apart == pytest.approx((0.84, 0.62, 0.62), rel=0.02)
    assert found.ratio == pytest.approx(0.62, rel=0.02)
    assert found.ratio_high == max(found.apart)
    assert not shaky(found)


def test_three_that_all_disagree_are_unsure() -> None:
    engine, fp32 = World(0.62e-3, in_order([1.35, 1.0, 1.15])), World(1e-3)
    found, _ = timed(engine, fp32, Rival(GOAL))
    assert found.ratio == pytest.approx(0.62 * 1.15, rel=0.02)
    assert found.unsure == ("timings of the same engine differ: 1.19x, 1.61x, 1.40x",)
    assert shaky(found)


def test_fp32_s_own_memory_is_half_of_the_ratio() -> None:
    """The FP32 session that the search began with is slow by a third; new ones are not."""
    engine, fp32 = World(0.8e-3), World(1e-3, in_order([1.33, 1.0, 1.0]))
    found, _ = timed(engine, fp32, Rival(GOAL))
    assert found.ratio == pytest.approx(0.8, rel=0.02)
    assert found.ratio_low == pytest.approx(0.6, rel=0.02)


def test_an_engine_that_would_end_a_search_is_timed_again_after_a_pause() -> None:
    found, pauses = timed(World(1e-3), World(1e-3), Rival(GOAL, trivial=True))
    assert pauses == [TimingOptions().apart_seconds]
    assert found.ratio == pytest.approx(1.0, rel=0.01)


def test_sessions_are_closed() -> None:
    engine, fp32 = World(0.62e-3, in_order([1.35, 1.0, 1.15])), World(1e-3)
    timed(engine, fp32, Rival(GOAL))
    assert [s.open_ for s in engine.opened] == [False] * 3
    assert [s.open_ for s in fp32.opened] == [False, False, True]


def test_slow_noise_leads_to_the_true_ratio_or_to_a_doubt() -> None:
    """One opening in five is slower by up to 40 %; of 200 engines nearly all are told right."""
    draw = random.Random(5)
    wrong = 0
    for _ in range(200):
        ratio = draw.uniform(0.3, 1.1)

        def slow() -> float:
            return draw.uniform(1.1, 1.4) if draw.random() < 0.2 else 1.0

        found, _ = timed(World(ratio * 1e-3, slow), World(1e-3, slow), Rival(GOAL, trivial=True))
        holds = found.ratio_low * 0.98 <= ratio <= found.ratio_high * 1.02
        wrong += not (holds or doubts(found))
    assert wrong <= 4


def test_a_uniform_engine_is_timed_well_whatever_its_loss() -> None:
    over, within = Accuracy(0.5, 0.5), Accuracy(1e-3, 1e-3)
    assert Rival(GOAL, trivial=True).matters(over)
    assert not Rival(GOAL).matters(over)
    assert Rival(GOAL).matters(within)


def test_a_conclusion_rests_on_uniform_engines_and_on_the_fastest_within_the_bound() -> None:
    over, within = Accuracy(0.5, 0.5), Accuracy(1e-3, 1e-3)
    rival = Rival(GOAL, ratio=0.6)
    assert rival.decides(within, latency(0.5))
    assert not rival.decides(within, latency(0.7))
    assert not rival.decides(over, latency(0.5))
    uniform = Rival(GOAL, ratio=0.6, trivial=True)
    assert uniform.decides(within, latency(0.7))
    assert uniform.decides(over, latency(1.0)), "what is not faster is given up"
    assert not uniform.decides(over, latency(0.7)), "it cannot ship, and the search goes on"


RATIOS = st.floats(0.1, 3.0)


@given(st.lists(RATIOS, min_size=1, max_size=5), st.floats(0.001, 0.1))
def test_timings_together_stand_between_the_fastest_and_the_slowest(
    ratios: list[float], noise: float
) -> None:
    rows = [latency(r) for r in ratios]
    found = together(rows, noise)
    assert found.ratio in ratios
    assert found.ratio_low <= min(ratios) * 1.0000001
    assert found.ratio_high >= max(ratios) * 0.9999999
    assert sum(r >= found.ratio for r in ratios) >= len(ratios) // 2
    if len(ratios) >= 3:
        agreed = any(agree(a, b, noise) for i, a in enumerate(rows) for b in rows[:i])
        assert bool(found.unsure) != agreed


@given(RATIOS, RATIOS, st.floats(0.001, 0.1))
def test_agreement_does_not_depend_on_which_was_first(a: float, b: float, noise: float) -> None:
    assert agree(latency(a), latency(b), noise) == agree(latency(b), latency(a), noise)
    assert agree(latency(a), latency(a), noise)


def test_common_noise_of_two_engines_is_not_a_spread_between_them() -> None:
    """In the second process both were slower beside FP32."""
    fast = together([latency(0.5), latency(0.6)], 0.5)
    slow = together([latency(0.7), latency(0.84)], 0.5)
    assert spread(fast) == pytest.approx(0.05 / 0.55)
    assert spread(fast, slow) == pytest.approx(0.0, abs=1e-9)
    assert spread(latency(0.5)) == 0.0
    assert spread(fast, latency(1.0)) == spread(fast)


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.5, 0.6, ()),
        (0.9, 0.999, ()),
        (0.9, 1.0, ("not clearly faster",)),
        (0.4, 0.61, ("its timings vary too much for a number",)),
        (0.6, 1.2, ("not clearly faster", "its timings vary too much for a number")),
    ],
)
def test_caveats_stand_beside_a_speed_up(low: float, high: float, said: Sequence[str]) -> None:
    found = Latency(1e-3, 1e-3, 1e-3, (low + high) / 2, low, high)
    assert doubts(found) == said


def test_a_cause_of_doubt_is_named_once_whatever_its_figures() -> None:
    said = "something else uses this machine ({} of 40 rounds were disturbed)"
    rows = [replace(latency(0.5), unsure=(said.format(n),)) for n in (40, 39)]
    found = together([*rows, replace(latency(0.5), unsure=("another cause",))], NOISE)
    assert found.unsure == (said.format(40), "another cause")
