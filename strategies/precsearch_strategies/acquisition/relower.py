"""Lowers again what a search in a large space gave back to FP32 in excess."""

from __future__ import annotations

import numpy as np

from precsearch_strategies.encoding import Encoding
from precsearch_strategies.history import History, Subroutine
from precsearch_strategies.models.profile_gains import profile_gains
from precsearch_strategies.solvers.milp import CORE

__all__ = ["relowered"]

_MOST = 24  # groups left in FP32 that are asked about


def relowered(known: History, encoding: Encoding, limit: int) -> Subroutine[None]:
    """One engine with all groups lowered that the fastest passing one leaves in FP32 for nothing.

    Each of them is lowered beside all that this engine has lowered, by proxy: alone, or in the sums
    of the error model, a group may look worse than it is there. In a small space the models reach
    every neighbour of an engine by themselves.

    Args:
        known: The trials.
        encoding: Of their assignments.
        limit: Engines of the whole search at most.
    """
    passing = known.passing()
    if not passing or known.builds >= limit or encoding.size[0] <= CORE:
        return
    base = encoding.encode(passing[0].assignment)
    gains = np.where(encoding.allowed, profile_gains(known, encoding), -np.inf)
    gains[:, 0] = -np.inf
    left = [int(i) for i in np.flatnonzero(base == 0) if gains[i].max() > 0]
    if not 0 < len(left) <= _MOST:
        return
    moved = np.repeat(base[None], len(left), axis=0)
    moved[np.arange(len(left)), left] = gains[left].argmax(axis=1)
    asked = [encoding.decode(row) for row in moved]
    trials = yield from known.probe(asked, "lowered again beside the fastest engine's groups")
    fits = [t is not None and known.passes(t) for t in trials]
    together = base.copy()
    for group, row, fit in zip(left, moved, fits, strict=True):
        together[group] = row[group] if fit else 0
    assignment = encoding.decode(together)
    if any(fits) and assignment not in known.engines and not known.excludes(assignment):
        reason = f"lowered again: {sum(map(bool, fits))} groups pass by proxy, each beside the rest"
        yield from known.build([assignment], reason)
