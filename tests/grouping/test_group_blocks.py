from itertools import pairwise
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from precsearch.core.precision import Precision
from precsearch.core.space import SearchSpace
from precsearch.grouping.group import group
from precsearch.grouping.repeats import repeated_blocks
from tests.graph.small_graphs import (
    GELU_FORMS,
    SCHEME,
    GraphBuilder,
    attention,
    heads,
    layer_norm,
    linear,
    residual_net,
    transformer,
    view,
)

EVERY = frozenset({Precision.FP32, Precision.FP16, Precision.INT8})
NORM = ["layernorm-mean", "layernorm-statistics", "layernorm"]
"""Where FP16 is offered."""


def kinds_by_block(space: SearchSpace) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for g in space.groups:
        found.setdefault(g.block, []).append(g.kind)
    return found


def test_encoder_blocks_begin_with_their_norm() -> None:
    found = kinds_by_block(group(view(transformer(blocks=3)), SCHEME, EVERY))
    assert set(found) == {"", "block0", "block1", "block2"}
    products = ["matmul"] * 3
    first = [*NORM, *products, "attention", "matmul", "add"]
    second = [*NORM, "matmul", "gelu", "matmul", "add"]
    assert found["block0"] == found["block2"] == first + second
    assert found[""].count("layernorm") == 1


def test_post_norm_blocks_end_with_their_norm() -> None:
    b = GraphBuilder()
    x = layer_norm(b, linear(b, b.input(["n", 6, 8]), 8, 16), 16)
    for _ in range(2):
        q, k, v = (heads(b, linear(b, x, 16, 16), 2, 8) for _ in range(3))
        joined = b.op("Transpose", attention(b, q, k, v, 8), perm=[0, 2, 1, 3])
        h = linear(b, b.op("Reshape", joined, b.ints(0, -1, 16)), 16, 16)
        x = layer_norm(b, b.op("Add", h, x), 16)
        h = linear(b, GELU_FORMS["erf, half last"](b, linear(b, x, 16, 32)), 32, 16)
        x = layer_norm(b, b.op("Add", h, x), 16)
    b.output(linear(b, x, 16, 4))
    found = kinds_by_block(group(view(b.model()), SCHEME, EVERY))
    assert found["block0"][0] == "matmul"
    assert found["block1"][-4:] == ["add", *NORM]
    assert found[""] == ["matmul", *NORM, "matmul"]


def test_residual_blocks() -> None:
    found = kinds_by_block(group(view(residual_net(blocks=2)), SCHEME, EVERY))
    assert found["block0"] == found["block1"] == ["conv", "conv", "add"]
    assert found[""] == ["conv", "pool", "gemm"]


def test_layers_that_do_not_repeat_have_no_block() -> None:
    assert set(kinds_by_block(group(view(transformer(blocks=1)), SCHEME, EVERY))) == {""}


def test_a_block_can_be_decided_as_one() -> None:
    graph = view(transformer(blocks=3))
    fine, coarse = (group(graph, SCHEME, EVERY, g) for g in ("group", "block"))
    merged = [g for g in coarse.groups if g.kind == "block"]
    assert [g.block for g in merged] == ["block0", "block1", "block2"]
    assert len({g.signature for g in merged}) == 1
    assert merged[0].choices == (Precision.FP32, Precision.FP16, Precision.INT8)
    assert not merged[0].passive
    for block in merged:
        parts = [g for g in fine.groups if g.block == block.block]
        assert set(block.nodes) == {k for g in parts for k in g.nodes}
        assert block.macs == sum(g.macs for g in parts)
    outside = [{k for g in s.groups if not g.block for k in g.nodes} for s in (coarse, fine)]
    assert outside[0] == outside[1]


def blocks(text: str, widths: list[int] | None = None) -> list[str]:
    found = repeated_blocks(list(text), widths or [1] * (len(text) + 1))
    return [text[a:b] for a, b in found]


def test_repeats_of_letters() -> None:
    assert blocks("xabcabcabcy") == ["abc"] * 3
    assert blocks("xababyccdccdz") == ["ab", "ab", "ccd", "ccd"]
    assert blocks("abab") == ["ab", "ab"]
    assert blocks("abcd") == []
    assert blocks("") == []


def test_one_repeated_layer_is_not_a_block() -> None:
    assert blocks("xaaaaay") == []


def test_the_longest_cover_wins_over_the_shortest_period() -> None:
    assert blocks("xaabaabaaby") == ["aab"] * 3


def test_a_block_begins_at_the_narrowest_cut() -> None:
    # Three places to begin: 1, 2 and 3.
    assert blocks("xabcabcaby", [1, 2, 2, 1, 2, 2, 1, 2, 2, 1, 1]) == ["cab", "cab"]


@given(st.text("abc", min_size=2, max_size=5), st.integers(2, 4), st.integers(0, 2))
def test_every_repetition_is_covered(body: str, count: int, more: int) -> None:
    text = "x" + body * count + body[: min(more, len(body) - 1)] + "y"
    found = repeated_blocks(list(text), [1] * (len(text) + 1))
    assert found == sorted(found)
    assert all(a[1] <= b[0] for a, b in pairwise(found))
    if len(set(body)) > 1:
        assert sum(b - a for a, b in found) >= len(body) * count


@given(st.integers(2, 120), st.integers(2, 3), st.integers(0, 9), st.randoms(use_true_random=False))
def test_a_repetition_of_any_period_is_found(
    period: int, count: int, before: int, rng: Random
) -> None:
    """Periods are ruled out by a few positions of each: never one that repeats."""
    block = [rng.choice("abc") for _ in range(period)]
    block[0], block[1] = "a", "b"
    text = [rng.choice("abc") for _ in range(before)] + block * count + ["x", "y"]
    found = repeated_blocks(text, [1] * (len(text) + 1))
    assert sum(end - start for start, end in found) >= period * count
