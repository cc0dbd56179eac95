"""Ranges from histograms: by a percentile, the least squared error, or the least divergence."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from precsearch.lowering.qdq.scales import TensorRange

__all__ = ["BINS", "CUTS", "histogram"]

BINS = 2048
_PERCENTILE = 99.99
_STEPS = 64


def histogram(value: npt.NDArray[Any], span: TensorRange) -> npt.NDArray[np.int64]:
    """Counts of equal bins over a range that holds all values but for rounding.

    Several times as fast as `numpy.histogram`, which also puts right what rounding moves by a bin.
    """
    width = span.high - span.low or max(1.0, abs(span.low))
    # Of a mask and its opposite, the difference is beyond FP32.
    number = np.float64 if width > float(np.finfo(np.float32).max) else np.float32
    scale = number(min(BINS / width, 1e38))
    bins = ((value.ravel() - number(span.low)) * scale).astype(np.int64)
    return np.bincount(np.clip(bins, 0, BINS - 1), minlength=BINS)


def _percentile(counts: npt.NDArray[np.int64], span: TensorRange, levels: int) -> TensorRange:
    """The range that holds `_PERCENTILE` of the values, cut evenly at both ends."""
    total = int(counts.sum())
    tail = (100 - _PERCENTILE) / 200 * total
    below, above = np.cumsum(counts), np.cumsum(counts[::-1])
    edges = np.linspace(span.low, span.high, BINS + 1)
    low = span.low if span.low >= 0 else float(edges[int(np.searchsorted(below, tail))])
    high = float(edges[BINS - int(np.searchsorted(above, tail))])
    return TensorRange(low, high)


def _shrunk(span: TensorRange) -> Iterator[TensorRange]:
    """The range, shrunk evenly towards zero, step by step."""
    for step in range(_STEPS):
        share = 1 - step / (_STEPS * 1.25)
        yield TensorRange(min(span.low, 0.0) * share, max(span.high, 0.0) * share)


def _centres(span: TensorRange) -> npt.NDArray[np.float64]:
    edges = np.linspace(span.low, span.high, BINS + 1)
    return (edges[:-1] + edges[1:]) / 2


def _least_error(counts: npt.NDArray[np.int64], span: TensorRange, levels: int) -> TensorRange:
    """The range, shrunk evenly towards zero, with the least expected squared error.

    Rounding costs step² / 12 a value within the range, clipping the squared distance to it
    (Banner et al., Post training 4-bit quantization, 2019, section 3).
    """
    filled = np.flatnonzero(counts)
    centres, held = _centres(span)[filled], counts[filled]
    best, best_cost = span, np.inf
    for tried in _shrunk(span):
        first = np.searchsorted(centres, tried.low)
        last = np.searchsorted(centres, tried.high, side="right")
        below, above = tried.low - centres[:first], centres[last:] - tried.high
        inside = int(held[first:last].sum())
        clipped = held[:first] @ below**2 + held[last:] @ above**2
        cost = float(clipped + inside * ((tried.high - tried.low) / levels) ** 2 / 12)
        if cost < best_cost:
            best, best_cost = tried, cost
    return best


def _least_divergence(counts: npt.NDArray[np.int64], span: TensorRange, levels: int) -> TensorRange:
    """The range, shrunk evenly towards zero, whose quantized distribution is nearest.

    By the Kullback-Leibler divergence from the clipped distribution, as in NVIDIA's 8-bit Inference
    with TensorRT (Migacz, 2017). What is clipped counts as at the ends of the range.
    """
    every, filled = _centres(span), np.flatnonzero(counts)
    centres, held = every[filled], counts[filled].astype(np.float64)
    total = max(float(held.sum()), 1.0)
    best, least = span, np.inf
    for tried in _shrunk(span):
        low, high = tried.low, tried.high
        ends = np.searchsorted(every, low), np.searchsorted(every, high, side="right") - 1
        if high <= low or ends[0] > ends[1]:
            break
        first, last = np.searchsorted(filled, ends[0]), np.searchsorted(filled, ends[1] + 1)
        level = ((centres[first:last] - low) / (high - low) * levels).astype(np.int64)
        level = np.minimum(level, levels)
        used = np.bincount(level, held[first:last], levels + 1)
        bins = np.bincount(level, minlength=levels + 1)
        whole, spread = np.zeros(BINS), np.zeros(BINS)
        whole[filled[first:last]] = held[first:last]
        whole[ends[0]] += held[:first].sum()
        whole[ends[1]] += held[last:].sum()
        spread[filled[first:last]] = (used / np.maximum(bins, 1))[level]
        cost = _divergence(whole / total, spread / max(float(spread.sum()), 1.0))
        if cost < least:
            best, least = tried, cost
    return best


def _divergence(p: npt.NDArray[np.float64], q: npt.NDArray[np.float64]) -> float:
    """Kullback-Leibler; where q has nothing, a millionth stands in for it."""
    mask = p > 0
    p, q = p[mask], q[mask]
    return float(p @ np.log(p / np.maximum(q, 1e-6)))


CUTS = {"percentile": _percentile, "mse": _least_error, "entropy": _least_divergence}
"""Method → the range by counts of equal bins over a range, and the levels of the quantized type."""
