"""What the losses of a search do not tell: engines that cannot be compared, parts that are lost."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from precsearch.core.mismatch import sentences, sizes_alone
from precsearch.core.problem import Problem
from precsearch.core.trial import Fidelity, Measurement, Trial
from precsearch.metrics.resample import how_sure
from precsearch.optimization.stages.select import Choice

__all__ = ["hidden_by_loss"]

_MOST = 3
_SURE = 0.1
"""Share of a loss that half of its 95 % interval may be before more samples are asked for."""


def hidden_by_loss(problem: Problem, trials: Sequence[Trial], choice: Choice) -> tuple[str, ...]:
    """Sentences for the user, at the end of a search.

    Args:
        problem: What was searched.
        trials: All trials.
        choice: The engine that ships.
    """
    engines = [
        (trial, measurement)
        for trial in trials
        if trial.proposal.fidelity is Fidelity.ENGINE
        and (measurement := trial.measurement) is not None
    ]
    return (
        *_other_shapes(choice),
        *_lost_in_choice(choice),
        *_incomparable(problem, engines, choice),
        *_lost_elsewhere(problem, engines, choice),
        *_imprecise(choice),
    )


def _imprecise(choice: Choice) -> list[str]:
    """How well the samples tell the loss, and how many would tell it well, by resampling them."""
    accuracy = choice.measurement.accuracy
    if not choice.trial.assignment.entries:
        return []
    errors, weights = np.asarray(accuracy.per_sample), np.asarray(accuracy.weights)
    sure = how_sure(errors, weights, accuracy.aggregation, _SURE)
    if sure is None or sure.share <= _SURE:
        return []
    return [
        f"{len(errors)} samples tell the loss to {100 * sure.share:.0f} %, by resampling them; "
        f"about {sure.needed} such samples would tell it to {100 * _SURE:.0f} %"
    ]


def _other_shapes(choice: Choice) -> list[str]:
    shapes = choice.measurement.accuracy.shapes
    return [f"the loss is that at {shapes}, the largest of all --shapes"] if shapes else []


def _lost_in_choice(choice: Choice) -> list[str]:
    lost = choice.measurement.accuracy.lost[:_MOST]
    return [f"the chosen engine keeps its loss within the bound, but {part}" for part in lost]


def _incomparable(
    problem: Problem, engines: Sequence[tuple[Trial, Measurement]], choice: Choice
) -> list[str]:
    """The fastest engine that was left out for what cannot be compared, if it is faster."""
    shipped = _ratio(choice.measurement)
    left = [
        (_ratio(measurement), trial.number, measurement)
        for trial, measurement in engines
        if measurement.accuracy.mismatches
        and not math.isfinite(measurement.accuracy.loss)
        and _ratio(measurement) < shipped * (1 - problem.goal.noise)
    ]
    if not left:
        return []
    ratio, number, measurement = min(left, key=lambda row: row[:2])
    odd = measurement.accuracy.mismatches
    sentence = f"engine {number}, {1 / ratio:.2f}x FP32's speed, was left out: "
    sentence += "; ".join(sentences(odd)[:_MOST])
    if sizes_alone(odd):
        sentence += "; a metric of your own can judge such outputs (--metric module:function)"
    return [sentence]


def _lost_elsewhere(
    problem: Problem, engines: Sequence[tuple[Trial, Measurement]], choice: Choice
) -> list[str]:
    """Parts that engines within the bound lose, each told of the first such engine."""
    lost = {(p.output, p.axis) for p in choice.measurement.accuracy.lost}
    lines = []
    for trial, measurement in engines:
        if trial.number == choice.trial.number or not problem.goal.admits(measurement):
            continue
        for part in measurement.accuracy.lost:
            if (part.output, part.axis) not in lost:
                lost.add((part.output, part.axis))
                lines.append(f"engine {trial.number} is within the bound, but {part}")
    return lines[:_MOST]


def _ratio(measurement: Measurement) -> float:
    return measurement.latency.ratio if measurement.latency is not None else math.inf
