"""The end of a search: finalists head to head, then the holdout, looked at in a fixed order.

Finalists are put in order *before* the holdout is opened; the first that passes on it ships, and
every look is recorded. The uniform engines are finalists too, so that a plan is never slower than
a trivial engine that passes.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from statistics import median

from precsearch.api.measuring import candidate
from precsearch.bench import Scored
from precsearch.errors import EngineError, WorkerError
from precsearch.events import Event, FinalistJudged, StageStarted, Warned
from precsearch.goal import Problem
from precsearch.onnxio.lower import Lowered
from precsearch.plan import Finalist
from precsearch.space import Assignment, Precision
from precsearch.trial import UNTOLD, Accuracy, Fidelity, Latency, Measurement, Trial
from precsearch.workers import Worker

__all__ = ["Choice", "best_so_far", "confirm", "counts", "finalists"]

_REBUILDS = 3
_SLACK_STEPS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)
_FASTEST = 3


@dataclass(frozen=True)
class Choice:
    """The engine that ships.

    Attributes:
        trial: Its trial.
        measurement: Its measurement, latency as confirmed.
        holdout: Its accuracy there, ``None`` without a holdout.
        looks: Every finalist that was judged.
    """

    trial: Trial
    measurement: Measurement
    holdout: Accuracy | None
    looks: tuple[Finalist, ...]


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
    passing = [t for t in timed if _safe(t, problem)]
    by_ratio = sorted(passing, key=_ratio)[:_FASTEST]
    for slack in _SLACK_STEPS:
        roomy = [t for t in passing if goal.slack(_measured(t)) <= slack]
        best = goal.best(roomy)
        by_ratio += [best] if best is not None else []
    trivial = {problem.space.uniform(p) for p in problem.space.precisions}
    by_ratio += [t for t in timed if t.assignment in trivial and goal.admits(_measured(t))]
    return tuple({t.number: t for t in by_ratio}.values())


def _measured(trial: Trial) -> Measurement:
    assert trial.measurement is not None
    return trial.measurement


def _safe(trial: Trial, problem: Problem) -> bool:
    return problem.goal.passes(_measured(trial))


def _ratio(trial: Trial) -> tuple[float, int]:
    latency = _measured(trial).latency
    assert latency is not None
    return latency.ratio, trial.number


def confirm(
    problem: Problem,
    trials: Sequence[Trial],
    lower: Callable[[Assignment], Lowered],
    worker: Worker,
    holdout: Callable[[], Scored | None],
) -> Generator[Event, None, Choice | None]:
    """Measure the finalists again and choose; ``None`` if there is none.

    Args:
        problem: The problem that was searched.
        trials: All of its trials.
        lower: The lowering.
        worker: Holds a `precsearch.bench.Bench`.
        holdout: Opens the holdout, if there is one; called once, after the order is fixed.
    """
    chosen = finalists(problem, trials)
    if not chosen:
        return None
    yield StageStarted("confirm", f"{len(chosen)} finalists, each opened {_REBUILDS} times")
    timed = yield from _timed(chosen, lower, worker)
    order = _order(problem, timed)
    part = holdout()
    looks: list[Finalist] = []
    for trial, measurement in order:
        accuracy = None
        if part is not None:
            accuracy = worker.call("score", candidate(lower(trial.assignment)), part)
        passed = accuracy is None or accuracy.loss <= problem.goal.bound.tolerance
        loss = measurement.accuracy.loss
        ratio = measurement.latency.ratio if measurement.latency is not None else 1.0
        looks.append(
            Finalist(trial.number, ratio, loss, accuracy.loss if accuracy else None, passed)
        )
        judged = accuracy.loss if accuracy else loss
        yield FinalistJudged(trial.number, judged, ratio, passed)
        if passed:
            return Choice(trial, measurement, accuracy, tuple(looks))
    return None


def best_so_far(problem: Problem, trials: Sequence[Trial]) -> Choice | None:
    """The preferable finalist by its first timing, not confirmed; ``None`` if there is none."""
    order = _order(problem, [(t, _measured(t)) for t in finalists(problem, trials)])
    return Choice(*order[0], None, ()) if order else None


def _timed(
    chosen: Sequence[Trial], lower: Callable[[Assignment], Lowered], worker: Worker
) -> Generator[Event, None, list[tuple[Trial, Measurement]]]:
    """The finalists with the median of their newly measured latencies."""
    candidates = [candidate(lower(t.assignment)) for t in chosen]
    try:
        found: list[tuple[Latency, ...]] = worker.call("confirm", candidates, _REBUILDS)
    except (EngineError, WorkerError) as error:
        yield Warned(f"the finalists could not be measured again ({error}); first timings stand")
        return [(t, _measured(t)) for t in chosen]
    return [
        (t, replace(_measured(t), latency=_middle(rows)))
        for t, rows in zip(chosen, found, strict=True)
    ]


def _middle(rows: Sequence[Latency]) -> Latency:
    """The rebuild with the median ratio; its interval widened to hold all rebuilds' medians."""
    middle = median(r.ratio for r in rows)
    row = min(rows, key=lambda r: abs(r.ratio - middle))
    ratios = [r.ratio for r in rows]
    return replace(
        row,
        ratio_low=min(row.ratio_low, *ratios),
        ratio_high=max(row.ratio_high, *ratios),
    )


def _order(
    problem: Problem, timed: Sequence[tuple[Trial, Measurement]]
) -> list[tuple[Trial, Measurement]]:
    """By preference: the fastest first, among ties the most accurate; FP32 counts as exactly 1."""
    left = [(t, _as_baseline(t, m)) for t, m in timed]
    order: list[tuple[Trial, Measurement]] = []
    noise = problem.goal.noise
    while left:
        fastest = min(_speed(m) for _, m in left)
        tied = [row for row in left if _speed(row[1]) <= fastest * (1 + noise)]
        best = min(tied, key=lambda row: (row[1].accuracy.loss, row[0].number))
        order.append(best)
        left.remove(best)
    return order


def _as_baseline(trial: Trial, measurement: Measurement) -> Measurement:
    if trial.assignment != Assignment() or measurement.latency is None:
        return measurement
    latency = replace(measurement.latency, ratio=1.0, ratio_low=1.0, ratio_high=1.0)
    return replace(measurement, latency=latency)


def _speed(measurement: Measurement) -> float:
    return measurement.latency.ratio if measurement.latency is not None else 1.0


def counts(choice: Choice, asked: Assignment) -> dict[str, int]:
    """Groups per achieved precision, of those asked for less; of some, the engine tells nothing."""
    achieved = choice.measurement.achieved
    found = {**{p.value: 0 for p in Precision if p is not Precision.FP32}, UNTOLD: 0}
    for key in asked:
        ran = achieved.get(key)
        name = UNTOLD if ran is None else ran.value
        if name in found:
            found[name] += 1
    return {k: v for k, v in found.items() if v}
