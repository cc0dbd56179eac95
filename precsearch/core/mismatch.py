"""What one number cannot say of outputs beside their reference: pure data with its sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

__all__ = ["FINITE", "INFINITE", "NAN", "SIZE", "LostPart", "Mismatch", "sentences", "sizes_alone"]

SIZE = "size"
NAN = "nan"
INFINITE = "infinite"
FINITE = "finite"

_MOST_NAMES = 4
_SAID = {
    NAN: ("holds NaN", "hold NaN", "where the reference does not"),
    INFINITE: ("is infinite", "are infinite", "where the reference is not"),
    FINITE: ("holds numbers", "hold numbers", "where the reference is NaN or infinite"),
}


@dataclass(frozen=True, slots=True)
class Mismatch:
    """Samples of an output that cannot be compared with the reference element by element.

    Attributes:
        output: Its name.
        kind: ``size`` (another shape: boxes, non-zero positions), ``nan`` or ``infinite`` (where
            the reference is not), ``finite`` (numbers where the reference is NaN or infinite).
        samples: How many samples.
        total: Of how many.
        found: Shape in the first such feed.
        wanted: The reference's shape there.
    """

    output: str
    kind: str
    samples: int
    total: int
    found: tuple[int, ...] = ()
    wanted: tuple[int, ...] = ()

    def __str__(self) -> str:
        return _sentence((self,))


def sentences(mismatches: Sequence[Mismatch]) -> tuple[str, ...]:
    """What differs; outputs that differ in the same way share a sentence."""
    ordered = sorted(mismatches, key=_manner)
    return tuple(_sentence(tuple(members)) for _, members in groupby(ordered, _manner))


def _manner(one: Mismatch) -> tuple[str, int, int, str]:
    return one.kind, one.samples, one.total, _sizes(one)


def _sizes(one: Mismatch) -> str:
    """The part of the shapes that differs; nothing where sizes are not the matter."""
    if one.kind != SIZE:
        return ""
    if one.found and one.found[1:] == one.wanted[1:]:
        return f"number of rows: {one.found[0]} for {one.wanted[0]}"
    return f"shape: {one.found} for {one.wanted}"


def _sentence(alike: Sequence[Mismatch]) -> str:
    first, names = alike[0], [repr(m.output) for m in alike]
    where = f"on {first.samples} of {first.total} samples"
    subject = f"output {names[0]}"
    if len(names) > 1:
        more = [f"{len(names) - _MOST_NAMES} more"] if len(names) > _MOST_NAMES else []
        *most, last = [*names[:_MOST_NAMES], *more]
        subject = f"outputs {', '.join(most)} and {last}"
    if first.kind == SIZE:
        what, _, sizes = _sizes(first).partition(": ")
        verb = "has" if len(names) == 1 else "have"
        return (
            f"{subject} {verb} another {what} than the reference {where} ({sizes} on the first of "
            "them)"
        )
    one, many, rest = _SAID.get(first.kind, (first.kind, first.kind, "unlike the reference"))
    return f"{subject} {one if len(names) == 1 else many} {rest}, {where}"


def sizes_alone(mismatches: Sequence[Mismatch]) -> bool:
    """Whether outputs have another size and nothing else is odd: no value need be wrong."""
    return bool(mismatches) and all(m.kind == SIZE for m in mismatches)


@dataclass(frozen=True, slots=True)
class LostPart:
    """Entries of an output along one axis whose variation an engine does not keep.

    Attributes:
        output: Its name.
        axis: The axis, counted from 0.
        entries: Positions on it, ascending.
        loss: Root mean square error over the entry's standard deviation in the reference, the
            largest among them.
        whole: Relative L2 of the whole output, which hides it.
    """

    output: str
    axis: int
    entries: tuple[int, ...]
    loss: float
    whole: float

    def __str__(self) -> str:
        one = len(self.entries) == 1
        return (
            f"{'entry' if one else 'entries'} {_ranges(self.entries)} on axis {self.axis} of "
            f"output {self.output!r} {'is' if one else 'are'} lost: off by up to {self.loss:.0%} "
            f"of the standard deviation there, while the whole output is off by {self.whole:.2g} "
            "in relative L2"
        )


def _ranges(entries: Sequence[int]) -> str:
    """``4, 6 to 8`` of 4, 6, 7, 8; the first few ranges of many."""
    ranges: list[list[int]] = []
    for entry in entries:
        if ranges and ranges[-1][1] == entry - 1:
            ranges[-1][1] = entry
        else:
            ranges.append([entry, entry])
    shown = [str(a) if a == b else f"{a} to {b}" for a, b in ranges[:_MOST_NAMES]]
    rest = sum(b - a + 1 for a, b in ranges[_MOST_NAMES:])
    return ", ".join(shown) + (f" and {rest} more" if rest else "")
