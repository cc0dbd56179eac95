"""What a run looks like so far: a pure fold of its events."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace
from enum import Enum

from precsearch.core.events import (
    BatchProposed,
    Event,
    FinalistJudged,
    FinalistsTimed,
    PlanWritten,
    RunStarted,
    SearchContinued,
    SearchFinished,
    SearchStarted,
    StageStarted,
    TrialFinished,
    TrialStarted,
    Warned,
)
from precsearch.core.mismatch import sizes_alone
from precsearch.core.problem import Goal
from precsearch.core.space import Assignment
from precsearch.core.trial import UNKNOWN, Failed, Fidelity, Trial
from precsearch.measurement.timing.estimate import search_seconds

__all__ = ["Verdict", "View", "asked", "fold", "ran"]


class Verdict(str, Enum):
    """What an engine trial amounts to."""

    PASS = "pass"
    EDGE = "too close"
    """Within the tolerance on the samples, but not safely so."""
    OVER = "over bound"
    BROKEN = "not finite"
    SIZE = "other size"
    """Its outputs have another size than the reference's, and the metric cannot compare these."""
    FAILED = "failed"
    OPEN = "-"
    """No bound is known yet, or it was not timed."""


@dataclass(frozen=True, slots=True)
class View:
    """A run so far.

    Attributes:
        model, version: Of the run; empty before it has started.
        search: The search's start, ``None`` before it.
        stages: The stages begun, in order.
        warnings: Messages, each once.
        engines: Finished engine trials, each number once, in the order they ended.
        proxies: Finished proxy trials.
        proxy_seconds: What they took.
        replayed: Trials that came from a journal.
        running: Trials begun and not finished, in the order they began.
        batch: Size of the batch being worked on.
        batch_done: Trials of it that ended.
        builds: Engines built and timed.
        elapsed: Seconds at the last trial's end.
        finished: The search's end, ``None`` before it.
        finalists: Those judged so far.
        continued: How the search went on after a miss on the holdout, ``None`` if it has not.
        written: The plan, once it is written.
        stopping: Whether the user has asked to stop.
    """

    model: str = ""
    version: str = ""
    search: SearchStarted | None = None
    stages: tuple[StageStarted, ...] = ()
    warnings: tuple[str, ...] = ()
    engines: tuple[Trial, ...] = ()
    proxies: int = 0
    proxy_seconds: float = 0.0
    replayed: int = 0
    running: tuple[TrialStarted, ...] = ()
    batch: int = 0
    batch_done: int = 0
    builds: int = 0
    elapsed: float = 0.0
    finished: SearchFinished | None = None
    finalists: tuple[FinalistJudged, ...] = ()
    continued: SearchContinued | None = None
    written: PlanWritten | None = None
    stopping: bool = False

    @property
    def goal(self) -> Goal | None:
        """What is wanted, ``None`` before the search."""
        return None if self.search is None else self.search.goal

    @property
    def best(self) -> Trial | None:
        """The preferable engine trial so far that passes."""
        return self.goal.best(self.timed) if self.goal is not None else None

    @property
    def timed(self) -> tuple[Trial, ...]:
        """The engine trials with a latency that makes sense."""
        return tuple(t for t in self.engines if _timed(t))

    def verdict(self, trial: Trial) -> Verdict:
        """What ``trial`` amounts to."""
        if isinstance(trial.outcome, Failed):
            return Verdict.FAILED
        measurement = trial.outcome.measurement
        if not math.isfinite(measurement.accuracy.loss):
            odd = measurement.accuracy.mismatches
            return Verdict.SIZE if sizes_alone(odd) else Verdict.BROKEN
        if self.goal is None:
            return Verdict.OPEN
        if self.goal.passes(measurement):
            return Verdict.PASS
        return Verdict.EDGE if self.goal.admits(measurement) else Verdict.OVER

    @property
    def fraction(self) -> float | None:
        """The part of the budget that is spent, ``None`` without one."""
        if self.search is None:
            return None
        budget = self.search.budget
        parts = []
        if budget.max_builds is not None:
            parts.append(self.builds / budget.max_builds)
        if budget.seconds is not None:
            parts.append(self.elapsed / budget.seconds)
        return min(max(parts), 1.0) if parts else None

    @property
    def seconds_left(self) -> float | None:
        """A guess at the time until the plan, ``None`` where there is no telling.

        It holds proxies and the confirmation, and is about what the budget allows at most.
        """
        if self.search is None or self.finished is not None:
            return None
        budget = self.search.budget
        guesses = []
        if budget.seconds is not None:
            guesses.append(budget.seconds - self.elapsed)
        each = self._engine_seconds
        if budget.max_builds is not None and each is not None:
            start = self.search.spent or self.search.setup_seconds
            scored = 0.0 if self.search.spent else self.proxy_seconds
            done = (self.builds - 1) if self.search.spent else 0.0
            total = search_seconds(budget.max_builds - 1 - done, each, start, scored)
            guesses.append(total - self.elapsed)
        left = min(guesses, default=math.nan)
        return max(left, 0.0) if math.isfinite(left) else None

    @property
    def _engine_seconds(self) -> float | None:
        """Wall time of an engine below FP32; with several workers they share it."""
        took = [t.seconds for t in self.engines if t.assignment]
        busy = sum(t.seconds for t in self.engines) + self.proxy_seconds
        if not took or not busy > 0 or self.search is None:
            return None
        if self.search.spent:
            return sum(took) / len(took)
        spent = self.elapsed - self.search.setup_seconds
        return sum(took) / len(took) * min(max(spent, 0.0) / busy, 1.0)


def fold(view: View, event: Event) -> View:
    """``view`` after ``event``. Pure, and defined for any event at any time."""
    match event:
        case RunStarted():
            again = View() if view.finished is not None else view  # the search on another engine
            return replace(again, model=event.model, version=event.version)
        case StageStarted():
            return replace(view, stages=(*view.stages, event))
        case Warned():
            return replace(view, warnings=tuple(dict.fromkeys((*view.warnings, event.message))))
        case SearchStarted():
            ready = event.spent or event.setup_seconds
            return replace(view, search=event, elapsed=_time(ready, view.elapsed))
        case BatchProposed():
            return replace(view, batch=len(event.proposals), batch_done=0)
        case TrialStarted():
            return replace(view, running=(*view.running, event))
        case TrialFinished():
            return _finish_trial(view, event)
        case SearchFinished():
            return replace(
                view,
                finished=event,
                running=(),
                builds=event.builds,
                elapsed=_time(event.elapsed, view.elapsed),
            )
        case FinalistsTimed() | FinalistJudged():
            judged = (event,) if isinstance(event, FinalistJudged) else ()
            return replace(view, finalists=(*view.finalists, *judged))
        case SearchContinued():
            return replace(view, continued=event, finished=None)
        case PlanWritten():
            return replace(view, written=event)


def _finish_trial(view: View, event: TrialFinished) -> View:
    trial = event.trial
    view = replace(
        view,
        running=tuple(r for r in view.running if r.number != trial.number),
        batch_done=view.batch_done + 1,
        builds=event.builds,
        elapsed=_time(event.elapsed, view.elapsed),
        replayed=view.replayed + event.replayed,
    )
    if trial.proposal.fidelity is Fidelity.PROXY:
        seconds = _time(trial.seconds, 0.0)
        return replace(view, proxies=view.proxies + 1, proxy_seconds=view.proxy_seconds + seconds)
    others = tuple(t for t in view.engines if t.number != trial.number)
    return replace(view, engines=(*others, trial))


def _time(seconds: float, before: float) -> float:
    """A time that never runs backwards, whatever a journal says."""
    return max(seconds, before) if math.isfinite(seconds) else before


def _timed(trial: Trial) -> bool:
    measurement = trial.measurement
    latency = measurement.latency if measurement is not None else None
    return latency is not None and math.isfinite(latency.ratio) and latency.ratio > 0


def asked(assignment: Assignment) -> dict[str, int]:
    """Groups per precision below FP32 that are asked for."""
    return dict(Counter(p.value for _, p in assignment.entries))


def ran(trial: Trial) -> dict[str, int]:
    """Groups per precision that those asked for less than FP32 truly ran in."""
    measurement = trial.measurement
    if measurement is None:
        return {}
    achieved = measurement.achieved
    rows = (achieved.get(key) for key in trial.assignment)
    return dict(Counter(UNKNOWN if p is None else p.value for p in rows))
