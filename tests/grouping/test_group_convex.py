from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from precsearch.grouping.convex import convex_parts, in_graph_order

Graph = list[list[int]]
Parts = list[tuple[int, ...]]


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    size = draw(st.integers(1, 14))
    return [
        sorted(draw(st.sets(st.integers(0, v - 1), max_size=3))) if v else [] for v in range(size)
    ]


@st.composite
def cases(draw: st.DrawFn) -> tuple[Graph, Parts]:
    """A random graph and random disjoint sets of its vertices, convex or not."""
    graph = draw(graphs())
    labels = draw(st.lists(st.integers(0, 5), min_size=len(graph), max_size=len(graph)))
    sets = [tuple(v for v, label in enumerate(labels) if label == n) for n in range(5)]
    return graph, draw(st.permutations([s for s in sets if s]))


def is_acyclic(graph: Graph, parts: Parts) -> bool:
    """By removing parts without predecessors, one at a time: slow and plain."""
    owner = {v: p for p in parts for v in p}
    before = {p: {owner[u] for v in p for u in graph[v]} - {p} for p in parts}
    while before:
        free = next((p for p, b in before.items() if not b & before.keys()), None)
        if free is None:
            return False
        del before[free]
    return True


def is_convex(graph: Graph, part: tuple[int, ...]) -> bool:
    """Whether no path leaves one part and comes back."""
    return is_acyclic(graph, [part, *((v,) for v in range(len(graph)) if v not in part)])


@given(cases())
def test_the_result_is_a_partition_that_leaves_the_graph_acyclic(case: tuple[Graph, Parts]) -> None:
    graph, wanted = case
    parts = convex_parts(graph, wanted)
    assert sorted(v for p in parts for v in p) == list(range(len(graph)))
    assert is_acyclic(graph, parts)


@given(cases())
def test_every_part_lies_within_one_wanted_set(case: tuple[Graph, Parts]) -> None:
    graph, wanted = case
    for part in convex_parts(graph, wanted):
        assert len(part) == 1 or any(set(part) <= set(s) for s in wanted)


@given(cases())
def test_a_set_that_closes_no_cycle_is_not_split(case: tuple[Graph, Parts]) -> None:
    graph, wanted = case
    lone = [(v,) for v in range(len(graph)) if all(v not in s for s in wanted)]
    if is_acyclic(graph, [*wanted, *lone]):
        assert sorted(convex_parts(graph, wanted)) == sorted([*wanted, *lone])


@given(cases())
def test_neighbouring_pieces_of_a_set_cannot_be_joined_again(case: tuple[Graph, Parts]) -> None:
    graph, wanted = case
    for vertices in wanted:
        parts = convex_parts(graph, [vertices])
        pieces = [p for p in parts if set(p) <= set(vertices)]
        for a, b in pairwise(pieces):
            assert not is_convex(graph, a + b)


@given(cases())
def test_order_within_a_set_does_not_matter(case: tuple[Graph, Parts]) -> None:
    graph, wanted = case
    assert convex_parts(graph, wanted) == convex_parts(graph, [s[::-1] for s in wanted])


@given(cases())
def test_graph_order_is_topological_and_unique(case: tuple[Graph, Parts]) -> None:
    graph, wanted = case
    parts = convex_parts(graph, wanted)
    ordered = in_graph_order(graph, parts)
    assert ordered == in_graph_order(graph, parts[::-1])
    place = {v: i for i, p in enumerate(ordered) for v in p}
    assert all(place[u] <= place[v] for v, before in enumerate(graph) for u in before)


def test_two_sets_that_are_convex_alone_but_not_together() -> None:
    graph: Graph = [[], [], [0], [1]]  # 0 → 2, 1 → 3
    assert is_convex(graph, (0, 3))
    assert is_convex(graph, (1, 2))
    assert sorted(convex_parts(graph, [(0, 3), (1, 2)])) == [(0, 3), (1,), (2,)]


def test_a_path_out_and_back_splits_where_it_comes_back() -> None:
    graph: Graph = [[], [0], [1], [2], [3]]
    assert sorted(convex_parts(graph, [(0, 1, 3, 4)])) == [(0, 1), (2,), (3, 4)]


def test_graph_order_refuses_what_is_not_convex() -> None:
    with pytest.raises(ValueError, match="cycle"):
        in_graph_order([[], [0], [1]], [(0, 2), (1,)])


def test_the_part_between_two_tangles_stays_whole() -> None:
    # 0→1→2 and 6→7→8 leave their sets and come back; 3, 4, 5 lie between.
    graph: Graph = [[], [0], [1], [2], [3], [4], [5], [6], [7]]
    parts = convex_parts(graph, [(0, 2), (3, 4, 5), (6, 8)])
    assert (3, 4, 5) in parts
    assert len(parts) == 7


@pytest.mark.parametrize("tangled", [False, True])
def test_a_long_chain_takes_no_time(tangled: bool) -> None:
    size = 20_000
    graph = [[v - 1] if v else [] for v in range(size)]
    step = (0, 1, 3) if tangled else (0, 1, 2, 3)
    wanted = [tuple(i + s for s in step) for i in range(0, size, 4)]
    assert len(convex_parts(graph, wanted)) == (3 if tangled else 1) * size // 4
