"""Signatures and sizes of groups."""

import pytest

from precsearch.core.precision import Precision
from precsearch.core.space import LayerGroup, SearchSpace
from precsearch.grouping.group import group
from tests.graph.small_graphs import (
    SCHEME,
    GraphBuilder,
    attention,
    conv,
    layer_norm,
    linear,
    silu,
    transformer,
    view,
)

EVERY = frozenset({Precision.FP32, Precision.FP16, Precision.INT8})


def space_of(b: GraphBuilder, *outputs: str) -> SearchSpace:
    for tensor in outputs:
        b.output(tensor)
    return group(view(b.model()), SCHEME, EVERY)


def test_equal_layers_have_equal_signatures() -> None:
    space = group(view(transformer(blocks=3)), SCHEME, EVERY)
    blocks: dict[str, list[LayerGroup]] = {}
    for found in space.groups:
        blocks.setdefault(found.block, []).append(found)
    rows = [[g.signature for g in blocks[f"block{i}"]] for i in range(3)]
    assert rows[0] == rows[1] == rows[2]


@pytest.mark.parametrize("change", ["attribute", "constant shape", "activation shape", "wiring"])
def test_a_signature_depends_on_what_matters_for_speed(change: str) -> None:
    def signature(changed: bool) -> str:
        b = GraphBuilder()
        length = 7 if changed and change == "activation shape" else 6
        width = 5 if changed and change == "constant shape" else 4
        x, y = b.input([1, length, 4]), b.input([1, length, 4])
        summed = b.op("Add", x, x if changed and change == "wiring" else y)
        product = b.op("MatMul", summed, b.weight(4, width))
        perm = [0, 2, 1] if changed and change == "attribute" else [1, 0, 2]
        space = space_of(b, b.op("Transpose", product, perm=perm))
        return "".join(g.signature for g in space.groups)

    assert signature(False) == signature(False)
    assert signature(False) != signature(True)


def macs_of(b: GraphBuilder, y: str) -> int:
    return sum(g.macs for g in space_of(b, y).groups)


def test_macs_of_one_sample() -> None:
    b = GraphBuilder()
    assert macs_of(b, conv(b, b.input(["n", 3, 8, 8]), 3, 4, stride=2)) == 4 * 4 * 4 * 27
    b = GraphBuilder()
    assert macs_of(b, conv(b, b.input([5, 3, 8, 8]), 3, 4)) == 8 * 8 * 4 * 27
    b = GraphBuilder()
    transposed = b.op("ConvTranspose", b.input(["n", 3, 8, 8]), b.weight(3, 4, 2, 2))
    assert macs_of(b, transposed) == 8 * 8 * 3 * 4 * 2 * 2
    b = GraphBuilder()
    assert macs_of(b, linear(b, b.input(["n", "s", 8]), 8, 4)) == 8 * 4
    b = GraphBuilder()
    gemm = b.op("Gemm", b.input(["n", 12]), b.weight(8, 12), transB=1)
    assert macs_of(b, gemm) == 12 * 8
    b = GraphBuilder()
    q, k, v = (b.input([1, 2, 6, 8]) for _ in range(3))
    assert macs_of(b, attention(b, q, k, v, 8)) == 2 * 2 * 6 * 6 * 8
    b = GraphBuilder()
    assert macs_of(b, silu(b, layer_norm(b, b.input([1, 16]), 16))) == 0
