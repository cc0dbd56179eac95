"""Outputs whose parts differ in scale, so that one norm over all of them is that of the largest."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from precsearch.core.backend import Feed
from precsearch.metrics.mismatches import is_float
from precsearch.metrics.resample import Floats

__all__ = ["scale_gaps"]

_RATIO = 100.0
_MOST_ENTRIES = 512
"""Along an axis; longer ones are positions, whose parts mean the same."""
_NOTHING = 1e-7
"""An entry that is smaller than this share of the largest is what is left of a cancellation."""
_RANK = 2


def scale_gaps(reference: Sequence[Feed]) -> tuple[str, ...]:
    """A sentence for each output of which some entries are 100 times smaller than the others.

    Entries of an axis beyond axis 0 are compared by their root mean square over everything else.
    There has to be a gap: numbers that fall off evenly are of one kind.

    Args:
        reference: Output name → array, a mapping a feed.
    """
    messages = []
    for name in reference[0] if reference else ():
        arrays = [np.asarray(feed[name]) for feed in reference if name in feed]
        alike = len({a.shape[1:] for a in arrays}) == 1
        if not alike or arrays[0].ndim < _RANK or not is_float(arrays[0]):
            continue
        for axis in range(arrays[0].ndim - 1, 0, -1):
            gap = _gap(arrays, axis)
            if gap is not None:
                small, ratio = gap
                messages.append(
                    f"output {name!r}: {_entries(small)} of axis {axis} "
                    f"{'are' if len(small) > 1 else 'is'} {ratio:.0f} times smaller than the rest, "
                    "and one norm over the output does not see them; choose a metric of the task "
                    "(docs/metrics.md), or export them as an output with a bound of its own"
                )
                break
    return tuple(messages)


def _gap(arrays: Sequence[np.ndarray], axis: int) -> tuple[list[int], float] | None:
    """Entries below the widest gap, and its ratio; ``None`` if none is wide enough."""
    entries = arrays[0].shape[axis]
    if not 1 < entries <= _MOST_ENTRIES:
        return None
    squares: Floats = np.zeros(entries)
    count = 0
    for array in arrays:
        values = np.moveaxis(array, axis, 0).reshape(entries, -1).astype(np.float64)
        values[~np.isfinite(values)] = 0
        squares += (values**2).sum(axis=1)
        count += values.shape[1]
    sizes = np.sqrt(squares / max(count, 1))
    order = np.argsort(sizes, kind="stable")
    counted = [int(i) for i in order if sizes[i] > _NOTHING * sizes.max()]
    if len(counted) < 2:
        return None
    steps = sizes[counted[1:]] / sizes[counted[:-1]]
    at = int(steps.argmax())
    if steps[at] <= _RATIO:
        return None
    return sorted(counted[: at + 1]), float(steps[at])


def _entries(numbers: Sequence[int]) -> str:
    whole = list(numbers) == list(range(numbers[0], numbers[-1] + 1))
    if len(numbers) == 1:
        return f"entry {numbers[0]}"
    if whole:
        return f"entries {numbers[0]} to {numbers[-1]}"
    return f"{len(numbers)} entries, {numbers[0]} the first,"
