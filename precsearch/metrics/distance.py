"""How far a tensor is from its reference: relative L2, one rule for the whole package.

The rule: ``‖value - reference‖₂ / ‖reference‖₂`` in FP64. It is infinite if the shapes differ, if
an element is not finite where the reference is finite, and if two elements that are not finite
differ. Equal elements that are not finite are left out. 0 against 0 is 0; anything else against 0
is infinite. (The metric `rel-l2` has the same rule with a floor below the reference's norm, see
`precsearch.metrics.elementwise`.)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from precsearch.core.backend import Array, Feed

__all__ = ["FinitePairs", "dot", "finite_pairs", "ratio", "relative_l2", "worst_relative_l2"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class FinitePairs:
    """Two tensors of one shape, without the elements that are not finite.

    Attributes:
        value: FP64 ``[n]``.
        reference: FP64 ``[n]``.
        nonfinite: Elements of the value that are not finite where the reference is.
        unequal: Elements whose reference is not finite and whose value is not the same.
    """

    value: Floats
    reference: Floats
    nonfinite: int
    unequal: int


def finite_pairs(value: Array, reference: Array) -> FinitePairs:
    """Separate what can be subtracted from what cannot.

    Args:
        value: Any shape.
        reference: Of the same shape.
    """
    a = np.asarray(value).reshape(-1).astype(np.float64)
    b = np.asarray(reference).reshape(-1).astype(np.float64)
    meant = np.isfinite(b)
    both = np.isfinite(a) & meant
    if both.all():
        return FinitePairs(a, b, 0, 0)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    nonfinite, unequal = np.count_nonzero(~both & meant), np.count_nonzero(~meant & ~same)
    return FinitePairs(a[both], b[both], int(nonfinite), int(unequal))


def ratio(difference: float, reference: float) -> float:
    """A norm over another: 0 if the first is 0, infinite if only the second is."""
    if difference == 0:
        return 0.0
    return difference / reference if reference else math.inf


def dot(a: Floats, b: Floats) -> float:
    """Without BLAS, whose threads wait for each other where vectors are short."""
    return float(np.einsum("i,i->", a, b))


def relative_l2(value: Array, reference: Array) -> float:
    """Relative L2 of a tensor by the rule of this module.

    Args:
        value: Any shape and any type that FP64 holds.
        reference: What it should be.

    Returns:
        At least 0; infinite where the two cannot be compared.
    """
    if np.shape(value) != np.shape(reference):
        return math.inf
    pairs = finite_pairs(value, reference)
    if pairs.nonfinite or pairs.unequal:
        return math.inf
    largest = float(np.abs(pairs.reference).max(initial=0.0))
    scale = max(largest, float(np.abs(pairs.value).max(initial=0.0)))
    if not scale:
        return 0.0
    # In units near the largest element, so that no square overflows: a power of two rounds nothing.
    unit = math.ldexp(1.0, min(math.frexp(scale)[1], 1023))
    off = pairs.value / unit - pairs.reference / unit
    own = pairs.reference / unit
    return ratio(math.sqrt(dot(off, off)), math.sqrt(dot(own, own)))


def worst_relative_l2(outputs: Sequence[Feed], reference: Sequence[Feed]) -> float:
    """Relative L2 of the worst float output, each over all feeds together.

    Outputs whose shape differs from the reference's in any feed are left out: how many boxes a
    detector finds depends on its data.

    Args:
        outputs: Output name → array, a mapping per feed, at least one.
        reference: Of as many feeds.

    Returns:
        0 if there is no float output; infinite if there is one and none can be compared.
    """
    losses: list[float | None] = []
    for name, first in reference[0].items():
        if not isinstance(first, np.ndarray) or first.dtype.kind != "f":
            continue
        values = [np.asarray(feed[name]) for feed in outputs]
        targets = [np.asarray(feed[name]) for feed in reference]
        if any(a.shape != b.shape for a, b in zip(values, targets, strict=True)):
            losses.append(None)
            continue
        joined = np.concatenate([b.ravel() for b in targets])
        losses.append(relative_l2(np.concatenate([a.ravel() for a in values]), joined))
    compared = [loss for loss in losses if loss is not None]
    return max(compared, default=math.inf if losses else 0.0)
