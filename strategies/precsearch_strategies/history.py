"""What one search has learnt so far, and the one place where a strategy of this package asks."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import TypeVar

from precsearch.core.exclusions import Exclusion, exclusions, half_located
from precsearch.core.precision import Precision
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

__all__ = ["Forecast", "History", "Subroutine"]


_ROUGH = 1.02
"""Of a limit on the size: what is predicted to be larger than that is not built."""
_WORTH = 0.01  # of the best latency

T = TypeVar("T")
Subroutine = Generator[Sequence[Proposal], Sequence[Trial], T]
"""A part of a strategy: proposes like one, and returns what it found out."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """What the models said of an engine before it was built, without any correction.

    Attributes:
        ratio: Latency over FP32's.
        spread: Its standard deviation, over the latency model's widening.
        usage: Share of the bound that was asked for.
        doubt: Standard deviation of the logarithm of the usage.
    """

    ratio: float
    spread: float
    usage: float
    doubt: float


class History(Ledger):
    """The trials of one search by canonical assignment; state of a generator, never shared.

    Args:
        problem: What is searched; its ``known`` trials are known from the start.
        trials: More trials that are known already.
    """

    def __init__(self, problem: Problem, trials: Iterable[Trial] = ()) -> None:
        super().__init__(problem)
        self.share = 1.0  # of the problem's bound that is aimed for
        self.hunted: set[Assignment] = set()  # failed engines whose cause was looked for
        self.forecasts: dict[Assignment, Forecast] = {}  # what the models said of engines
        self.foreseen: dict[Assignment, Forecast] = {}  # the first forecast of each candidate
        self.pending: dict[Assignment, Proposal] = {}  # engines that are being built
        self.expected_gain: float | None = None  # of other candidates, at the end
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
        seen.forecasts, seen.pending = self.forecasts, self.pending
        seen.foreseen, seen.proxies_first = self.foreseen, self.proxies_first
        return seen

    def supposing(self, outcomes: Mapping[Assignment, Outcome]) -> History:
        """A copy in which these engines came out so."""
        number = max((t.number for t in self.engines.values()), default=-1) + 1
        trials = [Trial(number + i, Proposal(a), o) for i, (a, o) in enumerate(outcomes.items())]
        supposed = History(self.problem, trials)
        supposed.engines = {**self.engines, **supposed.engines}
        supposed.proxies, supposed.hunted = dict(self.proxies), set(self.hunted)
        return supposed

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
        canonical = [self.problem.space.canonical(a) for a in assignments]
        memory = self.engines if fidelity is Fidelity.ENGINE else self.proxies
        new = [a for a in dict.fromkeys(canonical) if a not in memory]
        yield from self._answered([self.proposal(a, reason, predicted, fidelity) for a in new])
        return [memory[a] if a in memory else self.engines[a] for a in canonical]

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

    def build_for(self, reasons: Mapping[Assignment, str]) -> Subroutine[None]:
        """Build canonical engines side by side, each for a reason of its own."""
        new = [self.proposal(a, reason) for a, reason in reasons.items() if a not in self.engines]
        yield from self._answered(new)

    def _answered(self, proposals: Sequence[Proposal]) -> Subroutine[None]:
        if any(p.fidelity is Fidelity.ENGINE for p in proposals):
            self.owed = 0
        for trial in (yield proposals) if proposals else ():
            self._record(trial)  # a proxy of what an engine ran is answered by the engine

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
        canonical = [self.problem.space.canonical(a) for a in assignments]
        new = [a for a in dict.fromkeys(canonical) if a not in self.proxies]
        while new and (room := self.proxy_room()) > 0:
            part, new = new[: min(room, batch)], new[min(room, batch) :]
            yield from self.ask(part, Fidelity.PROXY, reason)
        return [self.proxies.get(a) or self.engines.get(a) for a in canonical]

    def margin(self, most: float) -> float:
        """Share of the bound, at most ``most``, at which an engine should hold on other samples.

        The further apart the resampled estimates of engines' losses are from the losses, the more
        another sample may differ from this one.
        """
        accuracies = (t.measurement.accuracy for t in self.engines.values() if t.measurement)
        shares = [a.loss / a.upper for a in accuracies if 0 < a.loss <= a.upper < math.inf]
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
        """Whether an engine is known to be unusable, or too large, before it is built."""
        return any(e.within(assignment) for e in self.excluded) or self._too_large(assignment)

    def _too_large(self, assignment: Assignment) -> bool:
        """Whether an engine would be larger than the limit, by the bytes of its groups."""
        most, full = self.problem.goal.limits.size, self.engines.get(Assignment())
        if most is None or full is None or full.measurement is None:
            return False
        plain = full.measurement.group_bytes
        sizes = self._sizes()
        shown = [(k, sizes[k, p]) for k, p in assignment.entries if (k, p) in sizes]
        saved = sum(plain.get(key, 0) - size for key, size in shown)
        return full.measurement.artifact_bytes - saved > most * _ROUGH

    def _sizes(self) -> dict[tuple[str, Precision], int]:
        """Bytes of groups by key and precision, of all that an engine has shown."""
        saved: dict[tuple[str, Precision], int] = {}
        for assignment, trial in self.engines.items():
            if trial.measurement is not None:
                sizes = trial.measurement.group_bytes
                saved |= {(k, p): sizes[k] for k, p in assignment.entries if k in sizes}
        return saved

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
        """What is minimized over FP32's, mostly the latency; ``None`` if the trial has none."""
        if trial is None or trial.measurement is None:
            return None
        return self.problem.goal.cost(trial.measurement)

    def parts(self, trial: Trial | None) -> Mapping[str, float]:
        """What is minimized by group key, in units of its own; nothing where that is unknown."""
        measurement = None if trial is None else trial.measurement
        return {} if measurement is None else self.problem.goal.parts(measurement)

    def beyond(self, trial: Trial) -> bool:
        """Whether a trial breaks a limit on latency or size."""
        return bool(trial.measurement and self.problem.goal.broken(trial.measurement))

    @property
    def worth(self) -> float:
        """Least relative gain in latency that matters.

        The noise of one timing is no bound where it is large: models average over engines, and
        finalists are timed again.
        """
        return min(self.problem.goal.tie, _WORTH)

    def timing_error(self, ratio: float) -> float:
        """Standard deviation of a measured latency over FP32's."""
        return max(0.5 * self.problem.goal.tie * ratio, 0.002)

    def passing(self) -> list[Trial]:
        """The timed engines within the bound and the limits, the cheapest first."""
        rows = [
            (ratio, t.assignment.entries, t)
            for t in self.engines.values()
            if (ratio := self.ratio(t)) is not None and self.passes(t) and not self.beyond(t)
        ]
        return [row[2] for row in sorted(rows, key=lambda row: row[:2])]

    def best_ratio(self) -> float:
        """The least measured ratio within the bound; FP32's 1 where none passes."""
        ratios = [r for t in self.passing() if (r := self.ratio(t)) is not None]
        return min(ratios, default=1.0)

    def holds(self, share: float) -> bool:
        """Whether an engine as fast as the best uses no more than this share of the bound.

        It should hold on other samples, too, as FP32 does.
        """
        best = self.best_ratio() * (1 + self.problem.goal.tie)
        near = [t for t in self.passing() if (self.ratio(t) or 1.0) <= best]
        return any(not len(t.assignment) or (self.usage(t) or 0.0) <= share for t in near)

    def incumbents(self) -> list[Assignment]:
        """Where to search on: the preferable passing engine, and the fastest one."""
        best = self.problem.goal.best(self.engines.values())
        incumbents = [] if best is None else [best.assignment]
        incumbents += [t.assignment for t in self.passing()[:1]]
        return list(dict.fromkeys(incumbents))
