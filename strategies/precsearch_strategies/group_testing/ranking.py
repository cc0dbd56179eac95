"""In which order choices are looked at when an engine fails, and which groups play one role."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np

from precsearch.core.space import LayerGroup
from precsearch.core.trial import Failed, Trial
from precsearch_strategies.encoding import Encoding, Labels
from precsearch_strategies.history import History
from precsearch_strategies.models.profile_gains import profile_gains

__all__ = ["by_build_risk", "by_value", "roles", "suspects"]

_SHORT = 4  # characters that a name in a message has at least

Role = tuple[str, int, bool, tuple[str, ...], tuple[str, ...]]


def by_value(
    known: History, encoding: Encoding, failed: Trial, base: Labels
) -> tuple[list[int], int]:
    """Positions in which ``failed`` differs, the most valuable first; what it names last, counted.

    A message that names most of them tells nothing.
    """
    x = encoding.encode(failed.assignment)
    gains = profile_gains(known, encoding)
    differ = np.flatnonzero(x != base)
    worth = gains[differ, x[differ]] - gains[differ, base[differ]]
    order = differ[np.argsort(-worth, kind="stable")].tolist()
    message = failed.outcome.message if isinstance(failed.outcome, Failed) else ""
    named = {i for i in order if _named(message, encoding.space.free[i])}
    if len(named) > len(order) / 2:
        return order, 0
    return sorted(order, key=lambda i: i in named), len(named)


def by_build_risk(encoding: Encoding, order: list[int], named: int) -> list[int]:
    """The same positions, the likeliest culprits first.

    First what the failure names, then groups of a rare kind with their neighbours: a backend has
    met the common kinds more often.

    Args:
        encoding: Of the positions.
        order: Those of `by_value`.
        named: How many of the last ones the failure names.
    """
    kinds = Counter(encoding.space.free[i].kind for i in order)
    count = {i: float(kinds[encoding.space.free[i].kind]) for i in order}
    named_groups = set(order[len(order) - named :])

    def key(i: int) -> tuple[bool, float, int]:
        near = min((count[j] for j in encoding.adjacent[i] if j in count), default=count[i])
        return i not in named_groups, min(count[i], near + 0.5), i

    return sorted(order, key=key)


def roles(encoding: Encoding, positions: list[int]) -> dict[int, Role]:
    """What each group is among its neighbours; equal where a backend treats groups alike."""
    free = encoding.space.free
    return {
        i: (
            free[i].kind,
            len(free[i].nodes),
            free[i].passive,
            tuple(sorted(free[j].kind for j in encoding.adjacent[i] if j < i)),
            tuple(sorted(free[j].kind for j in encoding.adjacent[i] if j > i)),
        )
        for i in positions
    }


def suspects(known: History, encoding: Encoding, trial: Trial) -> set[tuple[tuple[int, int], ...]]:
    """Choices, and pairs of neighbours, that no usable engine has."""
    ran = np.array(
        [encoding.encode(a) for a, t in known.engines.items() if t.measurement is not None]
    ).reshape(-1, encoding.size[0])
    x = encoding.encode(trial.assignment)
    same = ran == x
    alone = {((i, int(x[i])),) for i in np.flatnonzero((x > 0) & ~same.any(axis=0)).tolist()}
    pairs = {
        ((a, int(x[a])), (b, int(x[b])))
        for a, b in encoding.edges.tolist()
        if (x[a] or x[b]) and not (same[:, a] & same[:, b]).any()
    }
    return alone | pairs


def _named(message: str, group: LayerGroup) -> bool:
    """Whether an error message has the name of a group or of one of its nodes."""
    names = (n for n in {group.key, *group.nodes} if len(n) >= _SHORT)
    return any(re.search(rf"(?<!\w){re.escape(n)}(?!\w)", message) for n in names)
