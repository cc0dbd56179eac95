"""Layers that precsearch does not look into, as a sentence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from precsearch.grouping.undecided import Hidden

__all__ = ["unsearched"]

_NAMED = 2


def unsearched(hidden: Sequence[Hidden]) -> tuple[str, ...]:
    """What the user should know of layers that are inside of other nodes: a sentence, or none."""
    if not hidden:
        return ()
    kinds: Counter[str] = Counter()
    for layer in hidden:
        kinds.update(dict(layer.layers))
    total = sum(kinds.values())
    what = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    where = " and ".join(f"{h.op_type} {h.node!r}" for h in hidden[:_NAMED])
    more = len(hidden) - _NAMED
    if more > 0:
        where = f"{where} and {more} more such node{'s' * (more != 1)}"
    verbs = ("layer", "is", "it stays as it is") if total == 1 else _MANY
    return (
        f"{total} {verbs[0]} ({what}) {verbs[1]} inside of {where}, where precsearch does not "
        f"search: {verbs[2]}",
    )


_MANY = ("layers", "are", "they stay as they are")
