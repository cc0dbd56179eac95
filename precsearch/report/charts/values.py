"""Numbers as charts take them: finite or missing, and within what is drawn."""

from __future__ import annotations

import math
from collections.abc import Mapping

__all__ = ["Row", "drawn", "finite", "micro", "percent"]

Row = Mapping[str, object]


def drawn(loss: float | None, span: tuple[float, float]) -> float | None:
    """Where a loss is drawn; one outside of the span at its edge."""
    if loss is None:
        return None
    if math.isnan(loss):
        return span[1]
    return min(max(loss, span[0]), span[1])


def finite(value: float | None) -> float | None:
    """The value; ``None`` where it is not finite."""
    return value if value is not None and math.isfinite(value) else None


def percent(ratio: float | None) -> float | None:
    """A ratio in percent; ``None`` where it is not finite and positive."""
    found = finite(ratio)
    return None if found is None or found <= 0 else found * 100


def micro(seconds: float | None) -> float | None:
    """Seconds in microseconds; ``None`` where they are not finite."""
    found = finite(seconds)
    return None if found is None else found * 1e6
