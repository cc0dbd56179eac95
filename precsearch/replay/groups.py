"""Finding a plan's groups again."""

from __future__ import annotations

from collections.abc import Callable, Collection
from itertools import combinations

from precsearch.core.precision import Precision
from precsearch.setup.target import Target

__all__ = ["with_groups"]


def with_groups(
    offered: Callable[[tuple[Precision, ...]], Target],
    used: Collection[Precision],
    digest: str,
) -> Target:
    """The target whose groups are a plan's; the first that was tried if there is none.

    Which nodes are decided together depends on the precisions that a search offered, and its plan
    may use fewer: a LayerNorm is split for the sake of FP16, an Add has a decision of its own for
    the sake of INT8.

    Args:
        offered: Groups the model for these precisions.
        used: Those that the plan uses.
        digest: Digest of the plan's search space.
    """
    first = offered(tuple(used))
    if first.space.digest == digest:
        return first
    usual = offered((*used, *(first.facts.offered - frozenset(used))))
    if usual.space.digest == digest:
        return usual
    rest = sorted(first.backend.precisions - frozenset(used), key=lambda p: p.rank)
    for size in range(len(rest), 0, -1):
        for more in combinations(rest, size):
            target = offered((*used, *more))
            if target.space.digest == digest:
                return target
    return first
