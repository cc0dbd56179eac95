"""Outputs beside their reference as rows of samples, with what cannot be compared set apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from precsearch.core.backend import Array, Feed
from precsearch.core.errors import DataError
from precsearch.metrics.resample import Floats

__all__ = ["Block", "Bools", "blocks", "compared", "splits", "unequal"]

_CELLS = 1 << 22
"""Elements compared at once: small feeds are joined for speed, large ones keep memory bounded."""

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Block:
    """Some samples of one output.

    Attributes:
        values: The engine's, float64 ``[samples, elements]``, finite.
        reference: The reference's, of the same shape and type.
        bad: Samples ``[samples]`` of another shape than the reference, or where one of both holds
            NaN or infinity and the other does not hold the same.
    """

    values: Floats
    reference: Floats
    bad: Bools


def compared(outputs: Sequence[Feed], reference: Sequence[Feed]) -> tuple[str, ...]:
    """Names of the outputs to compare: those of the reference, in the engine's order.

    Raises:
        DataError: There are none, or the engine lacks one, or the ranks differ.
    """
    if len(outputs) != len(reference):
        raise DataError(
            f"there are outputs for {len(outputs)} feeds and references for {len(reference)}; "
            "give one reference per feed"
        )
    if not outputs or not reference[0]:
        raise DataError("there are no outputs to compare; give at least one sample")
    for values, expected in zip(outputs, reference, strict=True):
        for name, array in expected.items():
            if name not in values:
                raise DataError(
                    f"the reference holds {name!r}, but the outputs are {', '.join(values)}"
                )
            if np.ndim(values[name]) != np.ndim(array):
                raise DataError(
                    f"output {name!r} has shape {np.shape(values[name])}, but its reference has "
                    f"{np.shape(array)}; check the reference that you gave"
                )
    return tuple(name for name in outputs[0] if name in reference[0])


def splits(
    outputs: Sequence[Feed], names: Sequence[str], sizes: Sequence[int] | None
) -> tuple[int, ...]:
    """Rows that each feed is split into: its size if all outputs lead with that, otherwise 1.

    Raises:
        ValueError: There are not as many sizes as feeds.
    """
    if sizes is None:
        return (1,) * len(outputs)
    return tuple(
        size if all(np.shape(feed[n])[:1] == (size,) for n in names) else 1
        for feed, size in zip(outputs, sizes, strict=True)
    )


def _pairs(
    outputs: Sequence[Feed], reference: Sequence[Feed], rows: Sequence[int], name: str
) -> Iterator[tuple[Array, Array, bool]]:
    """Values and reference as ``[rows, elements]``, and whether their shapes agreed."""
    for values, expected, count in zip(outputs, reference, rows, strict=True):
        value, target = np.asarray(values[name]), np.asarray(expected[name])
        same = value.shape == target.shape
        if not same:  # such as the boxes of a detector that found fewer; the caller fails them
            value = target = np.zeros((count, 1), dtype=target.dtype)
        if value.size == 0:
            value = target = np.zeros((count, 1), dtype=target.dtype)
        yield value.reshape(count, -1), target.reshape(count, -1), same


def _joined(
    pairs: Iterator[tuple[Array, Array, bool]],
) -> Iterator[tuple[Array, Array, Bools]]:
    """Neighbouring pairs of equal width as one."""
    held: list[tuple[Array, Array, Bools]] = []
    cells = 0
    for value, target, same in pairs:
        fits = not held or held[0][0].shape[1] == value.shape[1]
        if held and (not fits or cells + value.size > _CELLS):
            yield _concatenate(held)
            held, cells = [], 0
        held.append((value, target, np.full(len(value), not same)))
        cells += value.size
    if held:
        yield _concatenate(held)


def _concatenate(held: list[tuple[Array, Array, Bools]]) -> tuple[Array, Array, Bools]:
    if len(held) == 1:
        return held[0]
    values, targets, wrong = zip(*held, strict=True)
    return np.concatenate(values), np.concatenate(targets), np.concatenate(wrong)


def blocks(
    outputs: Sequence[Feed], reference: Sequence[Feed], rows: Sequence[int], name: str
) -> Iterator[Block]:
    """A float output in blocks of samples.

    Where the reference is not finite and the value is the very same, both count as 0.
    """
    for value, target, wrong in _joined(_pairs(outputs, reference, rows, name)):
        values, expected, bad = value.astype(np.float64), target.astype(np.float64), wrong
        odd = ~(np.isfinite(values) & np.isfinite(expected))
        if odd.any():
            same = (values == expected) | (np.isnan(values) & np.isnan(expected))
            bad = wrong | (odd & ~same).any(axis=1)
            values[odd] = expected[odd] = 0
        yield Block(values, expected, bad)


def unequal(
    outputs: Sequence[Feed], reference: Sequence[Feed], rows: Sequence[int], name: str
) -> tuple[Floats, Floats]:
    """For an output that is not float: the share of unequal elements, and how many there are.

    Returns:
        Shares and element counts (at least 1), ``[samples]`` each. A sample of another shape than
        the reference is wholly unequal.
    """
    shares, counts = [], []
    for value, target, wrong in _joined(_pairs(outputs, reference, rows, name)):
        different = np.not_equal(value, target)
        shares.append(np.where(wrong, 1.0, different.mean(axis=1, dtype=np.float64)))
        counts.append(np.full(len(value), value.shape[1], dtype=np.float64))
    return np.concatenate(shares), np.concatenate(counts)
