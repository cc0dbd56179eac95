"""Which samples cannot be compared with their reference, and why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from precsearch.core.backend import Array, Feed
from precsearch.core.mismatch import FINITE, INFINITE, NAN, SIZE, Mismatch

__all__ = ["is_float", "mismatches", "unsound"]

_KINDS = (SIZE, NAN, INFINITE, FINITE)


def is_float(array: Array) -> bool:
    """Whether its elements are compared by size and not by equality (bfloat16 is of kind V)."""
    return array.dtype.kind in "fV"


@dataclass(slots=True)
class _Count:
    samples: int = 0
    found: tuple[int, ...] = ()
    wanted: tuple[int, ...] = ()


def mismatches(
    outputs: Sequence[Feed], reference: Sequence[Feed], rows: Sequence[int], names: Sequence[str]
) -> tuple[Mismatch, ...]:
    """What differs in kind, output by output: sizes first, then NaN, infinities, numbers.

    Args:
        outputs: The engine's, output name → array, a mapping a feed.
        reference: The reference's, in the same form.
        rows: Samples in each feed: where shapes agree, it is split into so many rows along axis 0.
        names: The outputs to look at.
    """
    total = sum(rows)
    mismatched: list[Mismatch] = []
    for name in names:
        counts = {kind: _Count() for kind in _KINDS}
        for values, expected, count in zip(outputs, reference, rows, strict=True):
            value, target = np.asarray(values[name]), np.asarray(expected[name])
            for kind, samples in _of(value, target, count):
                here = counts[kind]
                if not here.samples:
                    here.found, here.wanted = value.shape, target.shape
                here.samples += samples
        mismatched += [
            Mismatch(name, kind, c.samples, total, c.found, c.wanted)
            for kind, c in counts.items()
            if c.samples
        ]
    return tuple(mismatched)


def unsound(differences: Sequence[Mismatch]) -> bool:
    """Whether values themselves are wrong: another size alone may be right, a NaN is not."""
    return any(m.kind != SIZE for m in differences)


def _of(value: Array, target: Array, count: int) -> Iterator[tuple[str, int]]:
    """Kinds of one feed, each with the number of its samples."""
    same = value.shape == target.shape
    if not same:
        yield SIZE, count
    if not is_float(target) or not is_float(value):
        return
    value, target = _wide(value), _wide(target)
    if np.isfinite(value).all() and np.isfinite(target).all():
        return
    if not same:
        # Positions mean nothing: a kind that the reference does not have at all is wrong.
        for kind, test in ((NAN, np.isnan), (INFINITE, np.isinf)):
            if test(value).any() and not test(target).any():
                yield kind, count
        return
    value, target = value.reshape(count, -1), target.reshape(count, -1)
    left = np.ones(count, np.bool_)
    for kind, odd in (
        (NAN, np.isnan(value) & ~np.isnan(target)),
        (INFINITE, np.isinf(value) & (value != target)),
        (FINITE, np.isfinite(value) & ~np.isfinite(target)),
    ):
        hit = odd.any(axis=1) & left
        left &= ~hit
        if hit.any():
            yield kind, int(hit.sum())


def _wide(array: Array) -> Array:
    return array.astype(np.float64) if array.dtype.kind == "V" else array
