"""The loop: a strategy proposes, trials are evaluated, everything that happens is yielded.

Prints nothing and knows no backend. The strategy is sent trials in the order it proposed them and
trial numbers follow that order too, so neither depends on how many workers evaluate or on which of
them is done first.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from types import MappingProxyType

from precsearch.core.events import (
    BatchProposed,
    Event,
    SearchFinished,
    TrialFinished,
    TrialStarted,
    Warned,
)
from precsearch.core.exclusions import built
from precsearch.core.problem import Problem
from precsearch.core.strategy import ENDINGS, Ahead, Ending, ReasonedProposals, Strategy
from precsearch.core.trial import Fidelity, Proposal, Trial
from precsearch.search.allowance import Allowance, Reserve, no_reserve
from precsearch.search.evaluator import Evaluate, Evaluated
from precsearch.search.flight import Flight

__all__ = ["search"]

_IDLE_BATCHES = 1000
"""A strategy that asks so often for nothing new would never end."""

_NOTHING: Mapping[Proposal, Trial] = MappingProxyType({})

Events = Generator[Event, None, str]
"""Returns why the search must stop, "" if it need not."""


def search(
    problem: Problem,
    strategy: Strategy,
    evaluate: Evaluate,
    *,
    memo: Mapping[Proposal, Trial] = _NOTHING,
    spent: float = 0.0,
    clock: Callable[[], float] = time.monotonic,
    reserve: Reserve = no_reserve,
) -> Generator[Event, None, tuple[Trial, ...]]:
    """Drive ``strategy`` until it ends or the budget is spent.

    Trials in ``memo`` are replayed instead of evaluated and count towards ``max_builds``, so a
    search that is resumed takes the same decisions as one that was never interrupted. Trials of
    ``problem.known`` answer proposals without an event of their own; they keep their numbers, new
    ones are numbered after them, and they count towards ``max_builds``, too. Closing the generator
    closes the strategy and stops the evaluation.

    Args:
        problem: What to search.
        strategy: Who proposes.
        evaluate: Runs the proposals that are new.
        memo: Trials of an earlier, interrupted search, by canonical proposal.
        spent: Seconds that it took.
        clock: Seconds, from anywhere.
        reserve: Seconds of the time budget to keep for what comes after the search, from the trials
            so far.

    Yields:
        `BatchProposed`, `TrialStarted`, `TrialFinished`, at the end `SearchFinished`.

    Returns:
        All trials by number, those of ``problem.known`` included.

    Raises:
        OptionError: The strategy proposed what the space does not offer.
        InputError: An evaluation found the user's input wrong.
    """
    allowance = Allowance(problem.budget, clock() - spent, clock, reserve)
    loop = _Loop(problem, evaluate, memo, allowance)
    with closing(strategy.propose(problem)) as proposals, loop.flight:
        reason = yield from loop.drive(proposals)
    yield SearchFinished(reason, loop.builds, loop.elapsed, loop.expected_gain)
    return tuple(sorted(loop.trials.values(), key=lambda t: t.number))


class _Loop:
    """What is known in the course of one search."""

    def __init__(
        self,
        problem: Problem,
        evaluate: Evaluate,
        memo: Mapping[Proposal, Trial],
        allowance: Allowance,
    ) -> None:
        self._problem = problem
        self.flight = Flight(evaluate)
        self._memo = memo
        self._order = {p: i for i, p in enumerate(memo)}  # in which its trials were done
        self._allowance = allowance
        self.trials: dict[Proposal, Trial] = {t.proposal: t for t in problem.known}
        self.builds = built(self.trials.values())
        self._next = 1 + max((t.number for t in problem.known), default=-1)
        self.expected_gain: float | None = None  # by the strategy, at its end
        self._awaited: dict[Proposal, int] = {}  # asked for ahead and not sent, with their numbers
        self._held: list[Proposal] = []  # of these, what the budget has no room for yet
        self._landed: list[Proposal] = []  # of these, what is done, in that order

    @property
    def elapsed(self) -> float:
        return self._allowance.elapsed

    def drive(self, proposals: ReasonedProposals) -> Events:
        """Answer batch after batch; returns why it is over."""
        answers: Sequence[Trial] | None = None
        idle = 0
        while True:
            try:
                batch = next(proposals) if answers is None else proposals.send(answers)
            except StopIteration as end:
                return self._ending(end.value)
            asked = tuple(self._canonical(p) for p in batch)
            yield BatchProposed(asked)
            known = len(self.trials)
            ahead = isinstance(batch, Ahead)
            stop = yield from self._ahead(asked) if ahead else self._answer(asked)
            if stop:
                return stop
            idle = idle + 1 if len(self.trials) == known else 0
            if idle == _IDLE_BATCHES:
                yield Warned(
                    f"the strategy asked {idle} times in a row for nothing new and was stopped"
                )
                return "done"
            answers = [self._known(p) for p in ([self._landed.pop(0)] if ahead else asked)]

    def _ending(self, reason: object) -> str:
        """The strategy's own reason, unless it kept to the budget by itself or gave none."""
        if isinstance(reason, Ending):
            self.expected_gain, reason = reason.expected_gain, reason.reason
        limit = self._problem.budget.max_builds
        if reason == "limit" and limit is not None and self.builds >= limit:
            return "builds"
        return reason if isinstance(reason, str) and reason in ENDINGS else "done"

    def _canonical(self, proposal: Proposal) -> Proposal:
        return replace(proposal, assignment=self._problem.space.canonical(proposal.assignment))

    def _known(self, proposal: Proposal) -> Trial:
        """The trial that answers a proposal; an engine's accuracy is worth more than a proxy's.

        Raises:
            KeyError: There is none.
        """
        engine = replace(proposal, fidelity=Fidelity.ENGINE)
        return self.trials[engine] if engine in self.trials else self.trials[proposal]

    def _answer(self, asked: Sequence[Proposal]) -> Events:
        """Replay or evaluate what is new of a batch, as far as the budget goes.

        An engine that fails leaves its place in the budget to the next one.
        """
        proposals = self._new(asked)
        while proposals:
            affordable = self._affordable(proposals)
            if not affordable:
                return "builds"
            stop = yield from self._part(affordable)
            if stop:
                return stop
            proposals = proposals[len(affordable) :]
        while any(p in self._awaited for p in asked):
            stop = yield from self._land()
            if stop:
                return stop
        return ""

    def _part(self, affordable: Sequence[Proposal]) -> Events:
        """Replay or evaluate these proposals."""
        numbers = self._numbered(affordable)
        fresh = [p for p in affordable if p not in self._memo]
        for proposal in affordable:
            if proposal in self._memo:
                yield self._replayed(proposal, numbers[proposal])
        return (yield from self._run(fresh, numbers)) if fresh else ""

    def _numbered(self, proposals: Sequence[Proposal]) -> dict[Proposal, int]:
        numbers = {p: self._next + i for i, p in enumerate(proposals)}
        self._next += len(proposals)
        return numbers

    def _replayed(self, proposal: Proposal, number: int) -> TrialFinished:
        trial = replace(self._memo[proposal], number=number, proposal=proposal)
        return self._finish(trial, replayed=True)

    def _ahead(self, asked: Sequence[Proposal]) -> Events:
        """Start these; wait until one of all that were started so is done.

        What is known, or recorded, is done at once; what is recorded in the order of the record.

        Raises:
            RuntimeError: Nothing was asked for that could be waited for.
        """
        new = self._new(asked)
        self._landed += [p for p in asked if p not in new and p not in self._awaited]
        self._awaited.update(self._numbered(new))
        self._held += [p for p in new if p not in self._memo]
        return "" if self._landed else (yield from self._land())

    def _land(self) -> Events:
        """Wait until one of those that were asked for ahead is done."""
        recorded = [p for p in self._awaited if p in self._memo]
        if recorded:
            first = min(recorded, key=lambda p: self._order[p])
            yield self._replayed(first, self._awaited.pop(first))
            self._landed.append(first)
            return ""
        done = len(self._landed)
        while len(self._landed) == done:
            stop = self._take_off()
            if stop:
                return stop
            yield from self._step()
        return ""

    def _take_off(self) -> str:
        """Start what is held, as far as the budget goes; why the search must stop, "" if not."""
        room = len(self._affordable(self._held)) if self._held else 0
        if room and self._late():
            return "time"
        starting, self._held = self._held[:room], self._held[room:]
        self.flight.start([(self._awaited[p], p) for p in starting])
        if self.flight.running:
            return ""
        if not self._awaited:
            raise RuntimeError("the strategy waits for an engine that it has not asked for")
        return "builds"

    def _new(self, asked: Sequence[Proposal]) -> list[Proposal]:
        """The proposals that no trial, and no earlier proposal of the batch, answers."""
        fresh: dict[Proposal, None] = {}
        for proposal in asked:
            engine = replace(proposal, fidelity=Fidelity.ENGINE)
            known = any(p in self.trials or p in fresh for p in (proposal, engine))
            if not known and proposal not in self._awaited:
                fresh[proposal] = None
        return list(fresh)

    def _affordable(self, proposals: Sequence[Proposal]) -> list[Proposal]:
        return self._allowance.affordable(proposals, self.builds + self.flight.engines)

    def _late(self) -> bool:
        return self._allowance.late(self.trials.values())

    def _run(self, fresh: Sequence[Proposal], numbers: Mapping[Proposal, int]) -> Events:
        """Evaluate; trials finish in any order."""
        if self._late():
            return "time"
        self.flight.start([(numbers[p], p) for p in fresh])
        left: set[Proposal | None] = set(fresh)
        while left:
            done = yield from self._step()
            if done in left:
                left.remove(done)
                if left and self._late():
                    return "time"
        return ""

    def _step(self) -> Generator[Event, None, Proposal | None]:
        """What begins or is done next; the proposal, if it is done."""
        number, proposal, evaluated = self.flight.step()
        if evaluated is None:
            yield TrialStarted(number, proposal)
            return None
        yield self._finish(_trial(number, proposal, evaluated))
        if self._awaited.pop(proposal, None) is not None:
            self._landed.append(proposal)
        return proposal

    def _finish(self, trial: Trial, *, replayed: bool = False) -> TrialFinished:
        self.trials[trial.proposal] = trial
        self.builds = built(self.trials.values())
        return TrialFinished(trial, self.builds, self.elapsed, replayed)


def _trial(number: int, proposal: Proposal, evaluated: Evaluated) -> Trial:
    return Trial(
        number,
        proposal,
        evaluated.outcome,
        evaluated.model_digest,
        seconds=evaluated.seconds,
        device=evaluated.device,
    )
