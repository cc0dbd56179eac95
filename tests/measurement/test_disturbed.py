"""Rounds that something else on the machine disturbed, with a made-up clock and scheduler.

`Machine` hands out time to engines; others on it take some away, and its watch tells how much.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from precsearch.core.backend import Array, Feed, KernelTime
from precsearch.measurement.timing.latency import (
    Load,
    Surroundings,
    TimingOptions,
    compare,
    head_to_head,
    noise_floor,
)
from precsearch.system.disturbance import CpuWatch, NoWatch, Patience, Seen

LOADS = (Load(({"x": np.zeros(1)},)),)
OPTIONS = TimingOptions(seconds=1e9)


@dataclass
class Machine:
    """One core. ``stolen`` tells how long others take it while an engine runs.

    Attributes:
        stolen: From the number of timings so far and the time that one takes, in seconds.
        known: Whether wall time less waiting is what was computed.
        others: Whether another process uses the device, by the number of timings so far.
    """

    stolen: Callable[[int, float], float] = lambda _number, _seconds: 0.0
    known: bool = True
    others: Callable[[int], bool] = lambda _: False
    timings: int = 0
    waited: float = 0.0
    paused: list[float] = field(default_factory=list)

    def look(self) -> Seen:
        seen = Seen(self.waited, self.others(self.timings), self.known)
        self.waited = 0.0
        return seen

    def around(self, patience: float = 0.0) -> Surroundings:
        return Surroundings(self, Patience(patience, self.paused.append, share=0.0))


@dataclass
class Engine:
    """Computes for ``seconds``, and loses what the machine takes away in its first inference."""

    machine: Machine
    seconds: float
    spread: float = 0.01
    seed: int = 0
    asked: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def run(self, feed: Feed) -> dict[str, Array]:
        return dict(feed)

    def time(self, feed: Feed, repeats: int) -> list[float]:
        self.asked.append(repeats)
        noise = self._random.lognormvariate
        found = [self.seconds * noise(0, self.spread) for _ in range(repeats)]
        lost = self.machine.stolen(self.machine.timings, sum(found))
        self.machine.timings += 1
        self.machine.waited += lost
        found[0] += lost
        return found

    def profile(self, feed: Feed, runs: int) -> tuple[KernelTime, ...]:
        return ()

    def close(self) -> None:
        pass


def pair(machine: Machine, ratio: float, seconds: float = 1e-3) -> tuple[Engine, Engine]:
    return Engine(machine, ratio * seconds, seed=1), Engine(machine, seconds, seed=2)


def now_and_then(every: int, lost: float) -> Callable[[int, float], float]:
    return lambda number, _: lost if number % every == 0 else 0.0


def test_on_a_quiet_machine_nothing_is_dropped() -> None:
    machine = Machine()
    found = compare(*pair(machine, 0.5), LOADS, 0.02, OPTIONS, machine.around())
    assert (found.rounds, found.dropped, found.unsure) == (OPTIONS.rounds, 0, ())


@pytest.mark.parametrize("seconds", [1e-4, 1e-3, 2e-2])
def test_disturbed_rounds_are_dropped_and_made_again(seconds: float) -> None:
    """An engine of 20 ms runs once a round: what others take would be in its median."""
    machine = Machine(now_and_then(5, 0.03))
    found = compare(*pair(machine, 0.5, seconds), LOADS, 0.02, OPTIONS, machine.around())
    assert found.rounds == OPTIONS.rounds
    assert found.dropped > 0
    assert found.unsure == ()
    assert found.ratio == pytest.approx(0.5, rel=0.02)
    assert found.seconds == pytest.approx(0.5 * seconds, rel=0.02)
    assert machine.paused == []


def test_a_little_waiting_is_no_disturbance() -> None:
    machine = Machine(lambda _, seconds: 0.02 * seconds)
    found = compare(*pair(machine, 0.5), LOADS, 0.02, OPTIONS, machine.around())
    assert (found.dropped, found.unsure) == (0, ())


def test_on_a_machine_that_never_becomes_quiet_the_result_is_unsure_and_near_the_truth() -> None:
    draw = random.Random(0)
    machine = Machine(lambda _, seconds: seconds * draw.uniform(0.3, 3))
    found = compare(*pair(machine, 0.5, 2e-2), LOADS, 0.02, OPTIONS, machine.around())
    (said,) = found.unsure
    assert said.startswith("something else uses this machine (")
    assert said.endswith("rounds were disturbed)")
    assert found.ratio == pytest.approx(0.5, rel=0.05), "what was lost is known on one core"
    assert found.seconds == pytest.approx(1e-2, rel=0.05)


def test_where_what_was_lost_is_not_known_the_least_disturbed_rounds_stand() -> None:
    draw = random.Random(0)
    machine = Machine(lambda _, seconds: seconds * draw.choice([0.1, 5.0]), known=False)
    found = compare(*pair(machine, 0.5, 2e-2), LOADS, 0.02, OPTIONS, machine.around())
    assert found.unsure
    assert found.ratio == pytest.approx(0.5, rel=0.1)


def test_rounds_get_shorter_and_patience_is_used_up_where_disturbances_come_in_a_row() -> None:
    machine = Machine(lambda _, seconds: seconds)
    engine, plain = pair(machine, 0.5, 1e-4)
    compare(engine, plain, LOADS, 0.02, OPTIONS, machine.around(patience=1.0))
    assert engine.asked[-1] < max(engine.asked)
    assert min(plain.asked[-10:]) >= 5
    assert machine.paused == [0.1, 0.2, 0.5]


def test_a_machine_that_becomes_quiet_in_time_leaves_no_doubt() -> None:
    machine = Machine()
    machine.stolen = lambda _, seconds: 0.0 if machine.paused else seconds
    found = compare(*pair(machine, 0.5), LOADS, 0.02, OPTIONS, machine.around(patience=1.0))
    assert machine.paused == [0.1]
    assert found.unsure == ()
    assert found.ratio == pytest.approx(0.5, rel=0.02)


def test_another_process_on_the_device_disturbs_whatever_was_waited() -> None:
    machine = Machine(others=lambda number: number % 7 == 0, known=False)
    found = compare(*pair(machine, 0.5), LOADS, 0.02, OPTIONS, machine.around())
    assert found.dropped > 0
    assert found.unsure == ()
    busy = Machine(others=lambda _: True, known=False)
    assert compare(*pair(busy, 0.5), LOADS, 0.02, OPTIONS, busy.around()).unsure


@settings(max_examples=30, deadline=None)
@given(st.floats(0.25, 4.0), st.floats(0.0, 0.45), st.floats(2e-4, 3e-2), st.integers(0, 99))
def test_a_ratio_is_near_the_truth_or_marked(
    ratio: float, often: float, seconds: float, seed: int
) -> None:
    """Time slices of 3 ms that others get, now and then: the digits example on a busy core."""
    draw = random.Random(seed)
    machine = Machine(lambda *_: 3e-3 * draw.randint(1, 4) if draw.random() < often else 0.0)
    found = compare(*pair(machine, ratio, seconds), LOADS, 0.02, OPTIONS, machine.around())
    assert found.unsure or found.ratio == pytest.approx(ratio, rel=0.05)


def test_the_noise_of_a_busy_machine_is_that_of_its_quiet_rounds() -> None:
    machine = Machine(now_and_then(5, 0.03))
    engine, plain = pair(machine, 1.0, 2e-2)
    floor, latency = noise_floor(engine, plain, LOADS, OPTIONS, machine.around())
    assert floor < 0.02
    assert latency.dropped > 0


@pytest.mark.parametrize("seconds", [0.1, 0.5, 2.0])
def test_a_slow_engine_is_timed_for_a_bounded_time(seconds: float) -> None:
    options = TimingOptions()
    engine, plain = pair(Machine(), 1.0, seconds)
    found = compare(engine, plain, LOADS, 0.001, options)
    spent = seconds * (sum(engine.asked) + sum(plain.asked))
    least = 2 * (options.min_rounds + 3) * seconds  # and the looks before the rounds
    assert found.rounds >= options.min_rounds
    assert spent <= max(1.2 * options.seconds, 1.05 * least)


def test_several_engines_are_timed_for_as_long_each() -> None:
    engines = [Engine(Machine(), 0.5, seed=i) for i in range(5)]
    found = head_to_head(engines[:4], engines[4], LOADS, TimingOptions())
    assert found[0].rounds == pytest.approx(6, abs=1)


class TestRace:
    """A comparison ends once it cannot change what is concluded."""

    def rounds(self, ratio: float, spread: float, best: float | None, noise: float = 0.02) -> int:
        engine = Engine(Machine(), ratio * 1e-3, spread, seed=1)
        plain = Engine(Machine(), 1e-3, spread, seed=2)
        return compare(engine, plain, LOADS, noise, OPTIONS, best=best).rounds

    def test_a_sure_loser_ends_at_half_of_the_first_rounds(self) -> None:
        assert self.rounds(0.8, 0.15, best=0.5) == OPTIONS.rounds // 2
        assert self.rounds(0.6, 0.15, best=0.58) > OPTIONS.rounds // 2, "it may be faster"
        assert self.rounds(0.8, 0.15, best=None) > OPTIONS.rounds

    def test_a_tie_with_fp32_ends_once_it_is_one(self) -> None:
        assert self.rounds(1.0, 0.002, best=None) == OPTIONS.rounds

    def test_a_tie_with_the_best_ends_once_it_is_one(self) -> None:
        assert self.rounds(0.5, 0.005, best=0.5) == OPTIONS.rounds

    def test_a_possible_best_engine_is_timed_until_its_interval_is_narrow(self) -> None:
        assert self.rounds(0.75, 0.15, best=0.8) > OPTIONS.rounds

    def test_a_rough_time_takes_half_of_the_first_rounds(self) -> None:
        engine, plain = pair(Machine(), 0.97)
        found = compare(engine, plain, LOADS, 1e-4, OPTIONS, rough=True)
        assert found.rounds == OPTIONS.rounds // 2


@settings(max_examples=40, deadline=None)
@given(st.floats(0.3, 1.5), st.floats(0.3, 1.0), st.floats(0.0, 0.1), st.integers(0, 99))
def test_a_race_never_takes_a_clear_loser_for_the_best(
    ratio: float, best: float, spread: float, seed: int
) -> None:
    engine = Engine(Machine(), ratio * 1e-3, spread, seed)
    plain = Engine(Machine(), 1e-3, spread, seed + 1000)
    noise = 0.02
    found = compare(engine, plain, LOADS, noise, OPTIONS, best=best)
    alone = compare(
        Engine(Machine(), ratio * 1e-3, spread, seed),
        Engine(Machine(), 1e-3, spread, seed + 1000),
        LOADS,
        noise,
        OPTIONS,
    )
    assert found.rounds <= alone.rounds or abs(ratio / best - 1) < 4 * noise + spread
    if ratio > best * (1 + 4 * noise + spread):
        assert found.ratio > best
    if ratio < best * (1 - 4 * noise - spread):
        assert found.ratio < best


def scheduled(folder: Path, *threads: tuple[int, int]) -> None:
    for number, (waited, turns) in enumerate(threads):
        (folder / str(number)).mkdir(exist_ok=True)
        (folder / str(number) / "schedstat").write_text(f"123456 {waited} {turns}\n")


def test_a_cpu_s_watch_sums_what_all_threads_waited_since_the_last_look(tmp_path: Path) -> None:
    scheduled(tmp_path, (1_000_000, 5), (0, 1))
    watch = CpuWatch(1, tmp_path)
    scheduled(tmp_path, (4_000_000, 6), (500_000, 2), (500_000, 1))
    assert watch.look().waited == pytest.approx(4e-3)
    assert watch.look() == Seen(known=True)


def test_waking_threads_up_is_no_waiting(tmp_path: Path) -> None:
    scheduled(tmp_path, (0, 0), (0, 0))
    watch = CpuWatch(2, tmp_path)
    scheduled(tmp_path, (1_000_000, 100), (1_000_000, 100))
    assert watch.look() == Seen()
    scheduled(tmp_path, (9_000_000, 102), (1_000_000, 100))
    seen = watch.look()
    assert seen.waited == pytest.approx(8e-3 - 1e-4)
    assert not seen.known, "other threads computed meanwhile"


def test_a_thread_that_ends_takes_its_waiting_with_it(tmp_path: Path) -> None:
    scheduled(tmp_path, (0, 0), (7_000_000, 0))
    watch = CpuWatch(1, tmp_path)
    (tmp_path / "1" / "schedstat").unlink()
    assert watch.look().waited == 0.0


@pytest.mark.parametrize("threads", [1, 2])
def test_without_scheduler_statistics_the_clock_of_the_process_is_used(
    threads: int, tmp_path: Path
) -> None:
    watch = CpuWatch(threads, tmp_path / "none")
    assert watch.look().waited >= 0.0


def test_a_backend_without_a_watch_sees_no_disturbance() -> None:
    assert NoWatch().look() == Seen()


def test_patience_ends() -> None:
    slept: list[float] = []
    patience = Patience(1.0, slept.append)
    assert [patience.wait(i) for i in range(5)] == [True, True, True, False, False]
    assert slept == [0.1, 0.2, 0.5]
    assert Patience(1.0, slept.append).wait(0), "each process has its own"


def test_patience_grows_with_the_work_that_is_done() -> None:
    slept: list[float] = []
    patience = Patience(0.1, slept.append, share=0.2)
    assert [patience.wait(0), patience.wait(0)] == [True, False]
    patience.worked(1.0)
    assert [patience.wait(0), patience.wait(0), patience.wait(0)] == [True, True, False]
