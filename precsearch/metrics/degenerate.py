"""References in which there is nothing to compare: a loss of 0 over them says nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from precsearch.core.backend import Array, Feed
from precsearch.metrics.mismatches import is_float

__all__ = ["Degenerate", "degenerate"]

_NOTHING = "a loss of 0 says nothing there"


@dataclass(frozen=True)
class Degenerate:
    """What is wrong with a reference.

    Attributes:
        notes: What the user should know, a sentence each.
        nothing: Why no output can be compared at all; "" where one can.
    """

    notes: tuple[str, ...] = ()
    nothing: str = ""


def degenerate(feeds: Sequence[Feed], reference: Sequence[Feed]) -> Degenerate:
    """Look for outputs without elements, with NaN or constant, and for samples all alike.

    Args:
        feeds: Input name → array, a mapping a feed.
        reference: Output name → array, a mapping a feed.
    """
    empty: list[str] = []
    notes: list[str] = []
    names = list(reference[0]) if reference else []
    for name in names:
        arrays = [np.asarray(f[name]) for f in reference if name in f]
        why = _incomparable(arrays)
        if why:
            empty.append(f"output {name!r} {why}")
        elif (value := _constant(arrays)) is not None:
            notes.append(f"output {name!r} is {value} in all samples: {_NOTHING}")
        elif (undefined := _undefined(name, feeds, arrays)) is not None:
            notes.append(undefined)
    if names and len(empty) == len(names):
        return Degenerate((), "; ".join(empty))
    notes = [*(f"{place}: nothing is compared there" for place in empty), *notes]
    if len(feeds) > 1 and _alike(feeds):
        notes.append(f"all {len(feeds)} feeds are equal: losses are those of one feed")
    elif len(reference) > 1 and names and _alike(reference):
        notes.append(f"the outputs are the same for all {len(reference)} feeds, which differ")
    return Degenerate(tuple(notes))


def _incomparable(arrays: Sequence[Array]) -> str:
    if not any(a.size for a in arrays):
        return "has no elements in any sample"
    if all(is_float(a) and np.isnan(_wide(a)).all() for a in arrays):
        return "is NaN throughout"
    return ""


def _undefined(name: str, feeds: Sequence[Feed], arrays: Sequence[Array]) -> str | None:
    """What the user should know of an output that is NaN in FP32 in some of the samples."""
    hit = [i for i, a in enumerate(arrays) if is_float(a) and np.isnan(_wide(a)).any()]
    if not hit or len(arrays) != len(feeds):
        return None
    inputs = sorted({n for i in hit for n, a in feeds[i].items() if _infinite(a)})
    why = f", where input {inputs[0]!r} holds infinity" if inputs else ""
    return (
        f"output {name!r} holds NaN in FP32 in {len(hit)} of {len(arrays)} feeds{why}: an engine "
        "that gives numbers there does not pass"
    )


def _infinite(array: Array) -> bool:
    array = np.asarray(array)
    return is_float(array) and bool(np.isinf(_wide(array)).any())


def _constant(arrays: Sequence[Array]) -> object | None:
    """The one value that all elements have, ``None`` if there are two, or just one element."""
    if sum(a.size for a in arrays) < 2:
        return None
    first = next(a.reshape(-1)[0] for a in arrays if a.size)
    if any(not np.all(a == first) for a in arrays):
        return None
    value: object = first.item()
    return value


def _alike(feeds: Iterable[Feed]) -> bool:
    first, *rest = feeds
    return all(_same(a, other[name]) for other in rest for name, a in first.items())


def _same(a: Array, b: Array) -> bool:
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape:
        return False
    return a.size == 0 or bool(np.all((a == b) | ((a != a) & (b != b))))


def _wide(array: Array) -> Array:
    return array.astype(np.float64) if array.dtype.kind == "V" else array
