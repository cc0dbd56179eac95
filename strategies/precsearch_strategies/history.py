"""What one search has learnt so far, and the one place where a strategy of this package asks."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable, Sequence
from dataclasses import replace
from statistics import median
from typing import TypeVar

from precsearch.core.counting import built
from precsearch.core.exclusions import Exclusion, exclusions, half_located
from precsearch.core.problem import Problem
from precsearch.core.space import Assignment
from precsearch.core.trial import Fidelity, Prediction, Proposal, Trial

__all__ = ["Asking", "Known"]

_SHARE = 1 / 3  # of the time spent so far that proxies may take; docs/adr/0014
_FREE_S = 3.0  # that proxies may take in any case
_MARGIN = 1.25  # of the slowest engine's time that is kept for one that is owed
_DOUBT = 3.0  # times what the first proxy is thought to take, that a time budget must have left
_UNLIMITED = 10**6

T = TypeVar("T")
Asking = Generator[Sequence[Proposal], Sequence[Trial], T]
"""A part of a strategy: proposes like one, and returns what it found out."""


class Known:
    """The trials of one search by canonical assignment; state of a generator, never shared.

    Args:
        problem: What is searched; its ``known`` trials are known from the start.
        trials: More trials that are known already, for a warm start.
    """

    def __init__(self, problem: Problem, trials: Iterable[Trial] = ()) -> None:
        self.problem = problem
        self.engines: dict[Assignment, Trial] = {}
        self.proxies: dict[Assignment, Trial] = {}
        self.share = 1.0  # of the problem's bound that is aimed for
        self.owed = 0  # engines that proxies must leave time for, until the next one is built
        self.hunted: set[Assignment] = set()  # failed engines whose cause was looked for
        self._built = (0, 0)
        self._excluded: tuple[int, tuple[Exclusion, ...], tuple[Exclusion, ...]] = (0, (), ())
        for trial in (*problem.known, *trials):
            self._record(trial)

    def tightened(self, share: float) -> Known:
        """The same trials, seen under ``share`` of the tolerance; what it learns is learnt here."""
        goal = self.problem.goal
        bound = replace(goal.bound, tolerance=share * goal.bound.tolerance)
        seen = Known(replace(self.problem, goal=replace(goal, bound=bound)))
        seen.share = share * self.share
        seen.engines, seen.proxies, seen.hunted = self.engines, self.proxies, self.hunted
        return seen

    def _record(self, trial: Trial) -> None:
        engine = trial.proposal.fidelity is Fidelity.ENGINE
        (self.engines if engine else self.proxies)[trial.assignment] = trial

    def ask(
        self,
        assignments: Iterable[Assignment],
        fidelity: Fidelity,
        reason: str,
        predicted: Prediction | None = None,
    ) -> Asking[list[Trial]]:
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
            if self.share < 1:
                reason = f"in reserve, at {self.share:.0%} of the bound: {reason}"
                predicted = predicted and replace(predicted, usage=self.share * predicted.usage)
            trials = yield [Proposal(a, fidelity, reason, predicted) for a in new]
            for trial in trials:
                self._record(trial)  # a proxy of what an engine ran is answered by the engine
        return [memory[a] if a in memory else self.engines[a] for a in wanted]

    def build(
        self,
        assignments: Iterable[Assignment],
        reason: str,
        predicted: Prediction | None = None,
    ) -> Asking[list[Trial]]:
        """Ask for engines."""
        return (yield from self.ask(assignments, Fidelity.ENGINE, reason, predicted))

    def probe(
        self, assignments: Iterable[Assignment], reason: str, batch: int = 64
    ) -> Asking[list[Trial | None]]:
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

    def proxy_room(self) -> int:
        """How many more proxies are affordable.

        All proxies together take a third of the time spent so far at most, or 3 s (so that small
        models are searched alike on any machine), and leave time for the engines that are
        ``owed``. What counts is the recorded time of the trials, never a clock: a
        resumed search decides as the interrupted one did. Where no time is recorded there is no
        limit. Before the first proxy nobody knows what one takes, so there is room for one, if what
        it may take leaves the budget time for the engines that are owed (`_first_proxy`).
        """
        spent = self.spent
        if spent <= 0:
            return _UNLIMITED
        took = [t.seconds for t in self.proxies.values()]
        if not took:
            return int(self._first_proxy(spent))
        each = median(took)
        if each <= 0:
            return _UNLIMITED
        left = max((spent - sum(took) / _SHARE) / (1 / _SHARE - 1), _FREE_S - sum(took))
        limit = self.problem.budget.seconds
        if limit is not None:
            left = min(left, limit - spent - self.owed * _MARGIN * self._engine_seconds)
        return max(math.floor(left / each), 0)

    def _first_proxy(self, spent: float) -> bool:
        """Whether the time budget has room for a proxy that may take several times what is thought.

        A proxy runs every sample once, as FP32's engine did, and it takes about as long as an
        engine where its simulation is slow.
        """
        limit = self.problem.budget.seconds
        if limit is None:
            return True
        plain = self.engines.get(Assignment())
        found = plain.measurement if plain else None
        inference = 0.0
        if found is not None and found.latency is not None:
            inference = found.latency.seconds * max(len(found.accuracy.per_sample), 1)
        expected = max(self._engine_seconds, inference)
        owed = self.owed * _MARGIN * self._engine_seconds
        return limit - spent - owed >= _DOUBT * expected

    def limit(self, own: int) -> int:
        """Engines at most, known ones included, where a strategy allows itself ``own``.

        A continued search gets a quarter more than it knows, if that is more.
        """
        before = built(self.problem.known)
        more = before + math.ceil(own / 4) if before else 0
        return self.problem.budget.max_builds or max(own, more)

    def engine_room(self) -> float:
        """How many more engines the budget allows, by the slowest so far where time is limited."""
        budget, slowest = self.problem.budget, self._engine_seconds
        builds = math.inf if budget.max_builds is None else budget.max_builds - self.builds
        if budget.seconds is None or slowest <= 0:
            return builds
        return min(builds, max(budget.seconds - self.spent, 0.0) / slowest)

    @property
    def spent(self) -> float:
        """Recorded seconds: of the set-up and of all trials."""
        trials = (*self.engines.values(), *self.proxies.values())
        return self.problem.setup_seconds + sum(t.seconds for t in trials)

    @property
    def _engine_seconds(self) -> float:
        return max((t.seconds for t in self.engines.values()), default=0.0)

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

    @property
    def builds(self) -> int:
        """Engines that count towards a limit so far (`precsearch.core.counting.built`)."""
        if self._built[0] != len(self.engines):
            self._built = len(self.engines), built(self.engines.values())
        return self._built[1]

    @property
    def tried(self) -> int:
        """Engines asked for so far, failed ones included."""
        return len(self.engines)

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

    def incumbents(self) -> list[Assignment]:
        """Where to search on: the preferable passing engine, and the fastest one."""
        best = self.problem.goal.best(self.engines.values())
        found = [] if best is None else [best.assignment]
        found += [t.assignment for t in self.passing()[:1]]
        return list(dict.fromkeys(found))
