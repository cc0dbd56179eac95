"""Assignments as integer arrays, so that models and solvers can work on many at once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
import numpy.typing as npt

from precsearch.core.space import Assignment, SearchSpace

__all__ = ["Bools", "Encoding", "Floats", "Labels"]

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.intp]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Encoding:
    """Position in ``space.free`` → label, an index into ``space.precisions`` (0 is FP32).

    Shapes below: n free groups, p precisions, m edges between free groups, c assignments.
    """

    space: SearchSpace

    @cached_property
    def position(self) -> dict[str, int]:
        """Position of each free group by key."""
        return {g.key: i for i, g in enumerate(self.space.free)}

    @property
    def size(self) -> tuple[int, int]:
        """(n, p)."""
        return len(self.space.free), len(self.space.precisions)

    @cached_property
    def allowed(self) -> Bools:
        """(n, p): whether the group offers the precision."""
        return np.array(
            [[p in g.choices for p in self.space.precisions] for g in self.space.free], dtype=bool
        ).reshape(self.size)

    @cached_property
    def lowest(self) -> Labels:
        """(n,): the label of each group's lowest choice."""
        p = self.size[1]
        return np.asarray(p - 1 - np.argmax(self.allowed[:, ::-1], axis=1), dtype=np.intp)

    @cached_property
    def passive(self) -> Bools:
        """(n,): whether the group is passive."""
        return np.array([g.passive for g in self.space.free], dtype=bool)

    @cached_property
    def edges(self) -> Labels:
        """(m, 2): pairs of positions, each pair once, the lower position first."""
        groups, where = self.space.groups, self.position
        pairs = {
            (min(i, j), max(i, j))
            for a, b in self.space.edges
            if (i := where.get(groups[a].key)) is not None
            and (j := where.get(groups[b].key)) is not None
            and i != j
        }
        return np.array(sorted(pairs), dtype=np.intp).reshape(-1, 2)

    @cached_property
    def fused(self) -> Bools:
        """(m,): whether an engine has one kernel for both ends of an edge at one precision."""
        keys = [g.key for g in self.space.free]
        pairs = [(keys[a], keys[b]) for a, b in self.edges.tolist()]
        shared = [any(a in core and b in core for core in self.space.fused) for a, b in pairs]
        return np.array(shared, dtype=bool)

    @cached_property
    def fixed_neighbours(self) -> Labels:
        """(n,): how many neighbours of each group are always FP32."""
        where = self.position
        return np.array(
            [sum(k not in where for k in self.space.neighbours[g.key]) for g in self.space.free],
            dtype=np.intp,
        )

    @cached_property
    def adjacent(self) -> tuple[tuple[int, ...], ...]:
        """Positions of the free neighbours of each free group, ascending."""
        adjacent: list[list[int]] = [[] for _ in self.space.free]
        for a, b in self.edges.tolist():
            adjacent[a].append(b)
            adjacent[b].append(a)
        return tuple(tuple(sorted(f)) for f in adjacent)

    def every(self, most: int) -> Labels | None:
        """(c, n) labels of all canonical assignments, ``None`` if there may be too many."""
        sizes = self.allowed.sum(axis=1)
        if float(np.prod(sizes.astype(float))) > most:
            return None
        return self._every

    @cached_property
    def _every(self) -> Labels:
        choices = [np.flatnonzero(row).tolist() for row in self.allowed]
        rows = np.array(list(product(*choices)), dtype=np.intp).reshape(-1, self.size[0])
        return np.unique(self.canonical(rows), axis=0)

    def encode(self, assignment: Assignment) -> Labels:
        """(n,) labels of an assignment; not to be written to."""
        labels = self._encoded.get(assignment)
        if labels is None:
            labels = np.zeros(len(self.space.free), dtype=np.intp)
            for key, precision in assignment.entries:
                labels[self.position[key]] = self.space.precisions.index(precision)
            labels.setflags(write=False)
            self._encoded[assignment] = labels
        return labels

    @cached_property
    def _encoded(self) -> dict[Assignment, Labels]:
        """What was encoded: a search asks for the labels of its trials again and again."""
        return {}

    def decode(self, labels: Labels) -> Assignment:
        """The canonical assignment of (n,) labels."""
        lowered = np.flatnonzero(labels).tolist()
        free, precisions = self.space.free, self.space.precisions
        return self.space.canonical(
            Assignment.of({free[i].key: precisions[labels[i]] for i in lowered})
        )

    def canonical(self, many: Labels) -> Labels:
        """(c, n) labels with the passive groups that have no effect set to FP32.

        The same rule as `SearchSpace.canonical`, on many assignments at once.
        """
        quantized = [p for p in self.space.precisions if p.is_quantized]
        for precision in quantized if self.passive.any() else ():
            many = self._canonical_at(many, self.space.precisions.index(precision))
        return many

    def _canonical_at(self, many: Labels, label: int) -> Labels:
        here = many == label
        reached = here & ~self.passive
        links = [(a, b) for a, b in self.edges.tolist() if self.passive[a] or self.passive[b]]
        while True:
            before = int(reached.sum())
            for a, b in links:
                reached[:, a] |= here[:, a] & reached[:, b]
                reached[:, b] |= here[:, b] & reached[:, a]
            if int(reached.sum()) == before:
                break
        return np.where(here & ~reached, 0, many)
