from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from precsearch.core.errors import OptionError
from precsearch.core.events import (
    BatchProposed,
    Event,
    SearchFinished,
    TrialFinished,
    TrialStarted,
    Warned,
)
from precsearch.core.problem import Problem
from precsearch.core.space import Assignment, LayerGroup, SearchSpace
from precsearch.core.strategy import ENDINGS, Proposals, ReasonedProposals
from precsearch.core.trial import Accuracy, Fidelity, Measured, Measurement, Proposal, Trial
from precsearch.search.evaluator import Evaluated, Steps
from precsearch.search.loop import search
from tests.search.loop_toys import (
    FP16,
    FP32,
    INT8,
    Climb,
    finish,
    in_process,
    timeless,
    toy_landscape,
    toy_problem,
    toy_space,
)

PROXY, ENGINE = Fidelity.PROXY, Fidelity.ENGINE


@dataclass
class Script:
    """Proposes what it was told to and keeps what it was sent."""

    batches: Sequence[Sequence[Proposal]]
    sent: list[list[Trial]] = field(default_factory=list)
    closed: bool = False

    def propose(self, problem: Problem, /) -> Proposals:
        try:
            for batch in self.batches:
                self.sent.append(list((yield batch)))
        finally:
            self.closed = True


@dataclass
class Recorder:
    """Evaluates in a given order and keeps what it was asked."""

    order: Callable[[int], Sequence[int]] = range
    asked: list[tuple[Proposal, ...]] = field(default_factory=list)
    closed: int = 0

    def __call__(self, proposals: Sequence[Proposal]) -> Steps:
        self.asked.append(tuple(proposals))
        try:
            for position in self.order(len(proposals)):
                yield position, None
                loss = len(proposals[position].assignment) / 100
                outcome = Measured(Measurement(Accuracy(loss, loss)))
                yield position, Evaluated(outcome, "", 1.0)
        finally:
            self.closed += 1


def on(key: str, fidelity: Fidelity = ENGINE) -> Proposal:
    return Proposal(Assignment.of({key: FP16}), fidelity)


def kinds(events: Sequence[Event]) -> list[str]:
    return [type(e).__name__ for e in events]


def finished(events: Sequence[Event]) -> list[TrialFinished]:
    return [e for e in events if isinstance(e, TrialFinished)]


def reason(events: Sequence[Event]) -> str:
    assert isinstance(events[-1], SearchFinished)
    return events[-1].reason


def test_trials_are_sent_in_the_order_proposed_whatever_is_done_first() -> None:
    script = Script([[on("g0"), on("g1"), on("g2")], [on("g3")]])
    recorder = Recorder(order=lambda n: range(n)[::-1])
    events, trials = finish(search(toy_problem(), script, recorder))
    assert [t.number for t in trials] == [0, 1, 2, 3]
    assert [t.proposal for t in script.sent[0]] == [on("g0"), on("g1"), on("g2")]
    assert [e.trial.number for e in finished(events)] == [2, 1, 0, 3]
    assert [e.builds for e in finished(events)] == [1, 2, 3, 4]
    assert reason(events) == "done"
    assert kinds(events)[:3] == ["BatchProposed", "TrialStarted", "TrialFinished"]
    assert script.closed


def test_what_is_known_is_answered_from_memory() -> None:
    script = Script(
        [
            [on("g0"), on("g0"), on("g0", PROXY)],
            [on("g0", PROXY), on("g1", PROXY), on("g1")],
            [on("g1", PROXY)],
        ]
    )
    recorder = Recorder()
    _, trials = finish(search(toy_problem(), script, recorder))
    assert recorder.asked == [(on("g0"),), (on("g1", PROXY), on("g1"))]
    assert len(trials) == 3
    assert script.sent[0] == [trials[0]] * 3  # an engine's accuracy answers for a proxy
    assert script.sent[1] == [trials[0], trials[2], trials[2]]
    assert script.sent[2] == [trials[2]]


def test_assignments_that_differ_in_nothing_are_one_trial() -> None:
    space = SearchSpace(
        (
            LayerGroup("conv", "conv", ("conv",), (FP32, INT8)),
            LayerGroup("add", "add", ("add",), (FP32, INT8), passive=True),
        )
    )
    idle = Proposal(Assignment.of({"add": INT8}))
    script = Script([[idle, Proposal(Assignment())]])
    events, trials = finish(search(toy_problem(space), script, Recorder()))
    assert [t.assignment for t in trials] == [Assignment()]
    assert script.sent == [[trials[0]] * 2]
    proposed = [e for e in events if isinstance(e, BatchProposed)]
    assert [p.assignment for p in proposed[0].proposals] == [Assignment()] * 2


def test_a_strategy_that_leaves_the_space_is_an_error() -> None:
    script = Script([[on("nowhere")]])
    with pytest.raises(OptionError, match="nowhere"):
        finish(search(toy_problem(), script, Recorder()))
    assert script.closed


def test_a_batch_is_cut_to_the_builds_that_are_left() -> None:
    batch = [on("g0"), on("g0", PROXY), on("g1", PROXY), on("g1"), on("g2", PROXY), on("g2")]
    script = Script([[on("g3")], batch])
    recorder = Recorder()
    events, trials = finish(search(toy_problem(builds=3), script, recorder))
    assert recorder.asked[1] == (on("g0"), on("g1", PROXY), on("g1"))
    assert [t.proposal.fidelity for t in trials].count(ENGINE) == 3
    assert reason(events) == "builds"
    assert script.closed
    assert len(script.sent) == 1  # the cut batch has no full answer


def test_a_strategy_that_ends_with_its_last_build_is_done() -> None:
    events, trials = finish(
        search(toy_problem(builds=2), Script([[on("g0"), on("g1")]]), Recorder())
    )
    assert (reason(events), len(trials)) == ("done", 2)


@pytest.mark.parametrize(
    ("given", "builds", "said"),
    [
        ("converged", None, "converged"),
        ("limit", None, "limit"),
        ("limit", 1, "builds"),
        ("limit", 2, "limit"),
        ("time", None, "done"),
        ("a sentence", None, "done"),
        (7, None, "done"),
        (None, None, "done"),
    ],
)
def test_a_strategy_gives_its_own_endings_and_none_that_only_the_loop_knows(
    given: str | None, builds: int | None, said: str
) -> None:
    class Ends:
        def propose(self, problem: Problem, /) -> ReasonedProposals:
            yield [on("g0")]
            return given

    events, _ = finish(search(toy_problem(builds=builds), Ends(), Recorder()))
    assert reason(events) == said


def test_every_ending_is_in_the_event() -> None:
    assert all(f"``{code}``" in (SearchFinished.__doc__ or "") for code in ENDINGS)


def test_a_continued_search_asks_for_nothing_that_is_known() -> None:
    _, known = finish(search(toy_problem(), Script([[on("g0"), on("g1", PROXY)]]), Recorder()))
    problem = replace(toy_problem(builds=2), known=known)
    script = Script([[on("g0"), on("g1", PROXY), on("g1")], [on("g2")]])
    recorder = Recorder()
    events, trials = finish(search(problem, script, recorder))
    assert recorder.asked == [(on("g1"),)]
    assert [e.trial.number for e in finished(events)] == [2]
    assert trials[:2] == known
    assert script.sent[0] == [known[0], trials[2], trials[2]]
    assert reason(events) == "builds", "the engine of the search before counts"


def test_a_continued_search_resumes_with_the_same_numbers() -> None:
    _, known = finish(search(toy_problem(), Script([[on("g0")]]), Recorder()))
    problem = replace(toy_problem(), known=known)
    batches = [[on("g1")], [on("g2")]]
    _, whole = finish(search(problem, Script(batches), Recorder()))
    memo = {t.proposal: t for t in whole[:2]}
    _, again = finish(search(problem, Script(batches), Recorder(), memo=memo))
    assert timeless(again) == timeless(whole)
    assert [t.number for t in whole] == [0, 1, 2]


def test_known_trials_are_free_when_the_builds_are_spent() -> None:
    script = Script([[on("g0")], [on("g0"), on("g0", PROXY)], [on("g1", PROXY)]])
    events, trials = finish(search(toy_problem(builds=1), script, Recorder()))
    assert reason(events) == "builds"
    assert len(trials) == 1
    assert len(script.sent) == 2


def test_time_spent_before_counts_and_a_batch_is_cut_when_it_is_up() -> None:
    ticks = count()
    recorder = Recorder()
    script = Script([[on("g0"), on("g1"), on("g2"), on("g3")]])
    events, trials = finish(
        search(
            toy_problem(seconds=12.0), script, recorder, spent=8.0, clock=lambda: float(next(ticks))
        )
    )
    assert reason(events) == "time"
    assert 1 <= len(trials) < 4
    assert recorder.closed == 1
    assert script.sent == []
    assert all(e.elapsed > 8 for e in finished(events))


def test_no_trial_begins_when_the_time_is_up_but_replays_go_on() -> None:
    _, known = finish(search(toy_problem(), Script([[on("g0")]]), Recorder()))
    memo = {t.proposal: t for t in known}
    recorder = Recorder()
    script = Script([[on("g0")], [on("g1")]])
    events, trials = finish(
        search(toy_problem(seconds=5.0), script, recorder, memo=memo, spent=6.0)
    )
    assert (reason(events), recorder.asked) == ("time", [])
    assert timeless(trials) == timeless(known)


def test_replayed_trials_count_as_builds_and_are_marked() -> None:
    _, known = finish(search(toy_problem(), Script([[on("g0"), on("g1")]]), Recorder()))
    memo = {t.proposal: t for t in known}
    recorder = Recorder()
    events, trials = finish(
        search(toy_problem(builds=3), Script([[on("g1"), on("g2"), on("g3")]]), recorder, memo=memo)
    )
    assert recorder.asked == [(on("g2"), on("g3"))]
    assert [e.replayed for e in finished(events)] == [True, False, False]
    assert [t.number for t in trials] == [0, 1, 2]
    assert len([e for e in events if isinstance(e, TrialStarted)]) == 2


def test_an_endless_repetition_is_stopped() -> None:
    class Stuck:
        def propose(self, problem: Problem, /) -> Proposals:
            while True:
                yield [on("g0")]

    events, trials = finish(search(toy_problem(), Stuck(), Recorder()))
    assert len(trials) == 1
    assert isinstance(events[-2], Warned)
    assert "nothing new" in events[-2].message


def test_empty_batches_do_not_count_as_progress() -> None:
    class Empty:
        def propose(self, problem: Problem, /) -> Proposals:
            while True:
                yield []

    assert finish(search(toy_problem(), Empty(), Recorder()))[1] == ()


@pytest.mark.parametrize("after", range(8))
def test_closing_closes_strategy_and_evaluation(after: int) -> None:
    script, recorder = Script([[on("g0"), on("g1"), on("g2")]]), Recorder()
    events = search(toy_problem(), script, recorder)
    seen = [next(events) for _ in range(after)]
    events.close()
    assert script.closed == bool(seen)
    assert recorder.closed == len(recorder.asked)


def test_an_interrupt_passes_through_and_leaves_nothing_open() -> None:
    class Interrupted(Recorder):
        def __call__(self, proposals: Sequence[Proposal]) -> Steps:
            yield from list(super().__call__(proposals))[:2]
            raise KeyboardInterrupt

    script = Script([[on("g0"), on("g1")]])
    events = search(toy_problem(), script, Interrupted())
    seen: list[Event] = []
    with pytest.raises(KeyboardInterrupt):
        seen.extend(events)
    assert len(finished(seen)) == 1
    assert script.closed


def test_an_interrupt_thrown_in_leaves_nothing_open() -> None:
    script, recorder = Script([[on("g0"), on("g1")]]), Recorder()
    events = search(toy_problem(), script, recorder)
    next(events), next(events)
    with pytest.raises(KeyboardInterrupt):
        events.throw(KeyboardInterrupt())
    assert script.closed
    assert recorder.closed == 1


@given(st.integers(0, 99), st.integers(2, 5))
@settings(max_examples=15, deadline=None)
def test_decisions_do_not_depend_on_the_number_of_workers(seed: int, workers: int) -> None:
    space = toy_space(4)
    landscape = toy_landscape(space, seed)
    problem = toy_problem(space, builds=random.Random(seed).choice([None, 7]))
    _, alone = finish(search(problem, Climb(), in_process(space, landscape)))
    many = in_process(space, landscape, workers, delays=random.Random(seed))
    events, together = finish(search(problem, Climb(), many))
    assert timeless(together) == timeless(alone)
    begun = {e.number for e in events if isinstance(e, TrialStarted)}
    assert begun == {t.number for t in together}
