"""Layout nodes, the integer nodes that serve them, and edges."""

import pytest

from precsearch.core.precision import Precision
from precsearch.core.space import Assignment, SearchSpace
from precsearch.grouping.group import group
from tests.graph.small_graphs import MODELS, SCHEME, GraphBuilder, linear, view

FP32, FP16, INT8 = Precision.FP32, Precision.FP16, Precision.INT8
EVERY = frozenset({Precision.FP32, Precision.FP16, Precision.INT8})


def space_of(b: GraphBuilder, *outputs: str) -> SearchSpace:
    for tensor in outputs:
        b.output(tensor)
    return group(view(b.model()), SCHEME, EVERY)


def choices(space: SearchSpace) -> list[tuple[str, tuple[Precision, ...]]]:
    return [(g.kind, g.choices) for g in space.groups]


# Layout nodes.


def sizes(space: SearchSpace) -> list[tuple[str, int]]:
    return [(g.kind, len(g.nodes)) for g in space.groups]


def test_layout_nodes_join_what_they_rearrange() -> None:
    b = GraphBuilder()
    x = linear(b, b.input([1, 6, 12]), 12, 12)
    parts = b.ops("Split", b.op("Reshape", x, b.ints(1, 6, 2, 6)), count=2, axis=2)
    y = b.op("Add", *(b.op("Squeeze", p, b.ints(2)) for p in parts))
    space = space_of(b, y)
    assert sizes(space) == [("matmul", 6), ("add", 1)]
    assert space.edges == ((0, 1),)


def test_layout_nodes_at_the_input_are_a_group_of_their_own() -> None:
    b = GraphBuilder()
    x = b.op("Reshape", b.op("Transpose", b.input([1, 8, 3, 8]), perm=[0, 2, 1, 3]), b.ints(1, -1))
    space = space_of(b, b.op("Relu", x))
    assert choices(space) == [("layout", (FP32, FP16)), ("node", (FP32, FP16))]


def test_a_shape_computed_from_the_tensor_itself_does_not_split_the_group() -> None:
    assert sizes(group(view(MODELS["shape_computed"]()), SCHEME, EVERY)) == [("matmul", 8)]


def test_a_shape_computed_from_a_later_result_does() -> None:
    b = GraphBuilder()
    x = linear(b, b.input([4, 8]), 8, 8)
    detour = b.op("Shape", b.op("Sqrt", x))
    assert sizes(space_of(b, b.op("Reshape", x, detour))) == [
        ("matmul", 2),
        ("node", 1),
        ("node", 1),
        ("layout", 1),
    ]


def test_a_relu_that_is_not_the_only_reader_stays_alone() -> None:
    space = group(view(MODELS["fan_out"]()), SCHEME, EVERY)
    assert ("node", (FP32, FP16)) in choices(space)


# Edges.


def test_edges_follow_fp32_tensors_and_skip_shapes() -> None:
    b = GraphBuilder()
    x = linear(b, b.input([4, 8]), 8, 8)
    like = b.op("ConstantOfShape", b.op("Shape", x))
    space = space_of(b, b.op("Add", b.op("Relu", like), b.op("Sqrt", x)))
    kinds = [g.kind for g in space.groups]
    shape = next(i for i, g in enumerate(space.groups) if len(g.choices) == 1)
    assert kinds.count("add") == 1
    assert all(shape not in edge for edge in space.edges)


def test_edges_reach_into_subgraphs() -> None:
    space = group(view(MODELS["conditional"]()), SCHEME, EVERY)
    assert space.edges == ((0, 1), (1, 2))


@pytest.mark.parametrize("precisions", [frozenset({FP32, INT8}), EVERY])
def test_edges_pass_through_what_carries_quantized_tensors(
    precisions: frozenset[Precision],
) -> None:
    """The Reshape is a group of its own here; the Add still counts as the product's neighbour."""
    b = GraphBuilder()
    x = linear(b, b.input([4, 8]), 8, 8)
    y = b.op("Reshape", x, b.op("Shape", b.op("Sqrt", x)))
    b.output(b.op("Add", y, y))
    space = group(view(b.model()), SCHEME, precisions)
    product, add = space.groups[0], space.groups[-1]
    assert (0, len(space.groups) - 1) in space.edges
    both = Assignment.of({product.key: INT8, add.key: INT8})
    assert space.canonical(both) == both
    assert space.canonical(Assignment.of({add.key: INT8})) == Assignment()
