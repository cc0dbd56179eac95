"""Why a search ended, where that follows from what has been tried."""

from __future__ import annotations

from itertools import product
from math import prod

from precsearch.core.space import Assignment
from precsearch_strategies.history import History

__all__ = ["ending"]

_MOST = 4096  # assignments that are enumerated; no search builds that many engines


def ending(known: History) -> str:
    """``"complete"`` if an engine of every canonical assignment was tried, ``""`` otherwise."""
    space = known.problem.space
    if prod(len(g.choices) for g in space.free) > _MOST:
        return ""
    keys = [g.key for g in space.free]
    for row in product(*(g.choices for g in space.free)):
        asked = Assignment.of(dict(zip(keys, row, strict=True)))
        if space.canonical(asked) not in known.engines:
            return ""
    return "complete"
