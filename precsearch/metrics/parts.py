"""Parts of an output that are lost while its norm looks fine.

A detection head may hold boxes in pixels and scores below 1 in one tensor. Its relative L2 is that
of the boxes alone: scores of which nothing is left cost less than a thousandth.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from precsearch.core.backend import Array, Feed
from precsearch.core.mismatch import LostPart
from precsearch.metrics.mismatches import is_float
from precsearch.metrics.resample import Floats

__all__ = ["lost_parts"]

_GONE = 0.5
"""A part is lost if it is off by more than this share of its standard deviation ..."""
_HIDDEN = 20.0
"""... and by this many times the relative L2 of the whole output."""
_VARIES = 1e-3
"""An entry that varies by less than this share of its size is a constant with noise on it."""
_COUNTS = 1e-5
"""One that is smaller than this share of the largest entry is what is left of a cancellation."""
_MOST_ENTRIES = 4096


@dataclass(slots=True)
class _Sums:
    """Sums over samples by entry of one axis, ``[entries]`` each."""

    count: float
    total: Floats
    square: Floats
    error: Floats

    @property
    def spread(self) -> Floats:
        """Sum of squared distances from the entry's mean."""
        variance: Floats = np.maximum(self.square - self.total**2 / max(self.count, 1), 0)
        return variance


def lost_parts(outputs: Sequence[Feed], reference: Sequence[Feed]) -> tuple[LostPart, ...]:
    """Entries along an axis whose variation an engine does not keep, though the norm hides it.

    Args:
        outputs: The engine's, output name → array, a mapping a feed.
        reference: The reference's, in the same form; names that it lacks are not looked at.

    Returns:
        What is lost of each output, on the first axis beyond axis 0 where anything is. Nothing for
        outputs that are not float, of rank below 2, or not finite, and for those whose shape beyond
        axis 0 differs from feed to feed.
    """
    parts: list[LostPart | None] = []
    for name in reference[0]:
        values = [np.asarray(f[name]) for f in outputs if name in f]
        expected = [np.asarray(f[name]) for f in reference]
        if _comparable(values, expected):
            parts.append(_of(name, values, expected))
    return tuple(part for part in parts if part is not None)


def _comparable(values: Sequence[Array], expected: Sequence[Array]) -> bool:
    if len(values) != len(expected) or not all(map(is_float, expected)) or expected[0].ndim < 2:
        return False
    if len({w.shape[1:] for w in expected}) != 1:
        return False
    return all(v.shape == w.shape for v, w in zip(values, expected, strict=True))


def _of(name: str, values: Sequence[Array], expected: Sequence[Array]) -> LostPart | None:
    axes = [i for i, n in enumerate(expected[0].shape) if i > 0 and 2 <= n <= _MOST_ENTRIES]
    sums = {
        axis: _Sums(0.0, *(np.zeros(expected[0].shape[axis]) for _ in range(3))) for axis in axes
    }
    for value, target in zip(values, expected, strict=True):
        a, b = value.astype(np.float64), target.astype(np.float64)
        if not (np.isfinite(a).all() and np.isfinite(b).all()):
            return None
        off = (a - b) ** 2
        for axis, held in sums.items():
            others = tuple(i for i in range(b.ndim) if i != axis)
            held.count += b.size / b.shape[axis]
            held.total += b.sum(axis=others)
            held.square += (b**2).sum(axis=others)
            held.error += off.sum(axis=others)
    parts = (_part(name, axis, held) for axis, held in sums.items())
    return next((part for part in parts if part is not None), None)


def _part(name: str, axis: int, sums: _Sums) -> LostPart | None:
    square = float(sums.square.sum())
    if not square:
        return None
    whole = math.sqrt(float(sums.error.sum()) / square)
    spread = sums.spread
    varies = spread > _VARIES**2 * sums.square
    counts = sums.square > _COUNTS**2 * float(sums.square.max())
    loss = np.sqrt(sums.error / np.where(spread > 0, spread, 1))
    lost = varies & counts & (loss > _GONE) & (loss > _HIDDEN * whole)
    entries = np.flatnonzero(lost)
    if not len(entries):
        return None
    return LostPart(name, axis, tuple(entries.tolist()), float(loss[entries].max()), whole)
