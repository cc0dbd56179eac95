"""What a wider bound would buy, and which output asks for it, by the engines that were measured."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from precsearch.core.errors import OptionError
from precsearch.core.problem import Goal
from precsearch.core.trial import Measurement, Trial
from precsearch.metrics import Metric
from precsearch.plan.plan import Finalist
from precsearch.system.printable import first_of

__all__ = ["outputs_over", "wider_bounds"]

_WIDER = (2.0, 3.0, 10.0, math.inf)
_WORTH = 0.97
"""A ratio above it is no gain that a wider bound would be chosen for."""
_OUTPUTS = 3

Timed = Sequence[tuple[Trial, Measurement, float]]
"""Engines with their latency over FP32's."""


def wider_bounds(
    goal: Goal, metric: Metric, timed: Timed, missed: Mapping[int, Finalist]
) -> Iterator[str]:
    """What bounds wider than the one asked for would have bought; never a tighter one.

    Args:
        goal: With the bound that was asked for.
        metric: The loss.
        timed: Engines of lower precision.
        missed: Those of them that missed the bound on the holdout.
    """
    rows = []
    for trial, measurement, ratio in timed:
        needed = _needed(goal, measurement, missed.get(trial.number))
        if math.isfinite(needed) and needed > goal.bound.tolerance and ratio <= _WORTH:
            rows.append((ratio, needed, trial.number))
    for factor in _WIDER:
        within = [row for row in rows if row[1] <= factor * goal.bound.tolerance]
        if not within:
            continue
        ratio, needed, number = min(within)
        where = "search samples and the holdout" if number in missed else "search samples"
        yield (
            f"A bound of {_bound(metric, needed)} would buy {1 / ratio:.2f}x the speed, as "
            f"measured on the {where}."
        )


def _needed(goal: Goal, measurement: Measurement, miss: Finalist | None) -> float:
    """The least tolerance under which the engine would have passed; ``inf`` if there is none."""
    accuracy = measurement.accuracy
    held_out = 0.0 if miss is None or miss.holdout_loss is None else miss.holdout_loss
    return max(accuracy.loss * goal.bound.guard, accuracy.upper, held_out)


def _bound(metric: Metric, needed: float) -> str:
    """A tolerance in the metric's terms, rounded to three digits to the side that admits it."""
    value = metric.display(needed)
    if not math.isfinite(value) or value == 0:
        return f"{value:.3g}"
    step = 10.0 ** (math.floor(math.log10(abs(value))) - 2)
    for text in (f"{value:.3g}", f"{value + step:.3g}", f"{value - step:.3g}"):
        if _admits(metric, float(text), needed):
            value_text = text
            break
    else:
        value_text = f"{value:.3g}"
    return f"{value_text}{' ' + metric.unit if metric.unit else ''}"


def _admits(metric: Metric, tolerance: float, loss: float) -> bool:
    try:
        return metric.bound(tolerance) >= loss
    except OptionError:
        return False


def outputs_over(goal: Goal, metric: Metric, timed: Timed, ratio: float) -> Iterator[str]:
    """Which output keeps the fastest engine out, where the model has several.

    Args:
        goal: With the bound that was asked for.
        metric: The loss.
        timed: Engines of lower precision.
        ratio: Latency of the engine that ships, over FP32's.
    """
    tolerance = goal.bound.tolerance
    rows = [
        (loss, trial.number, measurement.accuracy.by_output)
        for trial, measurement, loss in timed
        if loss < ratio * (1 - goal.noise)
        and len(measurement.accuracy.by_output) > 1
        and measurement.accuracy.loss > tolerance
    ]
    if not rows:
        return
    loss, number, losses = min(rows, key=lambda row: row[:2])
    over = sorted((n for n, v in losses.items() if not v <= tolerance), key=lambda n: -losses[n])
    if not over:
        return
    named = first_of([f"{n!r} ({_loss(metric, losses[n])})" for n in over], _OUTPUTS)
    yield (
        f"The fastest engine over the bound ({1 / loss:.2f}x, engine {number}) misses it at the "
        f"output{'' if len(over) == 1 else 's'} {named}; "
        f"{_rest(len(losses) - len(over))}."
    )


def _rest(count: int) -> str:
    if not count:
        return "no other output is within it"
    return f"the other {'output is' if count == 1 else f'{count} outputs are'} within it"


def _loss(metric: Metric, loss: float) -> str:
    if not math.isfinite(loss):
        return "not finite"
    return f"{metric.display(loss):.3g}{' ' + metric.unit if metric.unit else ''}"
