"""What one number cannot say of outputs beside their reference: pure data with its sentence."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FINITE", "INFINITE", "NAN", "SIZE", "LostPart", "Mismatch"]

SIZE = "size"
NAN = "nan"
INFINITE = "infinite"
FINITE = "finite"

_SAID = {
    NAN: "holds NaN where the reference does not",
    INFINITE: "is infinite where the reference is not",
    FINITE: "holds numbers where the reference holds NaN or infinity",
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
        where = f"on {self.samples} of {self.total} samples"
        if self.kind != SIZE:
            return f"output {self.output!r} {_SAID.get(self.kind, self.kind)}, {where}"
        what, found, wanted = "shape", str(self.found), str(self.wanted)
        if self.found and self.found[1:] == self.wanted[1:]:
            what, found, wanted = "number of rows", str(self.found[0]), str(self.wanted[0])
        return (
            f"output {self.output!r} has another {what} than the reference {where} "
            f"({found} for {wanted} on the first of them)"
        )


@dataclass(frozen=True, slots=True)
class LostPart:
    """Neighbouring entries of an output along one axis whose variation an engine does not keep.

    Attributes:
        output: Its name.
        axis: The axis, counted from 0.
        first, last: The entries, both included.
        loss: Root mean square error over the entries' standard deviation in the reference, the
            largest among them.
        whole: Relative L2 of the whole output, which hides it.
    """

    output: str
    axis: int
    first: int
    last: int
    loss: float
    whole: float

    def __str__(self) -> str:
        if self.first == self.last:
            entries = f"entry {self.first}"
        else:
            entries = f"entries {self.first} to {self.last}"
        return (
            f"{entries} on axis {self.axis} of output {self.output!r} lost: off by up to "
            f"{self.loss:.0%} of their standard deviation, while the whole output is off by "
            f"{self.whole:.2g}"
        )
