"""Which engine's search goes on with what is left of a budget.

Every engine begins with a share. Then the budget follows promise, as racing algorithms do (Maron
and Moore, *Artificial Intelligence Review* 11, 1997): an engine is out once the fastest of all that
it built, within the bound or not, is slower than the best within the bound of another.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["OPENING", "Standing", "next_share", "opening_share"]

OPENING = 8
"""Engines that each begins with where nothing limits the search: gate, uniform engines, a few mixed
ones."""

_LEAST = 4
"""Engines before which a search is never out, and that it goes on with at least: FP32, the uniform
engines and one mixed engine show what there is to gain."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How far the search on one engine is.

    Attributes:
        backend: Its name.
        built: Engines built and timed.
        best: Seconds of the fastest within the bound, ``inf`` if there is none.
        least: Seconds of the fastest of all.
        ended: Whether nothing is left to search for.
    """

    backend: str
    built: int
    best: float = math.inf
    least: float = math.inf
    ended: bool = False


def opening_share(budget: int | None, entrants: int) -> int:
    """Engines that each search begins with.

    Args:
        budget: Engines in all, ``None`` without a limit.
        entrants: How many searches there are.
    """
    if budget is None:
        return OPENING
    fair = budget // entrants
    return max(1, min(OPENING, max(fair // 2, min(_LEAST, fair))))


def next_share(standings: Sequence[Standing], left: int) -> tuple[str, int] | None:
    """The backend whose search goes on, and with how many more engines; ``None`` to stop.

    Args:
        standings: Of all entrants.
        left: Engines that the budget still has.
    """
    leader = min((s.best for s in standings), default=math.inf)
    racing = [s for s in standings if not s.ended and (s.built < _LEAST or s.least <= leader)]
    if not racing or left < 1:
        return None
    chosen = min(racing, key=lambda s: (s.least, s.backend))
    share = left if len(racing) == 1 else max(_LEAST, math.ceil(left / 2))
    return chosen.backend, min(share, left)
