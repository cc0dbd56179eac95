"""A Concat in FP16 of dequantized tensors with scales of unlike types is written in FP32."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings

from precsearch.core.quantization import TYPED_HALF
from tests.graph.plain_runs import ran
from tests.graph.small_graphs import GraphBuilder, view
from tests.lowering.join_trees import FP16, FP32, SHAPE, JoinTree, join_trees, leaf

BARE = replace(TYPED_HALF, guard_products=False)


def joined(small: float, last: str = "Concat") -> tuple[JoinTree, str]:
    """Two quantized tensors, the first with this peak, and their Concat in FP16."""
    b = GraphBuilder(19)
    pairs = [leaf(b), leaf(b)]
    top = b.op(last, *pairs, axis=1) if last == "Concat" else b.op(last, *pairs)
    b.output(top)
    graph = view(b.model())
    return JoinTree(graph, {top: FP16}, dict.fromkeys((pairs[0], "in0", "in1"), small)), top


def inputs_of(tree: JoinTree, top: str) -> tuple[list[str], str]:
    """The operators that a node reads, and the one that reads it."""
    nodes = onnx.load_model_from_string(tree.lowered().model).graph.node
    makers = {t: n for n in nodes for t in n.output}
    (node,) = (n for n in nodes if n.name == top)
    readers = [n.op_type for n in nodes if node.output[0] in n.input]
    return [makers[t].op_type for t in node.input], " ".join(readers)


def test_scales_of_unlike_types_are_joined_in_fp32() -> None:
    tree, top = joined(1e-4)
    assert inputs_of(tree, top) == (["DequantizeLinear"] * 2, "Cast")
    nodes = onnx.load_model_from_string(tree.lowered().model).graph.node
    (join,) = (n for n in nodes if n.name == top)
    scales = {n.output[0]: n.input[1] for n in nodes if n.op_type == "DequantizeLinear"}
    assert [scales[t] for t in join.input] == [f"{t}//scale" for t in join.input]


@pytest.mark.parametrize(("small", "last"), [(4.0, "Concat"), (1e-4, "Add")])
def test_like_scales_and_other_operators_are_left_as_they_are(small: float, last: str) -> None:
    tree, _ = joined(small, last)
    assert tree.lowered().model == tree.lowered(BARE).model


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(join_trees())
def test_the_values_are_the_same(tree: JoinTree) -> None:
    rng = np.random.default_rng(0)
    feed = {v.name: rng.normal(size=SHAPE).astype(np.float32) for v in tree.graph.inputs}
    wide, bare = (ran(tree.lowered(form).model, feed) for form in (TYPED_HALF, BARE))
    assert all(map(np.array_equal, wide, bare))


def test_an_fp32_join_below_counts_and_a_float_operand_ends_it() -> None:
    b = GraphBuilder(19)
    pairs = [leaf(b), leaf(b), leaf(b)]
    inner = b.op("Concat", *pairs[:2], axis=1)
    outer = b.op("Concat", inner, pairs[2], axis=1)
    last = b.op("Concat", outer, b.op("Relu", b.input(list(SHAPE))), axis=1)
    b.output(last)
    asked = {inner: FP32, outer: FP16, last: FP16}
    tree = JoinTree(view(b.model()), asked, {})
    assert inputs_of(tree, inner)[1] == "Concat", "in FP32, as the outer one"
    assert inputs_of(tree, outer) == (["Concat", "DequantizeLinear"], "Cast")
    assert inputs_of(tree, last)[0][0] == "Cast"
