"""Who is confirmed at the end of a search, in which order, and what confirming them costs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from precsearch.core.objective import Objective
from precsearch.core.problem import Goal, Problem
from precsearch.core.space import Assignment
from precsearch.core.trial import Fidelity, Measurement, Trial
from precsearch.measurement.timing.apart import beside, spread
from precsearch.measurement.timing.latency import against_itself

__all__ = ["PROCESSES", "confirm_seconds", "cost", "finalists", "measured", "ordered", "retimed"]

PROCESSES = 2
"""New processes in which finalists are timed at most; one more where timings disagree."""

_USAGE_STEPS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)
_FASTEST = 3
_START_S = 1.5
"""An interpreter, ONNX Runtime and a device."""
_OPEN_S = 5.0
"""An engine that took longer to build is kept, and is only opened."""
_ROUNDS = 22
_ROUND_S = 0.01
_MOST_S = 6.0
"""What two engines are timed for at most."""


def finalists(problem: Problem, trials: Sequence[Trial]) -> tuple[Trial, ...]:
    """Who is confirmed: the fastest, the fastest at some margins, and the uniform engines.

    Args:
        problem: The problem that was searched.
        trials: All of its trials.

    Returns:
        Engine trials, each once; FP32 among them if it was measured.
    """
    goal = problem.goal
    timed = [
        t
        for t in trials
        if t.proposal.fidelity is Fidelity.ENGINE
        and (m := t.measurement) is not None
        and m.latency is not None
    ]
    allowed = [t for t in timed if not t.assignment or not goal.broken(measured(t))]
    passing = [t for t in allowed if goal.passes(measured(t))]
    by_ratio = sorted(passing, key=lambda t: (_cost(goal, measured(t)), t.number))[:_FASTEST]
    for usage in _USAGE_STEPS:
        roomy = [t for t in passing if goal.usage(measured(t)) <= usage]
        best = goal.best(roomy)
        by_ratio += [best] if best is not None else []
    trivial = {Assignment(), *problem.uniforms}
    by_ratio += [t for t in allowed if t.assignment in trivial and goal.admits(measured(t))]
    return tuple({t.number: t for t in by_ratio}.values())


def measured(trial: Trial) -> Measurement:
    """The measurement of a trial that has one."""
    assert trial.measurement is not None
    return trial.measurement


def _cost(goal: Goal, measurement: Measurement) -> float:
    cost = goal.cost(measurement)
    return 1.0 if cost is None else cost


def _speed(measurement: Measurement) -> float:
    return measurement.latency.ratio if measurement.latency is not None else 1.0


def retimed(chosen: Sequence[Trial]) -> list[Trial]:
    """Those that are timed again: FP32's ratio to itself is 1 by definition."""
    return [t for t in chosen if t.assignment != Assignment()]


def confirm_seconds(problem: Problem, trials: Sequence[Trial], processes: int = PROCESSES) -> float:
    """About how long `precsearch.optimization.stages.select.confirm` takes, without the holdout.

    Args:
        problem: The problem that was searched.
        trials: Its trials so far.
        processes: New processes that time the finalists.
    """
    return cost(retimed(finalists(problem, trials)), processes)


def cost(chosen: Sequence[Trial], processes: int) -> float:
    """About how long it takes to time engines in new processes, in seconds."""
    if not chosen:
        return 0.0
    measurements = [measured(t) for t in chosen]
    opening = sum(min(m.build_seconds, _OPEN_S) for m in measurements) + min(
        max(m.build_seconds for m in measurements), _OPEN_S
    )
    rounds = sum(
        _ROUNDS * max(_ROUND_S, m.latency.seconds) for m in measurements if m.latency is not None
    )
    plain = _ROUNDS * max(
        [_ROUND_S, *(m.latency.seconds / max(_speed(m), 1e-9) for m in measurements if m.latency)]
    )
    timing = min(rounds + plain, _MOST_S * (len(measurements) + 1) / 2)
    return processes * (_START_S + opening + timing)


def ordered(
    problem: Problem, timed: Sequence[tuple[Trial, Measurement]]
) -> list[tuple[Trial, Measurement]]:
    """By preference: least latency or size first, among ties the most accurate.

    FP32 counts as exactly 1.

    Two engines tie unless one is faster, by its middle timing and by the mean of the quotients of
    all processes that timed both, by more than the noise of that mean: the noise of one timing
    over the root of the number of processes; or what the quotient differs by from process to
    process, if that is more.
    """
    goal = problem.goal
    left = [(t, _as_baseline(t, m)) for t, m in timed]
    order: list[tuple[Trial, Measurement]] = []
    while left:
        best = min((m for _, m in left), key=lambda m: _cost(goal, m))
        tied = [row for row in left if _tie(goal, best, row[1])]
        first = min(tied, key=lambda row: (row[1].accuracy.loss, row[0].number))
        order.append(first)
        left.remove(first)
    return order


def _tie(goal: Goal, best: Measurement, other: Measurement) -> bool:
    noise, quotient = goal.tie, math.inf
    if best.latency is not None and other.latency and goal.objective is not Objective.SIZE:
        quotient, processes = beside(other.latency, best.latency)
        noise = max(noise / math.sqrt(processes), spread(best.latency, other.latency))
    return _cost(goal, other) <= _cost(goal, best) * (1 + noise) or quotient <= 1 + noise


def _as_baseline(trial: Trial, measurement: Measurement) -> Measurement:
    if trial.assignment != Assignment() or measurement.latency is None:
        return measurement
    return replace(measurement, latency=against_itself(measurement.latency))
