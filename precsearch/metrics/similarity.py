"""How far a tensor is from what it should be: sums over feeds in FP64, the tensors not kept.

Euclidean distance, cosine similarity and relative difference are those of NVIDIA's guide to
layer-by-layer comparison; the signal-to-quantization-noise ratio is 20 log10(‖r‖ / ‖x - r‖).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from precsearch.core.backend import Array
from precsearch.metrics.distance import dot, finite_pairs, ratio

__all__ = ["Similarity", "Sums"]

_HALF_NORMAL = np.float32(2.0**-14)
_BLOCK = 1 << 18


@dataclass(frozen=True, slots=True)
class Similarity:
    """One tensor of two runs.

    Attributes:
        euclidean: ‖x - r‖₂ over all samples.
        cosine: Of x and r, 1 where both are zero; NaN where ``relative`` is infinite by its rule.
        relative: ‖x - r‖₂ / ‖r‖₂ by the rule of `precsearch.metrics.distance`: infinite where x or
            r holds inf or NaN and the other does not hold the same, or where their sizes differ.
        max_abs: Largest |x - r|.
        sqnr_db: Signal-to-noise ratio in dB.
        absmax: Largest finite |x|.
        reference_absmax: Largest finite |r|.
        nonfinite: Share of x that is infinite or NaN where r is not.
        subnormal: Share of r that FP16 holds as a subnormal or as zero though it is not zero.
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
    unequal: int = 0
    small: int = 0
    count: int = 0
    shape: tuple[int, ...] = ()
    feeds: int = field(default=0)
    resized: int = 0

    def add(self, values: Array, reference: Array) -> None:
        """Add one feed's tensor; one of another shape is counted alone."""
        self.shape = tuple(reference.shape)
        self.feeds += 1
        if values.shape != reference.shape:  # how large it is depends on data: boxes, non-zeros
            self.resized += 1
            return
        a, b = values.reshape(-1), reference.reshape(-1)
        for start in range(0, a.size, _BLOCK):
            self._block(a[start : start + _BLOCK], b[start : start + _BLOCK])

    def _block(self, value: npt.NDArray[np.generic], reference: npt.NDArray[np.generic]) -> None:
        size = np.abs(reference.astype(np.float64))
        self.count += size.size
        if (meant := np.isfinite(size)).any():
            self.reference_absmax = max(self.reference_absmax, float(size[meant].max()))
        self.small += int(np.count_nonzero((size > 0) & (size < _HALF_NORMAL)))
        pairs = finite_pairs(value, reference)
        self.lost += pairs.nonfinite
        self.unequal += pairs.unequal
        a, b = pairs.value, pairs.reference
        if a.size:
            off = a - b
            self.square += dot(off, off)
            self.reference += dot(b, b)
            self.own += dot(a, a)
            self.product += dot(a, b)
            self.max_abs = max(self.max_abs, float(np.abs(off).max()))
            self.absmax = max(self.absmax, float(np.abs(a).max()))

    def likeness(self) -> Similarity:
        """What the sums say."""
        lost = self.lost > 0 or self.unequal > 0 or self.resized > 0
        norms = math.sqrt(self.reference) * math.sqrt(self.own)
        cosine = self.product / norms if norms else float(self.reference == self.own)
        off = math.sqrt(self.square)
        relative = math.inf if lost else ratio(off, math.sqrt(self.reference))
        return Similarity(
            euclidean=math.inf if lost else off,
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
            resized=self.resized,
        )
