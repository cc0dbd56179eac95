"""FP32 products among FP16 ones are kept apart from the Casts around them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from precsearch.core.backend import TYPED, TYPED_HALF, GraphForm
from precsearch.core.precision import Precision
from precsearch.core.space import Assignment
from precsearch.lowering.lower import Lowering
from tests.graph.small_graphs import GraphBuilder, view
from tests.lowering.test_weak import SCHEME, spaced

FP16 = Precision.FP16


def chain(b: GraphBuilder, x: str, *between: Callable[[str], str]) -> str:
    """MatMul, then the product in question ("t1"), what follows it, and another MatMul."""
    y = b.op("MatMul", b.op("MatMul", x, b.weight(8, 8)), b.weight(8, 8))
    for step in between:
        y = step(y)
    return b.op("MatMul", y, b.weight(8, 8))


def lowered(b: GraphBuilder, fp32: set[str], form: GraphForm = TYPED_HALF) -> onnx.ModelProto:
    graph = view(b.model())
    space, scales = spaced(graph, "node")
    half = {g.key: FP16 for g in space.free if g.key not in fp32 and FP16 in g.choices}
    made = Lowering(graph, space, SCHEME, scales, form).lower(Assignment.of(half))
    return onnx.load_model_from_string(made.model)


def guards(model: onnx.ModelProto) -> list[str]:
    return [n.name.partition("//")[0] for n in model.graph.node if n.name.endswith("//guard")]


def started() -> tuple[GraphBuilder, str]:
    b = GraphBuilder(19)
    return b, b.input(["n", 4, 8])


def test_a_product_between_casts_is_followed_by_a_node_that_stops_the_builder() -> None:
    b, x = started()
    b.output(chain(b, x))
    model = lowered(b, {"t1"})
    assert guards(model) == ["t1"]
    guard = next(n for n in model.graph.node if n.name == "t1//guard")
    assert (guard.op_type, guard.attribute[0].f) == ("LeakyRelu", 1.0)
    feed = {"in0": np.random.default_rng(0).normal(0, 1, (2, 4, 8)).astype(np.float32)}
    left = lowered(b, {"t1"}, TYPED)
    assert guards(left) == []
    for found, wanted in zip(
        *(ReferenceEvaluator(m).run(None, feed) for m in (model, left)), strict=True
    ):
        np.testing.assert_array_equal(found, wanted)


def test_constants_and_layout_do_not_count_as_surroundings() -> None:
    b, x = started()
    scale = b.const(1.5)
    b.output(chain(b, x, lambda y: b.op("Mul", y, scale), lambda y: b.op("Identity", y)))
    assert guards(lowered(b, {"t1", "t2", "t3"})) == ["t1"]


def test_a_node_that_reads_a_shape_alone_does_not_count_as_surroundings() -> None:
    b, x = started()
    y = b.op("MatMul", b.op("MatMul", x, b.weight(8, 8)), b.weight(8, 8))
    y = b.op("Reshape", y, b.op("Shape", y))
    b.output(b.op("MatMul", y, b.weight(8, 8)))
    assert guards(lowered(b, {"t1", "t2", "t3"})) == ["t1"]


@pytest.mark.parametrize(
    "step", ["Relu", "Softmax", "Sigmoid"], ids=lambda step: f"{step} in FP32 beside it"
)
def test_a_product_with_other_fp32_work_beside_it_needs_no_guard(step: str) -> None:
    b, x = started()
    b.output(chain(b, x, lambda y: b.op(step, y)))
    assert guards(lowered(b, {"t1", "t2"})) == []


def test_fp32_on_one_side_is_enough() -> None:
    b, x = started()
    b.output(chain(b, x))
    assert guards(lowered(b, {"t0", "t1"})) == []  # reads the graph's FP32 input through t0
    assert guards(lowered(b, {"t1", "t2"})) == []  # its reader's output is the graph's
    b.output("t1")
    assert guards(lowered(b, {"t1"})) == []
