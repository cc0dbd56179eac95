"""Groups in FP32 that an engine computes in less all the same, in a sentence."""

from __future__ import annotations

from collections.abc import Mapping

from precsearch.core.precision import Precision
from precsearch.core.space import Assignment
from precsearch.formatting import many
from precsearch.system.printable import first_of

__all__ = ["demoted"]

_SHOWN = 3


def demoted(chosen: Assignment, achieved: Mapping[str, Precision]) -> tuple[str, ...]:
    """What there is to say of groups that were asked for FP32 and ran in less; or nothing.

    A builder may take the Casts around a product into the product's kernel. Then FP32 is no remedy
    for what overflows there, though the engine was measured as it is.

    Args:
        chosen: What groups were asked for, without those in FP32.
        achieved: What groups ran in, where it is known.
    """
    rows = {
        key: ran
        for key, ran in sorted(achieved.items())
        if key not in chosen and ran is not Precision.FP32
    }
    if not rows:
        return ()
    shown = first_of([f"{key!r} in {ran}" for key, ran in rows.items()], _SHOWN)
    return (
        f"the engine runs {many(len(rows), 'group')} in less than the fp32 that was asked for: "
        f"{shown}; fp32 protects nothing there",
    )
