"""What one search has learnt so far, and the one place where a strategy of this package asks."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import replace
from statistics import median
from typing import TypeVar

from precsearch.core.exclusions import Exclusion, exclusions, half_located
from precsearch.core.problem import Problem
from precsearch.core.space import Assignment
from precsearch.core.strategy import Ahead
from precsearch.core.trial import (
    Fidelity,
    Outcome,
    Prediction,
    Proposal,
    Trial,
)
from precsearch_strategies.ledger import Ledger

__all__ = ["History", "Subroutine"]


T = TypeVar("T")
Subroutine = Generator[Sequence[Proposal], Sequence[Trial], T]
"""A part of a strategy: proposes like one, and returns what it found out."""


class History(Ledger):
    """The trials of one search by canonical assignment; state of a generator, never shared.

    Args:
        problem: What is searched; its ``known`` trials are known from the start.
        trials: More trials that are known already, for a warm start.
    """

    def __init__(self, problem: Problem, trials: Iterable[Trial] = ()) -> None:
        super().__init__(problem)
        self.share = 1.0  # of the problem's bound that is aimed for
        self.hunted: set[Assignment] = set()  # failed engines whose cause was looked for
        self.uncorrected: dict[Assignment, Prediction] = {}  # what the models said of engines
        self.pending: dict[Assignment, Proposal] = {}  # engines that are being built
        self.reserved = False  # whether an engine in reserve was asked for
        self._excluded: tuple[int, tuple[Exclusion, ...], tuple[Exclusion, ...]] = (0, (), ())
        for trial in (*problem.known, *trials):
            self._record(trial)

    def tightened(self, share: float) -> History:
        """The same trials, seen under ``share`` of the tolerance; what it learns is learnt here."""
        goal = self.problem.goal
        bound = replace(goal.bound, tolerance=share * goal.bound.tolerance)
        seen = History(replace(self.problem, goal=replace(goal, bound=bound)))
        seen.share = share * self.share
        seen.engines, seen.proxies, seen.hunted = self.engines, self.proxies, self.hunted
        seen.uncorrected, seen.pending = self.uncorrected, self.pending
        return seen

    def supposing(self, outcomes: Mapping[Assignment, Outcome]) -> History:
        """A copy in which these engines came out so."""
        number = max((t.number for t in self.engines.values()), default=-1) + 1
        trials = [Trial(number + i, Proposal(a), o) for i, (a, o) in enumerate(outcomes.items())]
        found = History(self.problem, trials)
        found.engines = {**self.engines, **found.engines}
        found.proxies, found.hunted = dict(self.proxies), set(self.hunted)
        return found

    def _record(self, trial: Trial) -> None:
        engine = trial.proposal.fidelity is Fidelity.ENGINE
        (self.engines if engine else self.proxies)[trial.assignment] = trial

    def ask(
        self,
        assignments: Iterable[Assignment],
        fidelity: Fidelity,
        reason: str,
        predicted: Prediction | None = None,
    ) -> Subroutine[list[Trial]]:
        """Propose what is not known yet, as one batch; ``predicted`` is said of each of them.

        Returns:
            The trials of all ``assignments``, in their order, known ones included.
        """
        wanted = [self.problem.space.canonical(a) for a in assignments]
        memory = self.engines if fidelity is Fidelity.ENGINE else self.proxies
        new = [a for a in dict.fromkeys(wanted) if a not in memory]
        if new:
            if fidelity is Fidelity.ENGINE:
                self.owed = 0
            trials = yield [self.proposal(a, reason, predicted, fidelity) for a in new]
            for trial in trials:
                self._record(trial)  # a proxy of what an engine ran is answered by the engine
        return [memory[a] if a in memory else self.engines[a] for a in wanted]

    def proposal(
        self,
        assignment: Assignment,
        reason: str,
        predicted: Prediction | None = None,
        fidelity: Fidelity = Fidelity.ENGINE,
    ) -> Proposal:
        """A proposal, its prediction in units of the bound that was asked for."""
        if self.share < 1:
            reason = f"in reserve, at {self.share:.0%} of the bound: {reason}"
            predicted = predicted and replace(predicted, usage=self.share * predicted.usage)
        return Proposal(assignment, fidelity, reason, predicted)

    def build(
        self,
        assignments: Iterable[Assignment],
        reason: str,
        predicted: Prediction | None = None,
    ) -> Subroutine[list[Trial]]:
        """Ask for engines."""
        return (yield from self.ask(assignments, Fidelity.ENGINE, reason, predicted))

    def ahead(self, proposals: Sequence[Proposal]) -> Subroutine[Trial]:
        """Start engines without waiting for them, and wait for the first of all that was started.

        Args:
            proposals: New canonical engines; none to wait for those that are pending.
        """
        for proposal in proposals:
            self.owed = 0
            self.pending[proposal.assignment] = proposal
        (trial,) = yield Ahead(proposals)
        self.pending.pop(trial.assignment, None)
        self._record(trial)
        return trial

    def probe(
        self, assignments: Iterable[Assignment], reason: str, batch: int = 64
    ) -> Subroutine[list[Trial | None]]:
        """Ask for proxies, in batches, so that a long list can be interrupted and journalled.

        Returns:
            The trials in the order of ``assignments``, engines where there are any; ``None`` for
            those that there is no time left for (`proxy_room`).
        """
        wanted = [self.problem.space.canonical(a) for a in assignments]
        new = [a for a in dict.fromkeys(wanted) if a not in self.proxies]
        while new and (room := self.proxy_room()) > 0:
            part, new = new[: min(room, batch)], new[min(room, batch) :]
            yield from self.ask(part, Fidelity.PROXY, reason)
        return [self.proxies.get(a) or self.engines.get(a) for a in wanted]

    def margin(self, most: float) -> float:
        """Share of the bound, at most ``most``, at which an engine should hold on other samples.

        The further apart the resampled estimates of engines' losses are from the losses, the more
        another sample may differ from this one.
        """
        found = (t.measurement.accuracy for t in self.engines.values() if t.measurement)
        shares = [a.loss / a.upper for a in found if 0 < a.loss <= a.upper < math.inf]
        return min(most, median(shares)) if shares else most

    @property
    def excluded(self) -> tuple[Exclusion, ...]:
        """The culprits that the engines prove; see `precsearch.core.exclusions.exclusions`."""
        return self._culprits()[0]

    @property
    def doubtful(self) -> tuple[Exclusion, ...]:
        """Choices that an engine failed by, beside others that are not known (`half_located`)."""
        return self._culprits()[1]

    def _culprits(self) -> tuple[tuple[Exclusion, ...], tuple[Exclusion, ...]]:
        engines = self.engines.values()
        if self._excluded[0] != len(engines):
            self._excluded = len(engines), exclusions(engines), half_located(engines)
        return self._excluded[1:]

    def excludes(self, assignment: Assignment) -> bool:
        """Whether an engine is known to be unusable before it is built."""
        return any(e.within(assignment) for e in self.excluded)

    def usage(self, trial: Trial | None) -> float | None:
        """How much of the bound a trial uses, 1 is all; ``None`` if it failed or is missing."""
        if trial is None or trial.measurement is None:
            return None
        return max(0.0, self.problem.goal.usage(trial.measurement))

    def passes(self, trial: Trial) -> bool | None:
        """Whether the trial is within the bound; ``None`` if it failed."""
        if trial.measurement is None:
            return None
        return self.problem.goal.passes(trial.measurement)

    def ratio(self, trial: Trial | None) -> float | None:
        """The measured latency over FP32's; ``None`` if there is none."""
        if trial is None or trial.measurement is None or trial.measurement.latency is None:
            return None
        return trial.measurement.latency.ratio

    def passing(self) -> list[Trial]:
        """The timed engines within the bound, fastest first."""
        rows = [
            (ratio, t.assignment.entries, t)
            for t in self.engines.values()
            if (ratio := self.ratio(t)) is not None and self.passes(t)
        ]
        return [row[2] for row in sorted(rows, key=lambda row: row[:2])]

    def best_ratio(self) -> float:
        """The least measured ratio within the bound; FP32's 1 where none passes."""
        found = [r for t in self.passing() if (r := self.ratio(t)) is not None]
        return min(found, default=1.0)

    def holds(self, share: float) -> bool:
        """Whether an engine as fast as the best uses no more than this share of the bound.

        It should hold on other samples, too, as FP32 does.
        """
        best = self.best_ratio() * (1 + self.problem.goal.noise)
        near = [t for t in self.passing() if (self.ratio(t) or 1.0) <= best]
        return any(not len(t.assignment) or (self.usage(t) or 0.0) <= share for t in near)

    def incumbents(self) -> list[Assignment]:
        """Where to search on: the preferable passing engine, and the fastest one."""
        best = self.problem.goal.best(self.engines.values())
        found = [] if best is None else [best.assignment]
        found += [t.assignment for t in self.passing()[:1]]
        return list(dict.fromkeys(found))
