"""The latency protocol on sessions whose times are planted."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from precsearch.core.backend import Array, Feed, KernelTime
from precsearch.core.errors import RunError
from precsearch.measurement.timing.latency import (
    Load,
    TimingOptions,
    against_itself,
    compare,
    head_to_head,
    noise_floor,
)

LOADS = (Load(({"x": np.zeros(1)}, {"x": np.ones(1)})),)


@dataclass
class Planted:
    """An engine that takes ``seconds``, times a noise that is drawn for each inference."""

    seconds: float
    spread: float = 0.0
    seed: int = 0
    drift: Callable[[int], float] = lambda _: 1.0
    log: list[tuple[object, int]] = field(default_factory=list)
    shared: list[object] = field(default_factory=list)
    runs: int = 0

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def run(self, feed: Feed) -> dict[str, Array]:
        return dict(feed)

    def time(self, feed: Feed, repeats: int) -> list[float]:
        self.log.append((float(feed["x"][0].item()), repeats))
        self.shared.append(self)
        self.runs += 1
        noise = self._random.lognormvariate
        factor = self.drift(len(self.shared))
        return [self.seconds * factor * noise(0, self.spread) for _ in range(repeats)]

    def profile(self, feed: Feed, runs: int) -> tuple[KernelTime, ...]:
        return ()

    def close(self) -> None:
        pass


QUICK = TimingOptions(rounds=20, max_rounds=160, round_seconds=0.004, warmup=2, seconds=1e9)
LOOKS = 4
"""Calls by which it is found how often an engine that is fast runs in a round."""


@settings(max_examples=40, deadline=None)
@given(st.floats(0.2, 5.0), st.floats(1e-5, 1e-1), st.floats(0, 0.1), st.integers(0, 99))
def test_the_interval_holds_the_estimate_and_is_near_the_truth(
    ratio: float, seconds: float, spread: float, seed: int
) -> None:
    engine = Planted(seconds * ratio, spread, seed)
    found = compare(engine, Planted(seconds, spread, seed + 1000), LOADS, 0.02, QUICK)
    assert found.ratio_low <= found.ratio <= found.ratio_high
    assert found.low <= found.seconds <= found.high
    assert found.ratio == pytest.approx(ratio, rel=2 * spread + 1e-9)
    assert found.seconds == pytest.approx(seconds * ratio, rel=2 * spread + 1e-9)
    assert found.rounds == len(found.samples) == len(found.baseline) >= QUICK.rounds


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    held = 0
    for seed in range(60):
        engine, plain = Planted(0.8e-3, 0.05, seed), Planted(1e-3, 0.05, 1000 + seed)
        (found,) = head_to_head([engine], plain, LOADS, QUICK)
        held += found.ratio_low <= 0.8 <= found.ratio_high
    assert held >= 50


def test_a_machine_that_slows_down_slows_both() -> None:
    """What drifts by a factor of three within the comparison leaves the ratio as it is."""
    clock: list[object] = []

    def slower(step: int) -> float:
        return 1 + step / 20

    engine = Planted(0.7e-3, 0.01, 1, slower, shared=clock)
    plain = Planted(1e-3, 0.01, 2, slower, shared=clock)
    found = compare(engine, plain, LOADS, 0.01, QUICK)
    assert found.ratio == pytest.approx(0.7, rel=0.03)
    assert found.seconds > 0.9e-3
    assert len(clock) == engine.runs + plain.runs


def test_a_clear_difference_ends_soon_and_what_stays_open_at_the_limit() -> None:
    clear = compare(Planted(0.5e-3, 0.01, 1), Planted(1e-3, 0.01, 2), LOADS, 0.02, QUICK)
    assert clear.rounds == QUICK.rounds
    open_ = compare(Planted(1e-3, 0.2, 3), Planted(1e-3, 0.2, 4), LOADS, 0.02, QUICK)
    assert open_.rounds == QUICK.max_rounds
    assert open_.ratio_low <= 1.02
    assert open_.ratio_high >= 0.98
    odd = TimingOptions(rounds=30, max_rounds=70)
    assert compare(Planted(1e-3, 0.2, 5), Planted(1e-3, 0.2, 6), LOADS, 0.0, odd).rounds == 70


def test_a_small_difference_takes_as_many_rounds_as_it_needs() -> None:
    found = compare(Planted(0.95e-3, 0.3, 1), Planted(1e-3, 0.3, 2), LOADS, 0.005, QUICK)
    assert QUICK.rounds < found.rounds <= QUICK.max_rounds
    assert found.rounds % QUICK.rounds == 0


def test_engines_alternate_in_random_order_on_the_same_inputs() -> None:
    clock: list[object] = []
    engines = [Planted(1e-3, shared=clock) for _ in range(3)]
    head_to_head(engines[:2], engines[2], LOADS, QUICK)
    rounds = clock[3 * LOOKS :]
    assert len(rounds) == 3 * (QUICK.rounds + QUICK.warmup)
    in_threes = [tuple(rounds[i : i + 3]) for i in range(0, len(rounds), 3)]
    assert all({id(e) for e in three} == {id(e) for e in engines} for three in in_threes)
    assert len({tuple(id(e) for e in three) for three in in_threes}) > 2
    given_to = [[feed for feed, _ in e.log] for e in engines]
    assert given_to[0] == given_to[1] == given_to[2]
    assert set(given_to[0]) == {0.0, 1.0}


@pytest.mark.parametrize(
    ("seconds", "repeats"), [(1e-6, 64), (1e-4, 40), (1e-3, 4), (4e-3, 1), (1.0, 1)]
)
def test_a_round_lasts_about_as_long_as_told(seconds: float, repeats: int) -> None:
    engine, plain = Planted(seconds), Planted(seconds)
    head_to_head([engine], plain, LOADS, QUICK)
    assert {r for _, r in engine.log[LOOKS:]} == {repeats}


def test_both_engines_run_equally_often_in_a_round() -> None:
    fast, slow = Planted(1e-4), Planted(2e-3)
    compare(fast, slow, LOADS, 0.02, QUICK)
    assert {r for _, r in fast.log[LOOKS:]} == {r for _, r in slow.log[LOOKS:]} == {2}


def test_a_single_slow_inference_does_not_count() -> None:
    class Hiccup(Planted):
        def time(self, feed: Feed, repeats: int) -> list[float]:
            found = super().time(feed, repeats)
            if self.runs % 4 == 0:
                found[0] *= 1000
            return found

    found = compare(Hiccup(0.5e-3), Planted(1e-3), LOADS, 0.02, QUICK)
    assert found.ratio == pytest.approx(0.5)
    assert found.ratio_high == pytest.approx(0.5)


@settings(max_examples=30, deadline=None)
@given(st.floats(0, 0.6), st.integers(0, 99))
def test_the_floor_of_an_engine_against_itself_has_a_lower_limit(spread: float, seed: int) -> None:
    floor, latency = noise_floor(
        Planted(1e-3, spread, seed), Planted(1e-3, spread, 77), LOADS, QUICK
    )
    assert floor >= 0.005
    assert latency.seconds == pytest.approx(1e-3, rel=2 * spread + 1e-9)
    if spread == 0:
        assert floor == 0.005


def test_the_floor_grows_with_what_sessions_differ_by() -> None:
    floor, _ = noise_floor(Planted(1.03e-3, 0.001, 1), Planted(1e-3, 0.001, 2), LOADS, QUICK)
    assert floor == pytest.approx(math.log(1.03), rel=0.1)
    floor, _ = noise_floor(Planted(3e-3), Planted(1e-3), LOADS, QUICK)
    assert floor == pytest.approx(math.log(3)), "shown as it is"


def test_fp32_against_itself_is_one_by_definition() -> None:
    _, latency = noise_floor(Planted(1e-3, 0.1, 1), Planted(1e-3, 0.1, 2), LOADS, QUICK)
    found = against_itself(latency)
    assert (found.ratio, found.ratio_low, found.ratio_high) == (1, 1, 1)
    assert (found.seconds, found.samples) == (latency.seconds, latency.samples)


def test_the_same_samples_give_the_same_interval() -> None:
    found = [
        compare(Planted(0.9e-3, 0.1, 1), Planted(1e-3, 0.1, 2), LOADS, 0.02, QUICK)
        for _ in range(2)
    ]
    assert found[0] == found[1]


def test_an_engine_that_fails_is_not_timed() -> None:
    class Broken(Planted):
        def time(self, feed: Feed, repeats: int) -> list[float]:
            if self.runs > 5:
                raise RunError("the device is gone")
            return super().time(feed, repeats)

    with pytest.raises(RunError, match="gone"):
        compare(Broken(1e-3), Planted(1e-3), LOADS, 0.02, QUICK)


def test_shapes_count_by_their_weight() -> None:
    class Large(Planted):
        def time(self, feed: Feed, repeats: int) -> list[float]:
            return [s * feed["x"].size for s in super().time(feed, repeats)]

    one, four = {"x": np.zeros(1)}, {"x": np.zeros(4)}
    loads = [Load([one], weight=3), Load([four], weight=1, samples=4)]
    (found,) = head_to_head([Large(0.5e-3)], Large(1e-3), loads, QUICK)
    assert found.seconds == pytest.approx(0.75 * 0.5e-3 + 0.25 * 2e-3)
    assert found.ratio == pytest.approx(0.5)
    assert [(s.shapes, s.weight, s.samples) for s in found.by_shape] == [
        ({"x": (1,)}, 0.75, 1),
        ({"x": (4,)}, 0.25, 4),
    ]
    assert [s.seconds for s in found.by_shape] == pytest.approx([0.5e-3, 2e-3])
    plain = against_itself(found)
    assert [plain.ratio, *(s.ratio for s in plain.by_shape)] == [1.0] * 3
    assert [s.seconds for s in plain.by_shape] == [s.seconds for s in found.by_shape]
