"""Proposals that a strategy does not wait for: answers come as they are done, one at a time."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest

from precsearch.core.events import SearchFinished, TrialFinished
from precsearch.core.problem import Problem
from precsearch.core.space import Assignment
from precsearch.core.strategy import Ahead, Proposals
from precsearch.core.trial import (
    Accuracy,
    Failed,
    Fidelity,
    Measured,
    Measurement,
    Outcome,
    Proposal,
    Trial,
)
from precsearch.search.evaluator import Evaluated, Steps, pooled, sequential
from precsearch.search.loop import search
from tests.search.loop_toys import FP16, finish, toy_problem, toy_space

PROXY, ENGINE = Fidelity.PROXY, Fidelity.ENGINE


def on(key: str, fidelity: Fidelity = ENGINE) -> Proposal:
    return Proposal(Assignment.of({key: FP16}), fidelity)


def outcome(proposal: Proposal) -> Outcome:
    loss = len(proposal.assignment) / 100
    return Measured(Measurement(Accuracy(loss, loss)))


@dataclass
class Timed:
    """So many devices; each proposal takes as long as it is told, by a clock of its own."""

    seconds: Callable[[Proposal], float]
    devices: int = 3
    now: float = 0.0
    asked: list[Proposal] = field(default_factory=list)
    of: Callable[[Proposal], Outcome] = outcome

    def __call__(self, proposals: Sequence[Proposal]) -> Steps:
        queue, begun, running = list(proposals), 0, list[tuple[float, int]]()
        while begun < len(queue) or running:
            while begun < len(queue) and len(running) < self.devices:
                position, begun = begun, begun + 1
                queue += (yield position, None) or ()
                self.asked.append(queue[position])
                heapq.heappush(running, (self.now + self.seconds(queue[position]), position))
            self.now, position = heapq.heappop(running)
            took = self.seconds(queue[position])
            queue += (yield position, Evaluated(self.of(queue[position]), "", took)) or ()


@dataclass
class Kept:
    """Yields what it was told to and keeps the answers."""

    batches: Sequence[Sequence[Proposal]]
    sent: list[list[Proposal]] = field(default_factory=list)

    def propose(self, problem: Problem, /) -> Proposals:
        for batch in self.batches:
            trials: Sequence[Trial] = yield batch
            self.sent.append([t.proposal for t in trials])


A, B, C, D = (on(f"g{i}") for i in (0, 1, 3, 4))
SECONDS = {A: 9.0, B: 1.0, C: 4.0, D: 2.0}


def lasting(proposal: Proposal) -> float:
    return SECONDS.get(proposal, 0.5)


def test_an_answer_arrives_as_soon_as_it_is_done_and_more_is_started_meanwhile() -> None:
    script = Kept([Ahead([A, B]), Ahead([C, D]), Ahead(), Ahead()])
    devices = Timed(lasting)
    _, trials = finish(search(toy_problem(), script, devices))
    assert script.sent == [[B], [D], [C], [A]]
    assert devices.now == 9.0, "none waited for another"
    assert [t.proposal for t in trials] == [A, B, C, D], "numbers follow the proposals"


def test_known_trials_are_answered_at_once() -> None:
    script = Kept([[B], Ahead([A, B]), Ahead()])
    finish(search(toy_problem(), script, Timed(lasting)))
    assert script.sent == [[B], [B], [A]]


def test_a_batch_beside_them_waits_for_its_own_trials_alone() -> None:
    proxies = [on("g0", PROXY), on("g1", PROXY)]
    script = Kept([Ahead([A, C]), proxies, [C], Ahead()])
    devices = Timed(lasting)
    _, trials = finish(search(toy_problem(), script, devices))
    assert script.sent == [[C], proxies, [C], [A]]
    assert len(trials) == 4
    assert len(devices.asked) == 4, "an engine that is being built is not asked for twice"


def test_an_engine_that_is_being_built_can_be_waited_for_by_name() -> None:
    script = Kept([Ahead([A, B]), [A], Ahead()])
    finish(search(toy_problem(), script, Timed(lasting)))
    assert script.sent == [[B], [A], [A]]


@pytest.mark.parametrize("cut", range(1, 5))
def test_a_resumed_search_gets_the_answers_in_the_same_order(cut: int) -> None:
    batches = [Ahead([A, B]), Ahead([C, D]), [on("g0", PROXY)], Ahead(), Ahead()]
    whole = Kept(batches)
    events, trials = finish(search(toy_problem(), whole, Timed(lasting)))
    done = [e.trial for e in events if isinstance(e, TrialFinished)]
    memo = {t.proposal: t for t in done[:cut]}
    again, devices = Kept(batches), Timed(lasting)
    _, resumed = finish(search(toy_problem(), again, devices, memo=memo))
    assert again.sent == whole.sent
    assert resumed == trials
    assert len(devices.asked) == len(done) - cut


def test_the_budget_counts_what_is_being_built() -> None:
    script = Kept([Ahead([A, B, C, D]), Ahead(), Ahead()])
    devices = Timed(lasting)
    events, trials = finish(search(toy_problem(builds=2), script, devices))
    assert len(trials) == 2
    assert devices.asked == [A, B]
    assert isinstance(events[-1], SearchFinished)
    assert events[-1].reason == "builds"


def test_an_engine_that_fails_leaves_its_place_to_the_next() -> None:
    def failing(proposal: Proposal) -> Outcome:
        return Failed("build", "error", "no") if proposal == B else outcome(proposal)

    script = Kept([Ahead([A, B, C, D]), Ahead(), Ahead()])
    devices = Timed(lasting, of=failing)
    finish(search(toy_problem(builds=2), script, devices))
    assert script.sent == [[B], [C], [A]]
    assert devices.asked == [A, B, C]


def test_time_that_runs_out_ends_it() -> None:
    script = Kept([Ahead([A, B]), Ahead([C]), Ahead()])
    devices = Timed(lasting)
    problem = toy_problem(seconds=0.5)
    events, trials = finish(search(problem, script, devices, clock=lambda: devices.now))
    assert [t.proposal for t in trials] == [B], "done when it had run out; nothing began after it"
    assert isinstance(events[-1], SearchFinished)
    assert events[-1].reason == "time"


def test_steps_that_accept_no_more_are_asked_for_again() -> None:
    asked: list[int] = []

    def stubborn(proposals: Sequence[Proposal]) -> Steps:
        asked.append(len(proposals))
        for position, proposal in enumerate(proposals):
            yield position, None
            yield position, Evaluated(outcome(proposal), "", 1.0)

    script = Kept([Ahead([A, B]), Ahead([C]), Ahead(), Ahead([D])])
    finish(search(toy_problem(), script, stubborn))
    assert script.sent == [[A], [B], [C], [D]]
    assert asked == [2, 1, 1]


def test_waiting_for_nothing_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="has not asked for"):
        finish(search(toy_problem(), Kept([Ahead()]), Timed(lasting)))


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_the_evaluators_take_more_while_they_run(workers: int) -> None:
    def one(proposal: Proposal) -> Evaluated:
        return Evaluated(outcome(proposal), "", 0.0)

    evaluate = pooled([one] * workers) if workers else sequential(one)
    keys = [g.key for g in toy_space().groups if not g.passive]
    script = Kept([Ahead([A]), *(Ahead([on(k)]) for k in keys)])
    _, trials = finish(search(toy_problem(), script, evaluate))
    assert {t.assignment for t in trials} == {on(k).assignment for k in keys}
    assert len(script.sent) == len(keys) + 1
