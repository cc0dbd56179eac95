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

from precsearch.core.counting import built
from precsearch.core.events import (
    BatchProposed,
    Event,
    SearchFinished,
    TrialFinished,
    TrialStarted,
    Warned,
)
from precsearch.core.problem import Problem
from precsearch.core.strategy import ENDINGS, ReasonedProposals, Strategy
from precsearch.core.trial import Fidelity, Proposal, Trial
from precsearch.search.evaluator import Evaluate, Evaluated

__all__ = ["search"]

_IDLE_BATCHES = 1000
"""A strategy that asks so often for nothing new would never end."""

_NOTHING: Mapping[Proposal, Trial] = MappingProxyType({})

Events = Generator[Event, None, str]
"""Returns why the search must stop, "" if it need not."""


def _no_reserve(_: Sequence[Trial]) -> float:
    return 0.0


def search(
    problem: Problem,
    strategy: Strategy,
    evaluate: Evaluate,
    *,
    memo: Mapping[Proposal, Trial] = _NOTHING,
    spent: float = 0.0,
    clock: Callable[[], float] = time.monotonic,
    reserve: Callable[[Sequence[Trial]], float] = _no_reserve,
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
    loop = _Loop(problem, evaluate, memo, clock() - spent, clock, reserve)
    with closing(strategy.propose(problem)) as proposals:
        reason = yield from loop.drive(proposals)
    yield SearchFinished(reason, loop.builds, loop.elapsed)
    return tuple(sorted(loop.trials.values(), key=lambda t: t.number))


class _Loop:
    """What is known in the course of one search."""

    def __init__(
        self,
        problem: Problem,
        evaluate: Evaluate,
        memo: Mapping[Proposal, Trial],
        started: float,
        clock: Callable[[], float],
        reserve: Callable[[Sequence[Trial]], float],
    ) -> None:
        self._problem = problem
        self._evaluate = evaluate
        self._memo = memo
        self._started = started
        self._clock = clock
        self._reserve = reserve
        self.trials: dict[Proposal, Trial] = {t.proposal: t for t in problem.known}
        self.builds = built(self.trials.values())
        self._next = 1 + max((t.number for t in problem.known), default=-1)

    @property
    def elapsed(self) -> float:
        return self._clock() - self._started

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
            stop = yield from self._answer(asked)
            if stop:
                return stop
            idle = idle + 1 if len(self.trials) == known else 0
            if idle == _IDLE_BATCHES:
                yield Warned(
                    f"the strategy asked {idle} times in a row for nothing new and was stopped"
                )
                return "done"
            answers = [self._known(p) for p in asked]

    def _ending(self, reason: object) -> str:
        """The strategy's own reason, unless it kept to the budget by itself or gave none."""
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
        wanted = self._new(asked)
        while wanted:
            affordable = self._affordable(wanted)
            if not affordable:
                return "builds"
            stop = yield from self._part(affordable)
            if stop:
                return stop
            wanted = wanted[len(affordable) :]
        return ""

    def _part(self, affordable: Sequence[Proposal]) -> Events:
        """Replay or evaluate these proposals."""
        numbers = {p: self._next + i for i, p in enumerate(affordable)}
        self._next += len(affordable)
        fresh = []
        for proposal in affordable:
            if proposal in self._memo:
                trial = self._memo[proposal]
                trial = replace(trial, number=numbers[proposal], proposal=proposal)
                yield self._finish(trial, replayed=True)
            else:
                fresh.append(proposal)
        return (yield from self._run(fresh, numbers)) if fresh else ""

    def _new(self, asked: Sequence[Proposal]) -> list[Proposal]:
        """The proposals that no trial, and no earlier proposal of the batch, answers."""
        found: dict[Proposal, None] = {}
        for proposal in asked:
            engine = replace(proposal, fidelity=Fidelity.ENGINE)
            if not any(p in self.trials or p in found for p in (proposal, engine)):
                found[proposal] = None
        return list(found)

    def _affordable(self, wanted: list[Proposal]) -> list[Proposal]:
        """``wanted`` up to the first one that would be an engine too many."""
        limit = self._problem.budget.max_builds
        if limit is None:
            return wanted
        builds = self.builds
        for position, proposal in enumerate(wanted):
            if builds >= limit:
                return wanted[:position]
            builds += proposal.fidelity is Fidelity.ENGINE
        return wanted

    def _late(self) -> bool:
        limit = self._problem.budget.seconds
        if limit is None:
            return False
        return self.elapsed + self._reserve(tuple(self.trials.values())) >= limit

    def _run(self, fresh: Sequence[Proposal], numbers: Mapping[Proposal, int]) -> Events:
        """Evaluate; trials finish in any order."""
        if self._late():
            return "time"
        started: set[int] = set()
        left = set(range(len(fresh)))
        with closing(self._evaluate(tuple(fresh))) as steps:
            for position, evaluated in steps:
                proposal = fresh[position]
                if position not in started:
                    started.add(position)
                    yield TrialStarted(numbers[proposal], proposal)
                if evaluated is None:
                    continue
                left.remove(position)
                yield self._finish(_trial(numbers[proposal], proposal, evaluated))
                if left and self._late():
                    return "time"
        if left:
            raise RuntimeError(f"{len(left)} proposals were not evaluated")
        return ""

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
