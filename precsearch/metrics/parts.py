"""Parts of an output that are lost while its norm looks fine.

A detection head may hold boxes in pixels and scores below 1 in one tensor. Its relative L2 is that
of the boxes alone: scores of which nothing is left cost less than a thousandth.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from precsearch.backend import Array, Feed
from precsearch.metrics.mismatches import is_float
from precsearch.metrics.resample import Floats
from precsearch.mismatch import LostPart

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
_MOST_PARTS = 4


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
        found: Floats = np.maximum(self.square - self.total**2 / max(self.count, 1), 0)
        return found


def lost_parts(outputs: Sequence[Feed], reference: Sequence[Feed]) -> tuple[LostPart, ...]:
    """Entries along an axis whose variation an engine does not keep, though the norm hides it.

    Args:
        outputs: The engine's, output name → array, a mapping a feed.
        reference: Likewise; names that it lacks are not looked at.

    Returns:
        At most four parts of each output, on the first axis beyond axis 0 that has any. Nothing for
        outputs that are not float, of rank below 2, or not finite, and for those whose shape beyond
        axis 0 differs from feed to feed.
    """
    found: list[LostPart] = []
    for name in reference[0]:
        values = [np.asarray(f[name]) for f in outputs if name in f]
        wanted = [np.asarray(f[name]) for f in reference]
        if _comparable(values, wanted):
            found += _of(name, values, wanted)
    return tuple(found)


def _comparable(values: Sequence[Array], wanted: Sequence[Array]) -> bool:
    if len(values) != len(wanted) or not all(map(is_float, wanted)) or wanted[0].ndim < 2:
        return False
    if len({w.shape[1:] for w in wanted}) != 1:
        return False
    return all(v.shape == w.shape for v, w in zip(values, wanted, strict=True))


def _of(name: str, values: Sequence[Array], wanted: Sequence[Array]) -> list[LostPart]:
    axes = [i for i, n in enumerate(wanted[0].shape) if i > 0 and 2 <= n <= _MOST_ENTRIES]
    sums = {axis: _Sums(0.0, *(np.zeros(wanted[0].shape[axis]) for _ in range(3))) for axis in axes}
    for value, target in zip(values, wanted, strict=True):
        a, b = value.astype(np.float64), target.astype(np.float64)
        if not (np.isfinite(a).all() and np.isfinite(b).all()):
            return []
        off = (a - b) ** 2
        for axis, held in sums.items():
            others = tuple(i for i in range(b.ndim) if i != axis)
            held.count += b.size / b.shape[axis]
            held.total += b.sum(axis=others)
            held.square += (b**2).sum(axis=others)
            held.error += off.sum(axis=others)
    for axis, held in sums.items():
        if parts := list(_parts(name, axis, held)):
            return parts[:_MOST_PARTS]
    return []


def _parts(name: str, axis: int, sums: _Sums) -> Iterator[LostPart]:
    square = float(sums.square.sum())
    if not square:
        return
    whole = math.sqrt(float(sums.error.sum()) / square)
    spread = sums.spread
    varies = spread > _VARIES**2 * sums.square
    counts = sums.square > _COUNTS**2 * float(sums.square.max())
    loss = np.sqrt(sums.error / np.where(spread > 0, spread, 1))
    lost = varies & counts & (loss > _GONE) & (loss > _HIDDEN * whole)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], lost.astype(np.int8), [0]])))
    for first, stop in edges.reshape(-1, 2).tolist():
        yield LostPart(name, axis, first, stop - 1, float(loss[first:stop].max()), whole)
