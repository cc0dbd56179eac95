"""How per-sample losses become one loss, and how far a fresh draw of samples may lie above it."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from precsearch.core.trial import Accuracy, Aggregation

__all__ = ["Floats", "Precision95", "aggregate", "how_sure", "mean_accuracy", "upper"]

Floats = npt.NDArray[np.float64]

_RESAMPLES = 200
_QUANTILE = 0.9
_CAP = 1.5
_MARGIN = 1.02
"""Where resampling says nothing: too few samples, or a maximum, which resampling underestimates."""
_FEW = 8
_CELLS = 1 << 21
"""Numbers held at once, so that memory does not grow with the number of samples."""


def _terms(errors: Floats, weights: Floats, aggregation: Aggregation) -> tuple[Floats, Floats]:
    """Sorted, so that the order of samples changes neither sums nor draws; and weights near 1."""
    order = np.lexsort((weights, errors))
    errors, weights = errors[order], weights[order] / weights.max()
    return (errors**2 if aggregation is Aggregation.RMS else errors), weights


def aggregate(errors: Floats, weights: Floats, aggregation: Aggregation) -> float:
    """One loss from those of the samples.

    Args:
        errors: Loss per sample, shape ``[n]``, ``n >= 1``.
        weights: Positive weight of each, shape ``[n]``.
        aggregation: RMS, MEAN or MAX.

    Returns:
        The loss; ``inf`` if any error is not finite.
    """
    if not np.isfinite(errors).all():
        return math.inf
    if aggregation is Aggregation.MAX:
        return float(errors.max())
    scale = float(np.abs(errors).max())
    if scale == 0:
        return 0.0
    # In units of the largest, so that squares neither overflow nor vanish.
    terms, weights = _terms(errors / scale, weights, aggregation)
    mean = float(terms @ weights / weights.sum())
    return scale * (math.sqrt(mean) if aggregation is Aggregation.RMS else mean)


def upper(
    errors: Floats, weights: Floats, aggregation: Aggregation, loss: float, seed: int
) -> float:
    """The loss that a fresh draw of as many samples stays under with good probability.

    The 0.9 quantile of the aggregate over 200 bootstrap resamples, between ``loss`` and 1.5 times
    it; 2 % above ``loss`` for a maximum and for fewer than 8 samples.

    Args:
        errors: Loss per sample, shape ``[n]``.
        weights: Positive weight of each, shape ``[n]``.
        aggregation: RMS, MEAN or MAX.
        loss: Their aggregate.
        seed: Of the draws.
    """
    if not math.isfinite(loss) or loss == 0:
        return loss
    if aggregation is Aggregation.MAX or len(errors) < _FEW:
        return max(loss, loss * _MARGIN)
    scale = float(np.abs(errors).max())
    terms, weights = _terms(errors / scale, weights, aggregation)
    rng = np.random.default_rng(seed)
    n = len(terms)
    means: list[Floats] = []
    step = max(1, _CELLS // n)
    for start in range(0, _RESAMPLES, step):
        drawn = rng.integers(n, size=(min(step, _RESAMPLES - start), n))
        means.append((terms * weights)[drawn].sum(axis=1) / weights[drawn].sum(axis=1))
    at = float(np.quantile(np.concatenate(means), _QUANTILE))
    estimate = scale * (math.sqrt(max(at, 0.0)) if aggregation is Aggregation.RMS else at)
    return max(loss, min(estimate, _CAP * loss) if loss > 0 else estimate)


class Precision95(NamedTuple):
    """How well some samples tell a loss.

    Attributes:
        share: Half the 95 % interval of the loss under resampling, over the loss.
        needed: Samples with which that would be the share asked for.
    """

    share: float
    needed: int


def how_sure(
    errors: Floats, weights: Floats, aggregation: Aggregation, level: float, seed: int = 0
) -> Precision95 | None:
    """How far a loss may be off because there are no more samples, by resampling them.

    The interval shrinks with the root of the number of samples (Efron, 1979), from which the number
    needed follows.

    Args:
        errors: Loss per sample, shape ``[n]``, finite.
        weights: Positive weight of each, shape ``[n]``.
        aggregation: RMS or MEAN.
        level: The share asked for, such as 0.1.
        seed: Of the draws.

    Returns:
        ``None`` where resampling says nothing: a maximum, a loss of 0, fewer than 8 samples.
    """
    n = len(errors)
    tells = aggregation in (Aggregation.RMS, Aggregation.MEAN)
    if n < _FEW or not tells or not np.isfinite(errors).all():
        return None
    loss = aggregate(errors, weights, aggregation)
    if loss <= 0:
        return None
    terms, weights = _terms(errors / loss, weights, aggregation)
    rng = np.random.default_rng(seed)
    means: list[Floats] = []
    step = max(1, _CELLS // n)
    for start in range(0, _RESAMPLES, step):
        drawn = rng.integers(n, size=(min(step, _RESAMPLES - start), n))
        means.append((terms * weights)[drawn].sum(axis=1) / weights[drawn].sum(axis=1))
    samples = np.concatenate(means)
    losses = np.sqrt(np.maximum(samples, 0)) if aggregation is Aggregation.RMS else samples
    low, high = np.quantile(losses, (0.025, 0.975))
    share = float(high - low) / 2
    return Precision95(share, max(n, math.ceil(n * (share / level) ** 2)))


def mean_accuracy(errors: Floats, weights: Floats, seed: int) -> Accuracy:
    """The score of a metric whose loss is the weighted mean over samples.

    Args:
        errors: Loss of each sample, shape ``[samples]``.
        weights: Their weights, positive, of the same shape.
        seed: Of the resampling behind ``upper``.
    """
    loss = aggregate(errors, weights, Aggregation.MEAN)
    return Accuracy(
        loss=loss,
        upper=upper(errors, weights, Aggregation.MEAN, loss, seed),
        per_sample=tuple(errors.tolist()),
        weights=tuple(weights.tolist()),
        aggregation=Aggregation.MEAN,
    )
