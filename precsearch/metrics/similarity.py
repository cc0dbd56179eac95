"""How far a tensor is from what it should be: sums over feeds in FP64, the tensors not kept.

Euclidean distance, cosine similarity and relative difference are those of NVIDIA's guide to
layer-by-layer comparison; the signal-to-quantisation-noise ratio is 20 log10(‖r‖ / ‖x - r‖).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from precsearch.core.backend import Array

__all__ = ["HALF_MAX", "Likeness", "Sums", "difference"]

HALF_MAX = 65504.0
"""The largest finite FP16."""

_HALF_NORMAL = np.float32(2.0**-14)
_BLOCK = 1 << 18


@dataclass(frozen=True, slots=True)
class Likeness:
    """One tensor of two runs.

    Attributes:
        euclidean: ‖x - r‖₂ over all samples.
        cosine: Of x and r, 1 where both are zero; NaN where x has values that r has not.
        relative: ‖x - r‖₂ / ‖r‖₂; infinite where x has values that r has not (inf, NaN), or has
            another size.
        max_abs: Largest |x - r|.
        sqnr_db: Signal-to-noise ratio in dB.
        absmax: Largest finite |x|.
        reference_absmax: Largest finite |r|.
        nonfinite: Share of x that is infinite or NaN where r is not.
        subnormal: Share of r that FP16 holds as a subnormal or as zero though it is not zero.
        elements: Of one sample, or of one feed.
        resized: Feeds in which x has another shape than r; these are in no other number.
    """

    euclidean: float
    cosine: float
    relative: float
    max_abs: float
    sqnr_db: float
    absmax: float
    reference_absmax: float
    nonfinite: float
    subnormal: float
    elements: int
    resized: int = 0


@dataclass(slots=True)
class Sums:
    """What is added up of a tensor, feed by feed."""

    square: float = 0.0
    reference: float = 0.0
    own: float = 0.0
    product: float = 0.0
    max_abs: float = 0.0
    absmax: float = 0.0
    reference_absmax: float = 0.0
    lost: int = 0
    small: int = 0
    count: int = 0
    shape: tuple[int, ...] = ()
    feeds: int = field(default=0)
    resized: int = 0

    def add(self, found: Array, wanted: Array) -> None:
        """Add one feed's tensor; one of another shape is counted alone."""
        self.shape = tuple(wanted.shape)
        self.feeds += 1
        if found.shape != wanted.shape:  # how large it is depends on data: boxes, non-zeros
            self.resized += 1
            return
        a, b = found.reshape(-1), wanted.reshape(-1)
        for start in range(0, a.size, _BLOCK):
            self._block(a[start : start + _BLOCK], b[start : start + _BLOCK])

    def _block(self, found: npt.NDArray[np.generic], wanted: npt.NDArray[np.generic]) -> None:
        a, b = found.astype(np.float64), wanted.astype(np.float64)
        self.count += a.size
        size = np.abs(b)
        if (meant := np.isfinite(b)).any():
            self.reference_absmax = max(self.reference_absmax, float(size[meant].max()))
        self.small += int(np.count_nonzero((size > 0) & (size < _HALF_NORMAL)))
        good = np.isfinite(a)
        self.lost += int(np.count_nonzero(~good & meant))
        both = good & meant
        if not both.all():
            a, b = a[both], b[both]
        if a.size:
            off = a - b
            self.square += _dot(off, off)
            self.reference += _dot(b, b)
            self.own += _dot(a, a)
            self.product += _dot(a, b)
            self.max_abs = max(self.max_abs, float(np.abs(off).max()))
            self.absmax = max(self.absmax, float(np.abs(a).max()))

    def likeness(self) -> Likeness:
        """What the sums say."""
        lost = self.lost > 0 or self.resized > 0
        norms = math.sqrt(self.reference) * math.sqrt(self.own)
        cosine = self.product / norms if norms else float(self.reference == self.own)
        ratio = math.sqrt(self.square / self.reference) if self.reference else math.inf
        relative = math.inf if lost else 0.0 if not self.square else ratio
        return Likeness(
            euclidean=math.inf if lost else math.sqrt(self.square),
            cosine=math.nan if lost else min(1.0, cosine),
            relative=relative,
            max_abs=math.inf if lost else self.max_abs,
            sqnr_db=-20 * math.log10(relative)
            if 0 < relative < math.inf
            else -math.copysign(math.inf, relative - 0.5),
            absmax=self.absmax,
            reference_absmax=self.reference_absmax,
            nonfinite=self.lost / self.count if self.count else 0.0,
            subnormal=self.small / self.count if self.count else 0.0,
            elements=self.count // max(self.feeds - self.resized, 1),
            resized=self.resized,
        )


def difference(found: Array, wanted: Array) -> float:
    """Relative L2 over the finite values; infinite if others are not the same, or the shape."""
    a, b = np.asarray(found, np.float64), np.asarray(wanted, np.float64)
    good = np.isfinite(b)
    if a.shape != b.shape or not np.array_equal(a[~good], b[~good], equal_nan=True):
        return math.inf
    if not np.isfinite(a[good]).all():
        return math.inf
    norm = max(float(np.sqrt(np.sum(b[good] ** 2))), 1e-30)
    return float(np.sqrt(np.sum((a[good] - b[good]) ** 2))) / norm


def _dot(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> float:
    """Without BLAS, whose threads wait for each other where vectors are short."""
    return float(np.einsum("i,i->", a, b))
