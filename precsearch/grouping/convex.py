"""Convex partitions of a directed acyclic graph: contracting the parts leaves it acyclic.

A group that a path leaves and enters again can be neither timed, nor replaced, nor put behind one
branch on its own. Vertices are numbers from 0; a graph is the list of each one's predecessors.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence

__all__ = ["convex_parts", "in_graph_order"]

Parts = list[tuple[int, ...]]


def convex_parts(predecessors: Sequence[Iterable[int]], subsets: Iterable[Iterable[int]]) -> Parts:
    """Partition a graph along ``subsets``, splitting only what would close a cycle.

    Args:
        predecessors: Of every vertex of an acyclic graph.
        subsets: Disjoint sets of vertices to keep together, those that matter most first.

    Returns:
        Parts that cover every vertex once, in no particular order: each is a wanted set, a piece
        of one, or a single vertex.
    """
    whole = _Quotient(predecessors, [tuple(sorted(set(s))) for s in subsets])
    parts: Parts = []
    for component in whole.components():
        tangled = [whole.parts[p] for p in component]
        parts += tangled if len(tangled) == 1 else _untangle(predecessors, tangled)
    return parts


def in_graph_order(
    predecessors: Sequence[Iterable[int]], parts: Iterable[tuple[int, ...]]
) -> Parts:
    """Convex parts in topological order, least last vertex first among those that are free.

    Raises:
        ValueError: The parts are not convex.
    """
    graph = _Quotient(predecessors, parts)
    order = graph.order()
    if len(order) != len(graph.parts):
        raise ValueError("the parts close a cycle")
    return [graph.parts[p] for p in order]


class _Quotient:
    """A graph with some sets of vertices contracted, every other vertex being a part of its own.

    Attributes:
        parts: The contracted sets, then the other vertices.
        part_of: The number of each vertex's part.
        before: The parts that each part depends on.
    """

    def __init__(
        self, predecessors: Sequence[Iterable[int]], sets: Iterable[tuple[int, ...]]
    ) -> None:
        self.parts: Parts = list(sets)
        self.part_of = [-1] * len(predecessors)
        for number, part in enumerate(self.parts):
            for vertex in part:
                self.part_of[vertex] = number
        for vertex, number in enumerate(self.part_of):
            if number < 0:
                self.part_of[vertex] = len(self.parts)
                self.parts.append((vertex,))
        self.before = [
            {self.part_of[u] for v in part for u in predecessors[v]} - {number}
            for number, part in enumerate(self.parts)
        ]

    def order(self) -> list[int]:
        """Parts in topological order, least last vertex first; those behind a cycle are missing."""
        after: list[list[int]] = [[] for _ in self.parts]
        for part, sources in enumerate(self.before):
            for source in sources:
                after[source].append(part)
        waiting = [len(b) for b in self.before]
        ready = [(max(self.parts[p]), p) for p, count in enumerate(waiting) if count == 0]
        heapq.heapify(ready)
        order: list[int] = []
        while ready:
            _, part = heapq.heappop(ready)
            order.append(part)
            for follower in after[part]:
                waiting[follower] -= 1
                if waiting[follower] == 0:
                    heapq.heappush(ready, (max(self.parts[follower]), follower))
        return order

    def components(self) -> list[list[int]]:
        """The strongly connected components (Tarjan 1972), each ascending."""
        seen: dict[int, int] = {}
        low: dict[int, int] = {}
        open_parts: dict[int, None] = {}  # in the order of being seen
        components: list[list[int]] = []
        for root in range(len(self.parts)):
            path = [] if root in seen else [(root, iter(self.before[root]))]
            while path:
                part, rest = path[-1]
                if part not in seen:
                    seen[part] = low[part] = len(seen)
                    open_parts[part] = None
                source = next(rest, None)
                if source is None:
                    path.pop()
                    if path:
                        low[path[-1][0]] = min(low[path[-1][0]], low[part])
                    if low[part] == seen[part]:
                        components.append(_pop_down_to(part, open_parts))
                elif source not in seen:
                    path.append((source, iter(self.before[source])))
                elif source in open_parts:
                    low[part] = min(low[part], seen[source])
        return components


def _pop_down_to(part: int, open_parts: dict[int, None]) -> list[int]:
    popped: list[int] = []
    while not popped or popped[-1] != part:
        popped.append(open_parts.popitem()[0])
    return sorted(popped)


def _untangle(predecessors: Sequence[Iterable[int]], tangled: Parts) -> Parts:
    """Split the parts of one component: each joins the rest in as few pieces as possible.

    Every path that leaves a part and comes back stays within the component, so nothing else needs
    to be looked at.
    """
    vertices = sorted(v for part in tangled for v in part)
    local = {v: i for i, v in enumerate(vertices)}
    graph = [[local[u] for u in predecessors[v] if u in local] for v in vertices]
    pieces: Parts = []
    for part in tangled:
        if len(part) > 1:
            pieces += _split(_Quotient(graph, pieces), tuple(local[v] for v in part))
    return [tuple(vertices[i] for i in part) for part in _Quotient(graph, pieces).parts]


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
