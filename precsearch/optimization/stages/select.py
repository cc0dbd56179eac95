"""The end of a search: finalists head to head, then the holdout, looked at in a fixed order.

Finalists are put in order *before* the holdout is opened; the first that passes on it ships, and
every look is recorded. The uniform engines are finalists too, so that a plan is never slower than
a trivial engine that passes. They are timed as they will be deployed, each time in a new process.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from precsearch.core.errors import EngineError, WorkerError
from precsearch.core.events import (
    Event,
    FinalistJudged,
    FinalistsTimed,
    FinalistTime,
    StageStarted,
    Warned,
)
from precsearch.core.precision import Precision
from precsearch.core.problem import Problem
from precsearch.core.space import Assignment
from precsearch.core.trial import UNKNOWN, Accuracy, Measurement, Trial
from precsearch.executors.candidates import candidate
from precsearch.executors.client import MeasurementClient
from precsearch.lowering.lower import Lowered
from precsearch.measurement.service import ReferenceSplit
from precsearch.measurement.timing.certainty import shaky
from precsearch.optimization.stages.finalists import (
    PROCESSES,
    confirm_seconds,
    cost,
    finalists,
    measured,
    ordered,
    retimed,
)
from precsearch.optimization.stages.retiming import Fresh, Retiming
from precsearch.plan.plan import Finalist

__all__ = [
    "Choice",
    "Confirmed",
    "best_so_far",
    "confirm",
    "confirm_seconds",
    "counts",
    "finalists",
    "worst_output",
]

_NOT_AGAIN = "it was timed during the search alone"


@dataclass(frozen=True)
class Choice:
    """The engine that ships.

    Attributes:
        trial: Its trial.
        measurement: Its measurement, latency as confirmed.
        holdout: Its accuracy there, ``None`` without a holdout.
        looks: Every finalist that was judged.
        broken: Limits that it breaks, half a sentence each: then nothing ships.
    """

    trial: Trial
    measurement: Measurement
    holdout: Accuracy | None
    looks: tuple[Finalist, ...]
    broken: tuple[str, ...] = ()


@dataclass(frozen=True)
class Confirmed:
    """What came of a confirmation.

    Attributes:
        choice: The first finalist that is within the bound on the holdout, ``None`` if none is.
        looks: The finalists that were judged, in order.
        left_out: The limits that others break, by number of the trial.
    """

    choice: Choice | None
    looks: tuple[Finalist, ...] = ()
    left_out: Mapping[int, tuple[str, ...]] = field(default_factory=dict)


def confirm(
    problem: Problem,
    chosen: Sequence[Trial],
    lower: Callable[[Assignment], Lowered],
    worker: MeasurementClient,
    fresh: Fresh,
    holdout: Callable[[], ReferenceSplit | None],
    seconds: float | None = None,
) -> Generator[Event, None, Confirmed]:
    """Measure finalists again and choose.

    Args:
        problem: With the bound that was asked for.
        chosen: The finalists.
        lower: The lowering.
        worker: Scores finalists on the holdout.
        fresh: Starts a worker in a new process, to time the finalists there.
        holdout: Opens the holdout, if there is one; called once, after the order is fixed.
        seconds: What timing again may take, about; where it is short, fewer finalists are timed
            again, in fewer processes. ``None`` is no limit. The holdout is looked at in any case.
    """
    if not chosen:
        return Confirmed(None)
    timed = yield from _timed(problem, chosen, lower, worker, fresh, seconds)
    order = ordered(problem, timed)
    yield FinalistsTimed(_times(order))
    part = holdout()
    looks: list[Finalist] = []
    left_out: dict[int, tuple[str, ...]] = {}
    for trial, first in order:
        measurement = _within_limits(problem, trial, first, lower, fresh)
        if over := problem.goal.broken(measurement):
            left_out[trial.number] = over
            continue
        accuracy = None
        if part is not None:
            accuracy = worker.score(candidate(lower(trial.assignment)), part)
        passed = accuracy is None or accuracy.loss <= problem.goal.bound.tolerance
        loss = measurement.accuracy.loss
        ratio = measurement.latency.ratio if measurement.latency is not None else 1.0
        held_out = accuracy.loss if accuracy else None
        judged = accuracy or measurement.accuracy
        output = worst_output(judged)
        unsure = measurement.latency is not None and shaky(measurement.latency)
        looks.append(Finalist(trial.number, ratio, loss, held_out, passed, output))
        yield FinalistJudged(trial.number, judged.loss, ratio, passed, unsure, output)
        if passed:
            choice = Choice(trial, measurement, accuracy, tuple(looks))
            return Confirmed(choice, tuple(looks), left_out)
    return Confirmed(None, tuple(looks), left_out)


def _times(order: Sequence[tuple[Trial, Measurement]]) -> tuple[FinalistTime, ...]:
    """The finalists' latencies; FP32's is 1 by definition."""
    return tuple(
        FinalistTime(trial.number, x.ratio, x.ratio_low, x.ratio_high)
        for trial, found in order
        if len(trial.assignment) and (x := found.latency) is not None
    )


def _within_limits(
    problem: Problem,
    trial: Trial,
    measurement: Measurement,
    lower: Callable[[Assignment], Lowered],
    fresh: Fresh,
) -> Measurement:
    """The measurement of a finalist, with its memory in a new process if memory is limited."""
    goal = problem.goal
    if goal.limits.memory is None or goal.broken(measurement):
        return measurement
    with fresh() as worker:
        needed = worker.memory(candidate(lower(trial.assignment)))
    return replace(measurement, memory_bytes=needed)


def worst_output(accuracy: Accuracy) -> str:
    """The output that is farthest off; "" where there is one alone."""
    losses = accuracy.by_output
    return max(losses, key=lambda name: losses[name]) if len(losses) > 1 else ""


def best_so_far(problem: Problem, trials: Sequence[Trial]) -> Choice | None:
    """The preferable finalist by its first timing, not confirmed; ``None`` if there is none."""
    measurements = [(t, measured(t)) for t in finalists(problem, trials)]
    order = ordered(problem, [row for row in measurements if not problem.goal.broken(row[1])])
    return Choice(*order[0], None, ()) if order else None


def _timed(
    problem: Problem,
    chosen: Sequence[Trial],
    lower: Callable[[Assignment], Lowered],
    worker: MeasurementClient,
    fresh: Fresh,
    seconds: float | None,
) -> Generator[Event, None, list[tuple[Trial, Measurement]]]:
    """The finalists with what all of their timings say."""
    again, processes = _affordable(problem, retimed(chosen), seconds)
    yield StageStarted("confirm", _outline(len(chosen), len(again), processes))
    if len(again) < len(retimed(chosen)) or (again and processes < PROCESSES):
        yield Warned(_short_of_time(len(again), len(retimed(chosen)), processes))
    timed: dict[int, Measurement] = {}
    if again:
        candidates = [candidate(lower(t.assignment)) for t in again]
        retiming = Retiming(worker, fresh, candidates, problem)
        try:
            more = seconds is None or cost(again, processes + 1) <= seconds
            latencies = retiming.run([measured(t) for t in again], processes, more)
        except (EngineError, WorkerError) as error:
            yield Warned(
                f"the finalists could not be measured again ({error}); first timings stand"
            )
            latencies = []
        for trial, latency in zip(again, latencies, strict=False):
            timed[trial.number] = replace(measured(trial), latency=latency)
    return [(t, timed.get(t.number) or _once(t)) for t in chosen]


def _outline(finalists: int, again: int, processes: int) -> str:
    outline = f"{finalists} finalist{'s' if finalists > 1 else ''}"
    if not again:
        return outline
    often = f"up to {processes} new processes" if processes > 1 else "a new process"
    return f"{outline}, timed in {often}"


def _short_of_time(again: int, count: int, processes: int) -> str:
    often = f", in {processes} instead of {PROCESSES} new processes" if again else ""
    return (
        f"the time budget was short: {again} of {count} finalists were timed again at the "
        f"end{often}"
    )


def _once(trial: Trial) -> Measurement:
    """The measurement of a finalist that was not timed again, which is said of it."""
    measurement = measured(trial)
    if trial.assignment == Assignment() or measurement.latency is None:
        return measurement
    unsure = tuple(dict.fromkeys((*measurement.latency.unsure, _NOT_AGAIN)))
    return replace(measurement, latency=replace(measurement.latency, unsure=unsure))


def _affordable(
    problem: Problem, again: Sequence[Trial], seconds: float | None
) -> tuple[list[Trial], int]:
    """Who can be timed again in the time left, and in how many processes.

    One process less comes before one finalist less; the preferable finalists stay.
    """
    liked = [t for t, _ in ordered(problem, [(t, measured(t)) for t in again])]
    if seconds is None or cost(liked, PROCESSES) <= seconds:
        return list(again), PROCESSES
    while liked and cost(liked, 1) > seconds:
        liked.pop()
    kept = {t.number for t in liked}
    return [t for t in again if t.number in kept], 1 if liked else 0


def counts(choice: Choice, asked: Assignment) -> dict[str, int]:
    """Groups per achieved precision, of those asked for less; of some, the engine tells nothing."""
    achieved = choice.measurement.achieved
    totals = {**{p.value: 0 for p in Precision.ordered() if p is not Precision.FP32}, UNKNOWN: 0}
    for key in asked:
        ran = achieved.get(key)
        name = UNKNOWN if ran is None else ran.value
        if name in totals:
            totals[name] += 1
    return {k: v for k, v in totals.items() if v}
