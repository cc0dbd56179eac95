"""Convex partitions of a directed acyclic graph: contracting the parts leaves it acyclic.

A group that a path leaves and enters again can be neither timed, nor replaced, nor put behind one
branch on its own. Vertices are numbers from 0; a graph is the list of each one's predecessors.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence

__all__ = ["convex_parts", "in_graph_order"]

Parts = list[tuple[int, ...]]


def convex_parts(
    predecessors: Sequence[Iterable[int]], wanted: Iterable[Iterable[int]]
) -> list[tuple[int, ...]]:
    """Partition a graph along ``wanted``, splitting only what would close a cycle.

    Args:
        predecessors: Of every vertex of an acyclic graph.
        wanted: Disjoint sets of vertices to keep together, those that matter most first.

    Returns:
        Parts that cover every vertex once, in no particular order: each is a wanted set, a piece
        of one, or a single vertex.
    """
    sets = [tuple(sorted(set(s))) for s in wanted]
    graph = _Quotient(predecessors)
    whole = graph.with_parts(sets)
    tangled = whole.on_cycles()
    if not tangled:
        return whole.parts
    # Sets on no cycle stay whole; the others join one after the other, each in as few pieces as
    # keep the graph acyclic.
    free = [s for s in sets if whole.part_of[s[0]] not in tangled]
    pieces = list(free)
    for vertices in (s for s in sets if whole.part_of[s[0]] in tangled):
        pieces += _split(graph.with_parts(pieces), vertices)
    return graph.with_parts(pieces).parts


class _Quotient:
    """A graph some of whose vertices are contracted."""

    def __init__(self, predecessors: Sequence[Iterable[int]]) -> None:
        self.base = [tuple(p) for p in predecessors]
        self.parts: Parts = [(v,) for v in range(len(self.base))]
        self.part_of = list(range(len(self.base)))
        self.before: list[set[int]] = [set(p) for p in self.base]

    def with_parts(self, sets: Iterable[tuple[int, ...]]) -> _Quotient:
        """The same graph with ``sets`` contracted and every other vertex alone."""
        made = _Quotient.__new__(_Quotient)
        made.base = self.base
        made.parts = list(sets)
        made.part_of = [-1] * len(self.base)
        for number, part in enumerate(made.parts):
            for vertex in part:
                made.part_of[vertex] = number
        for vertex, number in enumerate(made.part_of):
            if number < 0:
                made.part_of[vertex] = len(made.parts)
                made.parts.append((vertex,))
        made.before = [
            {made.part_of[u] for v in part for u in self.base[v]} - {number}
            for number, part in enumerate(made.parts)
        ]
        return made

    def after(self) -> list[list[int]]:
        """The successors of every part."""
        found: list[list[int]] = [[] for _ in self.parts]
        for part, sources in enumerate(self.before):
            for source in sources:
                found[source].append(part)
        return found

    def order(self) -> list[int]:
        """Parts in topological order, least last vertex first; those behind a cycle are missing."""
        after = self.after()
        waiting = [len(b) for b in self.before]
        last = [max(p) for p in self.parts]
        ready = [(last[p], p) for p, count in enumerate(waiting) if count == 0]
        heapq.heapify(ready)
        found: list[int] = []
        while ready:
            _, part = heapq.heappop(ready)
            found.append(part)
            for follower in after[part]:
                waiting[follower] -= 1
                if waiting[follower] == 0:
                    heapq.heappush(ready, (last[follower], follower))
        return found

    def on_cycles(self) -> frozenset[int]:
        """The parts on a cycle, or between two of them."""
        left = set(range(len(self.parts))) - set(self.order())
        after = self.after()
        trimmed = True
        while trimmed:
            ends = {p for p in left if not left.intersection(after[p])}
            left -= ends
            trimmed = bool(ends)
        return frozenset(left)


def _split(graph: _Quotient, vertices: tuple[int, ...]) -> Parts:
    """Cut a set of lone vertices of an acyclic graph into the pieces that can be contracted.

    A vertex is numbered by how often a path from the set to it left the set and came back. The
    number never falls along a path and rises at every return, so a path that leaves a piece cannot
    come back to it.
    """
    inside = {graph.part_of[v] for v in vertices}
    number: dict[int, int] = {}
    for part in graph.order():
        returns = [
            number[u] + (part in inside and u not in inside)
            for u in graph.before[part]
            if u in number
        ]
        if returns or part in inside:
            number[part] = max(returns, default=0)
    pieces: dict[int, list[int]] = {}
    for vertex in vertices:
        pieces.setdefault(number[graph.part_of[vertex]], []).append(vertex)
    return [tuple(pieces[n]) for n in sorted(pieces)]


def in_graph_order(
    predecessors: Sequence[Iterable[int]], parts: Iterable[tuple[int, ...]]
) -> list[tuple[int, ...]]:
    """Convex parts in topological order, least last vertex first among those that are free.

    Raises:
        ValueError: The parts are not convex.
    """
    graph = _Quotient(predecessors).with_parts(parts)
    order = graph.order()
    if len(order) != len(graph.parts):
        raise ValueError("the parts close a cycle")
    return [graph.parts[p] for p in order]
