"""The engines of a finished run, each with the worse of its losses and its last timing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from precsearch.core.problem import Goal
from precsearch.core.trial import Fidelity, Measured, Measurement, Trial
from precsearch.plan.plan import Finalist, Plan

__all__ = ["Point", "front_of", "points_of", "within"]

_DIGITS = 12
"""Of the digest of an assignment, in a plan's evidence."""


@dataclass(frozen=True)
class Point:
    """An engine of a run.

    Attributes:
        trial: Its trial, numbered as in the plan of the run. Its loss is the worse of those on the
            search part and on the holdout, and its ratio is the confirmed one, where there are two.
        found: Its measurement as the search recorded it.
        look: What was seen on the holdout, ``None`` if nobody looked.
        chosen: Whether it is the run's own plan.
        backend: Where it runs, if the search was on several engines.
        fp32: Speed of the FP32 engine there, over that of the fastest FP32 engine of all.
    """

    trial: Trial
    found: Measurement
    look: Finalist | None = None
    chosen: bool = False
    backend: str = ""
    fp32: float = 1.0

    @property
    def loss(self) -> float:
        """The worse of the two losses."""
        return _of(self.trial).accuracy.loss

    @property
    def ratio(self) -> float:
        """Latency over FP32's."""
        latency = _of(self.trial).latency
        return math.inf if latency is None else latency.ratio

    @property
    def speed(self) -> float:
        """Over the fastest FP32 engine; 0 if it was not timed."""
        return self.fp32 / self.ratio

    @property
    def on_holdout(self) -> bool:
        """Whether its loss was seen on the holdout."""
        return self.look is not None and self.look.holdout_loss is not None


def points_of(trials: Sequence[Trial], plan: Plan) -> tuple[Point, ...]:
    """The engines that a run has timed.

    Args:
        trials: Of its journal.
        plan: Its own plan, whose evidence has their numbers and the finalists.
    """
    engines = {
        t.assignment.digest[:_DIGITS]: t
        for t in trials
        if t.proposal.fidelity is Fidelity.ENGINE and t.measurement is not None
    }
    looks = {look.trial: look for look in plan.evidence.finalists}
    own = plan.recipe.assignment
    points = []
    for row in plan.evidence.trials:
        trial = engines.get(row.assignment)
        if row.fidelity == Fidelity.ENGINE.value and trial is not None:
            chosen = trial.assignment == own
            numbered = replace(trial, number=row.number)
            points.append(_point(numbered, looks.get(row.number), plan if chosen else None))
    return tuple(points)


def _point(trial: Trial, look: Finalist | None, own: Plan | None) -> Point:
    measured = _of(trial)
    latency, accuracy = measured.latency, measured.accuracy
    if own is not None:
        latency = own.evidence.latency
    elif look is not None and latency is not None and trial.assignment.entries:
        before = latency.apart or (latency.ratio,)
        latency = replace(
            latency,
            ratio=look.ratio,
            ratio_low=min(latency.ratio_low, look.ratio),
            ratio_high=max(latency.ratio_high, look.ratio),
            apart=(*before, look.ratio),
        )
    if look is not None and look.holdout_loss is not None:
        accuracy = replace(accuracy, loss=max(accuracy.loss, look.holdout_loss))
    seen = replace(measured, latency=latency, accuracy=accuracy)
    return Point(replace(trial, outcome=Measured(seen)), measured, look, own is not None)


def front_of(points: Sequence[Point]) -> tuple[Point, ...]:
    """Those that no other beats in both loss and latency, fastest first."""
    front, lowest = list[Point](), math.inf
    for point in sorted(points, key=lambda p: (-p.speed, p.loss)):
        if point.loss < lowest and point.speed > 0:
            front.append(point)
            lowest = point.loss
    return tuple(front)


def within(points: Sequence[Point], goal: Goal) -> Point | None:
    """The one that costs least within bound and limits, ``None`` if there is none.

    Args:
        points: Engines of a run.
        goal: With the bound on the loss, and what the run minimized and limited.
    """
    plain = next((p.found for p in points if not p.trial.assignment.entries), None)
    goal = replace(goal, size=0 if plain is None else plain.artifact_bytes)
    rows = [
        (cost, p.loss, p.trial.number, p)
        for p in points
        if p.loss <= goal.bound.tolerance
        and not goal.broken(_of(p.trial))
        and (cost := goal.cost(_of(p.trial))) is not None
    ]
    return min(rows, key=lambda row: row[:3])[3] if rows else None


def _of(trial: Trial) -> Measurement:
    assert trial.measurement is not None
    return trial.measurement
