"""Exact minimum of unary and pairwise costs over a graph, for many weightings at once."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np

from precsearch_strategies.encoding import Floats, Labels

__all__ = ["Elimination"]


@dataclass(frozen=True)
class _Step:
    """Variable, its remaining neighbours (latest first), whether it is fixed instead."""

    variable: int
    scope: tuple[int, ...]
    fixed: bool


class Elimination:
    """Variable elimination (bucket elimination; Dechter, *Artificial Intelligence* 113, 1999).

    Layer graphs are nearly chains: residual networks have treewidth 2 or 3, so the minimum is exact
    at n · p^(width + 1) cost. Where the graph is denser than ``width``, the variable with the most
    neighbours is fixed at a given start (cutset conditioning), and the result is the minimum given
    those.

    Args:
        n: Variables.
        edges: (m, 2) pairs of different variables.
        p: Labels of each variable.
        cells: Largest table per weight; sets ``width``.
    """

    def __init__(self, n: int, edges: Labels, p: int, cells: int = 1024) -> None:
        self._p = p
        self._edges = edges
        width = 1
        while p ** (width + 2) <= cells:
            width += 1
        self._steps = _plan(n, edges, width)
        self._rank = np.zeros(n, dtype=np.intp)
        for rank, step in enumerate(self._steps):
            self._rank[step.variable] = rank

    @property
    def exact(self) -> bool:
        """Whether no variable has to be fixed."""
        return not any(step.fixed for step in self._steps)

    def minimize(self, unary: Floats, pair: Floats, start: Labels) -> Labels:
        """The labels of least cost.

        Args:
            unary: (w, n, p) costs for each of w weightings; finite.
            pair: (m, p, p) costs of the edges, shared by all weightings; finite.
            start: (n,) labels for variables that have to be fixed.

        Returns:
            (w, n) labels.
        """
        buckets = self._load(unary, pair)
        choices: list[Labels | None] = []
        for step in self._steps:
            tables = buckets[step.variable]
            if step.fixed:
                for scope, table in tables:
                    rest = scope[:-1]
                    if rest:
                        buckets[rest[-1]].append((rest, table[..., int(start[step.variable])]))
                choices.append(None)
                continue
            total = self._sum(step, tables)
            choices.append(np.argmin(total, axis=-1))
            if step.scope:
                buckets[step.scope[-1]].append((step.scope, total.min(axis=-1)))
        return self._read(choices, start, unary.shape[0])

    def _load(self, unary: Floats, pair: Floats) -> list[list[tuple[tuple[int, ...], Floats]]]:
        buckets: list[list[tuple[tuple[int, ...], Floats]]] = [
            [((v,), unary[:, v])] for v in range(unary.shape[1])
        ]
        for (a, b), table in zip(self._edges.tolist(), pair, strict=True):
            later, earlier = (a, b) if self._rank[a] > self._rank[b] else (b, a)
            oriented = table if later == a else table.T
            buckets[earlier].append(((later, earlier), oriented[None]))
        return buckets

    def _sum(self, step: _Step, tables: list[tuple[tuple[int, ...], Floats]]) -> Floats:
        """All tables of one variable as one over (weight, scope, variable)."""
        full = (*step.scope, step.variable)
        total: Floats | None = None
        for scope, table in tables:
            shape = [table.shape[0], *(self._p if v in scope else 1 for v in full)]
            part = table.reshape(shape)
            total = part if total is None else total + part
        assert total is not None  # each variable has its own costs
        whole = (total.shape[0], *(self._p for _ in full))
        return total if total.shape == whole else np.broadcast_to(total, whole)

    def _read(self, choices: list[Labels | None], start: Labels, weights: int) -> Labels:
        labels = np.empty((weights, len(self._steps)), dtype=np.intp)
        every = np.arange(weights)
        for step, choice in zip(reversed(self._steps), reversed(choices), strict=True):
            if choice is None:
                labels[:, step.variable] = start[step.variable]
            else:
                lead = every if choice.shape[0] == weights else np.zeros_like(every)
                index = (lead, *(labels[:, v] for v in step.scope))
                labels[:, step.variable] = choice[index]
        return labels


def _plan(n: int, edges: Labels, width: int) -> list[_Step]:
    """Eliminate the variable with the fewest neighbours; fix the one with most if all have many."""
    around: list[set[int]] = [set() for _ in range(n)]
    for a, b in edges.tolist():
        around[a].add(b)
        around[b].add(a)
    left = set(range(n))
    # A variable is queued again whenever its neighbours change; its older entries are skipped.
    queue = [(len(near), v) for v, near in enumerate(around)]
    heapq.heapify(queue)
    order: list[tuple[int, set[int], bool]] = []
    while left:
        count, v = heapq.heappop(queue)
        if v not in left or count != len(around[v]):
            continue
        fixed = len(around[v]) > width
        if fixed:
            heapq.heappush(queue, (count, v))
            v = max(left, key=lambda i: (len(around[i]), -i))
        near = around[v]
        order.append((v, set() if fixed else set(near), fixed))
        for a in near:
            around[a].discard(v)
            if not fixed:
                around[a] |= near - {a}
            heapq.heappush(queue, (len(around[a]), a))
        left.discard(v)
    rank = {v: i for i, (v, _, _) in enumerate(order)}
    return [
        _Step(v, tuple(sorted(scope, key=lambda i: -rank[i])), fixed) for v, scope, fixed in order
    ]
