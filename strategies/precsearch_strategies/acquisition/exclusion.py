"""Keeps what is proposed free of the choices that are known to make engines unusable."""

from __future__ import annotations

import numpy as np

from precsearch.core.exclusions import Exclusion
from precsearch.core.space import Assignment
from precsearch_strategies.encoding import Encoding, Floats, Labels
from precsearch_strategies.history import History

__all__ = ["blamed", "forbidden_edges", "repaired", "repaired_assignment"]


_DOUBTFUL = 0.9  # chance that a choice an engine failed by makes another one fail


def repaired(known: History, encoding: Encoding, many: Labels, worth: Floats) -> Labels:
    """(c, n) labels without an excluded set of choices.

    Of each such set that a row has, the choice of least worth goes up to the next precision that
    the group offers, until no set is left.

    Args:
        known: Its exclusions.
        encoding: Of the labels.
        many: (c, n) labels.
        worth: (n, p) what each choice is worth.
    """
    rows = _rows(encoding, known.excluded)
    if not rows or not len(many):
        return many
    many = many.copy()
    while True:
        changed = False
        for groups, labels in rows:
            hit = (many[:, groups] == labels).all(axis=1)
            if not hit.any():
                continue
            least = int(np.argmin(worth[groups, labels]))
            many[hit, groups[least]] = _above(encoding, int(groups[least]), int(labels[least]))
            changed = True
        if not changed:
            return many


def repaired_assignment(known: History, encoding: Encoding, assignment: Assignment) -> Assignment:
    """The same of one assignment, every choice being worth the same."""
    if not known.excludes(known.problem.space.canonical(assignment)):
        return assignment
    labels = encoding.encode(assignment)[None]
    return encoding.decode(repaired(known, encoding, labels, np.zeros(encoding.size))[0])


def blamed(known: History, encoding: Encoding) -> Floats:
    """(n, p) 1 for choices that no engine may have, less for those that one failed by, else 0."""
    blame = np.zeros(encoding.size)
    for groups, labels in _rows(encoding, known.doubtful):
        blame[groups, labels] = _DOUBTFUL
    for groups, labels in _rows(encoding, known.excluded):
        if len(groups) == 1:
            blame[groups, labels] = 1.0
    return blame


def forbidden_edges(known: History, encoding: Encoding) -> list[tuple[int, int, int]]:
    """(edge, label of its first end, label of its second) of the excluded pairs of neighbours."""
    where = {(a, b): e for e, (a, b) in enumerate(encoding.edges.tolist())}
    edges = []
    for groups, labels in _rows(encoding, known.excluded):
        if len(groups) == 2:
            (a, x), (b, y) = sorted(zip(groups.tolist(), labels.tolist(), strict=True))
            if (a, b) in where:
                edges.append((where[a, b], x, y))
    return edges


def _rows(encoding: Encoding, excluded: tuple[Exclusion, ...]) -> list[tuple[Labels, Labels]]:
    """(positions, labels) of each exclusion."""
    precisions = encoding.space.precisions
    return [
        (
            np.array([encoding.position[k] for k, _ in e.choices.entries], dtype=np.intp),
            np.array([precisions.index(p) for _, p in e.choices.entries], dtype=np.intp),
        )
        for e in excluded
    ]


def _above(encoding: Encoding, group: int, label: int) -> int:
    """The next label that the group offers, towards FP32."""
    return int(np.flatnonzero(encoding.allowed[group, :label])[-1])
