"""A search that goes on after a miss on the holdout, on planted landscapes and a made-up clock."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from precsearch.core.events import (
    Event,
    FinalistJudged,
    RunStarted,
    SearchContinued,
    SearchFinished,
    SearchStarted,
    TrialFinished,
    Warned,
)
from precsearch.core.precision import Precision
from precsearch.core.problem import Bound, Budget, Goal, Problem
from precsearch.core.space import Assignment, LayerGroup, SearchSpace
from precsearch.core.trial import Accuracy, Fidelity, Measured, Measurement, Proposal, Trial
from precsearch.optimization.continuing import MOST, as_seen, gained, tightened
from precsearch.optimization.stages.search import Rounds
from precsearch.optimization.stages.select import Choice, Confirmed
from precsearch.optimization.stopwatch import Stopwatch, confirmation
from precsearch.plan.plan import Finalist
from precsearch.registry import strategy
from precsearch.search.evaluator import Evaluate, Evaluated, sequential
from precsearch.search.journal import Journal
from tests.cli.runs import latency

INT8 = Precision.INT8
KEYS = tuple("abcdefgh")
SPACE = SearchSpace(
    tuple(LayerGroup(k, "conv", (k,), (Precision.FP32, INT8), macs=1000) for k in KEYS)
)
ERRORS = dict(zip(KEYS, (1e-3, 1.5e-3, 2e-3, 1e-3, 5e-4, 2e-3, 1e-3, 3e-3), strict=True))
FRAGILE = "h"
"""On the holdout this group is off by much more than on the search samples."""


def loss(assignment: Assignment, held_out: bool = False) -> float:
    errors = [20 * ERRORS[k] if held_out and k == FRAGILE else ERRORS[k] for k in assignment]
    return math.sqrt(sum(e * e for e in errors))


def ratio(assignment: Assignment) -> float:
    return 1 - 0.08 * len(assignment)


class World:
    """Engines that take ten seconds each, on a clock of their own."""

    def __init__(self, seconds: float = 10.0) -> None:
        self.now = 0.0
        self.seconds = seconds
        self.built: list[Assignment] = []
        self.judged: list[Assignment] = []
        self.stop_at = math.inf
        self.proxy = 0.01

    def varied(self, asked: Assignment) -> float:
        """An engine's time over the usual one."""
        return 1.0

    def clock(self) -> float:
        return self.now

    def evaluate(self, proposal: Proposal) -> Evaluated:
        asked = proposal.assignment
        engine = proposal.fidelity is Fidelity.ENGINE
        took = self.seconds * (self.varied(asked) if engine else self.proxy)
        self.now += took
        if engine:
            self.built.append(asked)
            if len(self.built) >= self.stop_at:
                raise KeyboardInterrupt
        off = loss(asked)
        times = latency(ratio(asked), 0.001) if engine else None
        seconds = {k: 1e-4 * (0.2 if k in asked else 1.0) for k in KEYS} if engine else {}
        found = Measurement(Accuracy(off, off), times, seconds)
        return Evaluated(Measured(found), f"{asked.digest}", took)

    @contextmanager
    def evaluating(self, _: Problem) -> Iterator[Evaluate]:
        yield sequential(self.evaluate)

    def confirm(
        self, tolerance: float
    ) -> Callable[[Sequence[Trial], float | None], Generator[Event, None, Confirmed]]:
        def confirmed(
            chosen: Sequence[Trial], seconds: float | None
        ) -> Generator[Event, None, Confirmed]:
            looks = []
            for trial in sorted(chosen, key=lambda t: (ratio(t.assignment), t.number)):
                self.now += self.seconds / 5
                self.judged.append(trial.assignment)
                off, speed = loss(trial.assignment, held_out=True), ratio(trial.assignment)
                passed = off <= tolerance
                assert trial.measurement is not None
                there = trial.measurement.accuracy.loss
                looks.append(Finalist(trial.number, speed, there, off, passed))
                yield FinalistJudged(trial.number, off, speed, passed)
                if passed:
                    held = Accuracy(off, off)
                    choice = Choice(trial, trial.measurement, held, tuple(looks))
                    return Confirmed(choice, tuple(looks))
            return Confirmed(None, tuple(looks))

        return confirmed


def problem(tolerance: float, builds: int | None = None, seconds: float | None = None) -> Problem:
    return Problem(SPACE, Goal(Bound(tolerance), 0.01), Budget(builds, seconds))


def warned(said: Sequence[str]) -> Generator[Event, None, None]:
    for message in said:
        yield Warned(message)


def undisturbed(found: Measurement | None) -> Generator[Event, None, None]:
    yield from ()


def started(asked: Problem, name: str = "auto") -> SearchStarted:
    return SearchStarted("d", name, 8, 8, asked.goal.bound, asked.budget, 0.01)


def searched(
    asked: Problem, world: World, journal: Journal, name: str = "auto"
) -> tuple[Choice, Rounds, list[Event]]:
    """A whole run; what the journal holds is replayed."""
    memo = journal.memo
    plain = Measurement(Accuracy(0.0, 0.0), latency(1.0))
    watch = Stopwatch(world.now, memo.seconds, asked.budget.seconds, world.clock)
    confirm = world.confirm(asked.goal.bound.tolerance)
    rounds = Rounds(
        asked, strategy(name), plain, memo, watch, world.evaluating, confirm, warned, undisturbed
    )
    events: list[Event] = [RunStarted({}, "m.onnx", "0")]
    journal.append(events[0])
    steps = rounds.events(started(asked, name))
    while True:
        try:
            event = next(steps)
        except StopIteration as stop:
            return stop.value, rounds, events
        journal.append(event)
        events.append(event)


def run(
    folder: Path,
    tolerance: float,
    *,
    world: World | None = None,
    resume: bool = False,
    builds: int = 16,
) -> tuple[Choice, Rounds, list[Event]]:
    asked = problem(tolerance, builds)
    with Journal.open(folder, {}, resume=resume) as journal:
        return searched(asked, world or World(), journal)


def best(tolerance: float) -> float:
    """The least ratio of all assignments that are within the bound on both parts."""
    every = (
        Assignment.of({k: INT8 for i, k in enumerate(KEYS) if bits >> i & 1})
        for bits in range(1 << len(KEYS))
    )
    fits = (a for a in every if max(loss(a) * 1.02, loss(a, held_out=True)) <= tolerance)
    return min(ratio(a) for a in fits)


def test_a_search_whose_finalists_miss_goes_on_and_finds_what_passes(tmp_path: Path) -> None:
    choice, rounds, events = run(tmp_path, 6e-3)
    uniform = SPACE.uniform(INT8)
    first = next(e for e in events if isinstance(e, FinalistJudged))
    assert (first.number, first.passed) == (1, False), "INT8 passed on the search samples"
    assert loss(uniform) < 6e-3 < loss(uniform, held_out=True)
    assert rounds.continued
    assert choice.holdout is not None
    assert choice.holdout.loss <= 6e-3
    assert ratio(choice.trial.assignment) < 0.8, "not FP32, which all other finalists were"
    assert FRAGILE not in choice.trial.assignment


@pytest.mark.parametrize("tolerances", [(2e-3, 6e-3), (4e-3, 3e-2)])
def test_a_wider_bound_never_gives_a_slower_engine(
    tolerances: tuple[float, float], tmp_path: Path
) -> None:
    tight, wide = (ratio(run(tmp_path / str(t), t)[0].trial.assignment) for t in tolerances)
    assert wide <= tight * 1.01


def test_trials_and_holdout_checks_are_numbered_on_and_none_is_repeated(tmp_path: Path) -> None:
    world = World()
    choice, rounds, events = run(tmp_path, 6e-3, world=world)
    finished = [e.trial.number for e in events if isinstance(e, TrialFinished)]
    assert finished == sorted(set(finished))
    assert len(world.built) == len(set(world.built)) <= 40
    missed = [look.trial for look in rounds.looks if not look.passed]
    assert len(missed) == len(set(missed))
    assert [e.number for e in events if isinstance(e, SearchContinued)] == [
        *range(1, len(rounds.continued) + 1)
    ]
    assert all(step.stopped for step in rounds.continued)
    assert choice.looks == tuple(rounds.looks)
    assert {look.round for look in rounds.looks} <= set(range(len(rounds.continued) + 1))


def test_the_number_of_continuations_is_limited(tmp_path: Path) -> None:
    world = World()
    with Journal.open(tmp_path, {}) as journal:
        asked = problem(6e-3, 60)
        plain = Measurement(Accuracy(0.0, 0.0), latency(1.0))

        def none_but_fp32(
            chosen: Sequence[Trial], seconds: float | None
        ) -> Generator[Event, None, Confirmed]:
            looks = [
                Finalist(t.number, ratio(t.assignment), loss(t.assignment), 1.0, False)
                for t in chosen
                if t.assignment
            ]
            plain = next(t for t in chosen if not t.assignment)
            assert plain.measurement is not None
            looks.append(Finalist(plain.number, 1.0, 0.0, 0.0, True))
            yield from ()
            return Confirmed(Choice(plain, plain.measurement, None, ()), tuple(looks))

        watch = Stopwatch(0.0, clock=world.clock)
        rounds = Rounds(
            asked,
            strategy("auto"),
            plain,
            journal.memo,
            watch,
            world.evaluating,
            none_but_fp32,
            warned,
            undisturbed,
        )
        list(rounds.events(started(asked)))
    tolerances = [step.tolerance for step in rounds.continued]
    assert len(tolerances) == MOST
    assert all(t < 6e-3 for t in tolerances)


def test_without_a_miss_or_without_a_gain_the_search_does_not_go_on(tmp_path: Path) -> None:
    _, rounds, _ = run(tmp_path, 0.2, builds=20)
    assert rounds.continued == []
    goal = Goal(Bound(1e-2), 0.02)
    miss, tie = Finalist(1, 0.50, 0.005, 0.02, False), Finalist(2, 0.505, 0.005, 0.006, True)
    assert gained(goal, [miss], 1.0)
    assert not gained(goal, [miss, tie], tie.ratio), "what passed is as fast"
    assert not gained(goal, [tie], tie.ratio)


def test_an_engine_budget_that_is_spent_ends_it_and_is_the_reason(tmp_path: Path) -> None:
    choice, rounds, _ = run(tmp_path, 6e-3, builds=2)
    assert rounds.stopped == "builds"
    assert rounds.continued == []
    assert not choice.trial.assignment
    assert any(not look.passed for look in choice.looks)


def test_the_time_budget_covers_set_up_search_and_confirmation(tmp_path: Path) -> None:
    """Set-up took 60 of 200 seconds; an engine takes 10, a look 2."""
    for limit in (120.0, 200.0, 400.0):
        world = World()
        folder = tmp_path / str(limit)
        with Journal.open(folder, {}) as journal:
            asked = problem(6e-3, None, limit)
            plain = Measurement(Accuracy(0.0, 0.0), latency(1.0))
            watch = Stopwatch(world.now, 0.0, limit, world.clock)
            world.now = 60.0
            confirm = world.confirm(6e-3)
            rounds = Rounds(
                asked,
                strategy("auto"),
                plain,
                journal.memo,
                watch,
                world.evaluating,
                confirm,
                warned,
                undisturbed,
            )
            list(rounds.events(started(asked)))
        assert world.now <= limit + world.seconds, "overrun by one engine at most"
        assert len(world.built) >= 3
        assert rounds.stopped in ("time", "converged", "complete", "patience", "settled", "limit")


def test_the_confirmation_s_share_of_the_budget_is_bounded() -> None:
    found = Measured(Measurement(Accuracy(0.0, 0.0), latency(0.5), build_seconds=500.0))
    slow = Trial(1, Proposal(SPACE.uniform(INT8)), found, seconds=900.0)
    assert confirmation(problem(1e-2, None, 1000.0), [slow]) == 250.0
    assert confirmation(problem(1e-2), [slow]) == 0.0
    assert confirmation(problem(1e-2, None, 1000.0), []) == 0.0
    quick = replace(slow, seconds=1.0, outcome=Measured(Measurement(Accuracy(0, 0), latency(0.5))))
    assert 1.0 < confirmation(problem(1e-2, None, 1000.0), [quick]) < 20.0


def test_a_resumed_run_goes_on_in_the_same_way_without_building_anything(tmp_path: Path) -> None:
    choice, rounds, _ = run(tmp_path, 6e-3)
    assert rounds.continued
    world = World()
    again, replayed, told = run(tmp_path, 6e-3, world=world, resume=True)
    assert world.built == []
    assert again.trial == choice.trial
    assert replayed.continued == rounds.continued
    assert [look.trial for look in replayed.looks] == [look.trial for look in rounds.looks]
    assert sum(isinstance(e, SearchFinished) for e in told) == 1 + len(rounds.continued)
    third, last, _ = run(tmp_path, 6e-3, world=World(), resume=True)
    assert (third.trial, last.continued) == (choice.trial, rounds.continued)


@pytest.mark.parametrize("stop_at", [1, 2, 3, 8, 12])
def test_stopped_anywhere_and_resumed_it_ends_as_if_never_stopped(
    stop_at: int, tmp_path: Path
) -> None:
    whole, rounds, _ = run(tmp_path / "whole", 6e-3)
    world = World()
    world.stop_at = stop_at
    stopped, first, events = run(tmp_path / "cut", 6e-3, world=world)
    if stop_at <= len({t.number for t in rounds.trials if t.proposal.fidelity is Fidelity.ENGINE}):
        assert first.stopped == "interrupted"
        (end,) = [e for e in events if isinstance(e, SearchFinished)][-1:]
        assert end.reason == "interrupted"
        missed = {look.trial for look in first.looks if not look.passed}
        assert stopped.trial.number not in missed, "what missed on the holdout is not chosen"
    resumed, second, _ = run(tmp_path / "cut", 6e-3, resume=True)
    assert resumed.trial.assignment == whole.trial.assignment
    assert second.continued == rounds.continued
    assert [t.assignment for t in second.trials] == [t.assignment for t in rounds.trials]


def test_judgements_of_an_earlier_run_are_dropped_after_other_trials(tmp_path: Path) -> None:
    """A larger budget of engines lets the first search go on: its finalists are others."""
    _, short, _ = run(tmp_path, 6e-3, builds=3)
    choice, rounds, _ = run(tmp_path, 6e-3, resume=True)
    assert len(rounds.trials) > len(short.trials)
    assert choice.holdout is not None
    assert choice.holdout.loss <= 6e-3


def test_the_bound_is_bisected_down_to_the_measured_loss() -> None:
    bound = Bound(1e-2)
    look = Finalist(1, 0.5, 0.006, 0.02, False)
    scaled = 0.9 * 1e-2 * 0.3
    first = tightened(bound, [look], [])
    assert first is not None
    assert first == pytest.approx(math.sqrt(scaled * 1e-2))
    passed = Finalist(2, 0.6, 0.001, 0.009, True)
    assert tightened(bound, [look, passed], []) == first
    again = replace(look, round=1)
    lower = tightened(bound, [look, again], [first])
    assert lower is not None
    assert lower == pytest.approx(math.sqrt(scaled * first)), "the first try missed, too"
    higher = tightened(bound, [look], [first])
    assert higher == pytest.approx(math.sqrt(first * 1e-2)), "the first try did not miss"
    both = [look, again, replace(look, round=2)]
    assert tightened(bound, both, [first, lower]) == pytest.approx(scaled), "the last try"
    assert tightened(bound, [look], [0.009]) is None, "no other engine is to be expected"
    for odd in (replace(look, holdout_loss=math.inf), replace(look, search_loss=0.0)):
        assert tightened(bound, [odd], []) == pytest.approx(1e-2 * math.sqrt(0.9 * 0.5))


def test_an_engine_that_missed_passes_only_under_bounds_that_its_holdout_loss_meets() -> None:
    trial = Trial(1, Proposal(SPACE.uniform(INT8)), Measured(Measurement(Accuracy(0.0, 0.0))))
    proxy = Trial(2, Proposal(SPACE.uniform(INT8), Fidelity.PROXY), trial.outcome)
    look = Finalist(1, 0.5, 0.0, 0.02, False)
    seen, same = as_seen([trial, proxy], [look])
    assert seen.measurement is not None
    assert not Goal(Bound(0.019)).passes(seen.measurement)
    assert Goal(Bound(0.021)).passes(seen.measurement)
    assert same is proxy
    assert as_seen([trial], [replace(look, passed=True)]) == (trial,)
