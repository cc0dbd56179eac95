"""Each model that the builder refused, or ran in other types than asked, and its new form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import pytest

from precsearch.backends.tensorrt.scheme import scheme
from precsearch.core.backend import TYPED_HALF, QuantScheme
from precsearch.core.errors import BuildError
from precsearch.core.precision import Precision
from precsearch.core.space import Assignment
from precsearch.graph.view import GraphView
from precsearch.grouping.group import group
from precsearch.lowering.lower import Lowered, Lowering
from precsearch.lowering.qdq.reach import quantizable
from precsearch.lowering.qdq.scales import RangeScales, TensorRange
from tests.backends.trt.rtx.building import TARGETS, built, disobeyed
from tests.graph.small_graphs import GraphBuilder, conv, view

pytestmark = pytest.mark.rtx
FP32, FP16, INT8 = Precision.FP32, Precision.FP16, Precision.INT8
RTX = scheme(rtx=True, attention=True)


def lowered(
    graph: GraphView,
    other: Mapping[str, Precision],
    rest: Precision = FP16,
    chosen: QuantScheme = RTX,
    peak: float = 4.0,
) -> Lowered:
    """``rest`` wherever it is offered, but for the nodes in ``other``."""
    space = group(graph, chosen, frozenset(Precision), "node")
    tensors = frozenset().union(*quantizable(graph, chosen, space).values())
    scales = RangeScales(dict.fromkeys(tensors, TensorRange(-peak, peak)), chosen)
    asked = {g.key: other.get(g.key, g.nearest(rest)) for g in space.free}
    lowering = Lowering(graph, space, chosen, scales, TYPED_HALF)
    return lowering.lower(space.canonical(Assignment.of(asked)))


def island(factor: float | None, kind: str = "Conv") -> tuple[GraphView, list[str]]:
    """A product with weights that FP16 does not hold, and perhaps a Mul, among others."""
    b = GraphBuilder(19)
    shape = (16, 16, 3, 3) if kind == "Conv" else (16, 16)
    attributes: dict[str, Any] = {"pads": [1, 1, 1, 1]} if kind == "Conv" else {}
    x = b.input([2, 16, 8, 8] if kind == "Conv" else [2, 8, 16])
    x = b.op(kind, x, b.weight(*shape), **attributes)
    huge = b.const(b.rng.normal(0, 1e6, shape))
    inner = [b.op(kind, x, huge, **attributes)]
    if factor is not None:
        inner.append(b.op("Mul", inner[0], b.const(factor)))
    b.output(b.op(kind, inner[-1], b.weight(*shape), **attributes))
    return view(b.model()), inner


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("kind", ["Conv", "MatMul"])
@pytest.mark.parametrize("factor", [None, 1.0001], ids=["bare", "with Mul"])
def test_an_fp32_product_among_fp16_products_stays_in_fp32(
    factor: float | None, kind: str, target: str
) -> None:
    graph, inner = island(factor, kind)
    made = lowered(graph, dict.fromkeys(inner, FP32))
    engine = built(made.model, target)
    assert disobeyed(made.model, engine, made.asked) == []
    assert half_infinities(engine.engine) < 100  # of 200 to 2,000 that do not fit


def half_infinities(engine: bytes) -> int:
    whole = (np.frombuffer(engine[i : len(engine) - (len(engine) - i) % 2], "<u2") for i in (0, 1))
    return max(int(np.count_nonzero((values & 0x7FFF) == 0x7C00)) for values in whole)


@pytest.mark.parametrize("kind", ["Conv", "MatMul"])
def test_without_the_guard_the_product_is_demoted_and_reported(kind: str) -> None:
    """Should a version build this as asked, the guard has become needless."""
    graph, inner = island(None, kind)
    made = lowered(graph, dict.fromkeys(inner, FP32))
    proto = onnx.load_model_from_string(made.model)
    (guard,) = (n for n in proto.graph.node if n.name.endswith("//guard"))
    for node in proto.graph.node:
        node.input[:] = [guard.input[0] if t == guard.output[0] else t for t in node.input]
    proto.graph.node.remove(guard)
    bare = proto.SerializeToString()
    engine = built(bare, "SM89")
    ((name, _, asked, _),) = disobeyed(bare, engine, made.asked)
    assert (name, asked) == (inner[0], "fp32")
    assert half_infinities(engine.engine) > {"Conv": 1000, "MatMul": 200}[kind]
    assert len(built(made.model, "SM89").layers) == len(engine.layers), "the guard costs a kernel"


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("head", ["rank 3", "Gemm after Flatten"])
def test_scales_that_fp16_lacks_build_as_int8(head: str, target: str) -> None:
    b = GraphBuilder(19)
    if head == "rank 3":
        x = b.op("MatMul", b.input([4, 6, 64]), b.weight(64, 32))
    else:
        x = b.op("GlobalAveragePool", conv(b, b.input([4, 64, 6, 6]), 64, 64, size=1))
        x = b.op("Gemm", b.op("Flatten", x, axis=1), b.weight(64, 32), b.weight(32))
    b.output(b.op("Relu", x))
    made = lowered(view(b.model()), {}, INT8, peak=1e-4)
    assert INT8 in made.asked.values()
    assert disobeyed(made.model, built(made.model, target), made.asked) == []


def test_operators_that_never_run_in_int8_are_not_offered_it() -> None:
    b = GraphBuilder(19)
    x = conv(b, b.input([2, 8, 8, 8]), 8, 8)
    x = b.op("ConvTranspose", x, b.weight(8, 8, 2, 2), strides=[2, 2])
    b.output(b.op("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2]))
    graph = view(b.model())
    refused = lowered(graph, {}, INT8)
    assert disobeyed(refused.model, built(refused.model, "SM89"), refused.asked) == []
    offered = lowered(graph, {}, INT8, scheme())
    ((_, kind, asked, _),) = disobeyed(offered.model, built(offered.model, "SM89"), offered.asked)
    assert (kind, asked) == ("ConvTranspose", "int8")


@pytest.mark.parametrize(
    ("kernel", "obeyed"), [([4, 8], True), ([1, 32], True), ([1, 33], False), ([3, 11], False)]
)
def test_an_fp8_conv_of_more_than_32_taps_runs_in_fp16_and_is_reported(
    kernel: list[int], obeyed: bool
) -> None:
    b = GraphBuilder(19)
    x = b.op("Conv", b.input([2, 16, 16, 64]), b.weight(16, 16, *kernel), kernel_shape=kernel)
    b.output(b.op("Relu", x))
    graph = view(b.model())
    made = lowered(graph, {}, Precision.FP8)
    assert [d[2] for d in disobeyed(made.model, built(made.model, "SM89"), made.asked)] == (
        [] if obeyed else ["fp8"]
    )
    whole = lowered(graph, {}, INT8)
    assert disobeyed(whole.model, built(whole.model, "SM89"), whole.asked) == []


def test_a_refusal_quotes_the_builder() -> None:
    b = GraphBuilder(19)
    x = b.input([2, 4])
    b.output(b.op("Add", x, b.op("Cast", b.op("Cast", x, to=10), to=10)), 1)
    with pytest.raises(BuildError, match=r"refuses the model.*must have same input types"):
        built(b.model().SerializeToString(), "SM89")
