"""Q/DQ before a MaxPool instead of after it: other kernels, the same numbers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx

from precsearch.backends.openvino.scheme import scheme
from precsearch.core.precision import Precision
from precsearch.core.quantization import QuantScheme, Quirk
from precsearch.core.space import Assignment
from precsearch.graph.prepare import prepare
from precsearch.graph.reading.read import SourceModel
from precsearch.grouping.group import group
from precsearch.lowering.lower import Lowered, Lowering
from precsearch.lowering.qdq.reach import quantizable
from precsearch.lowering.qdq.scales import RangeScales, TensorRange
from tests.backends.ov.small_engines import by_ort, samples
from tests.graph.small_layers import GraphBuilder

LIFTED = scheme()
PLAIN = replace(LIFTED, quirks=LIFTED.quirks - {Quirk.BEFORE_POOLING})


def pooled(*, output: bool = False) -> onnx.ModelProto:
    """Conv, Relu, MaxPool, Conv; the pooled tensor may be an output, too."""
    b = GraphBuilder()
    x = b.op("Relu", b.op("Conv", b.input([2, 3, 12, 12]), b.weight(8, 3, 3, 3)))
    x = b.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    if output:
        b.output(x)
    b.output(b.op("Conv", x, b.weight(8, 8, 3, 3)))
    return b.model()


def lowered(
    model: onnx.ModelProto, chosen: QuantScheme, changes: dict[str, Precision] | None = None
) -> Lowered:
    graph = prepare(SourceModel(Path("m.onnx"), model, "0" * 64, ()), 22)
    wanted = frozenset({Precision.FP32, Precision.BF16, Precision.INT8})
    space = group(graph, chosen, wanted)
    tensors = {t for found in quantizable(graph, chosen, space).values() for t in found}
    scales = RangeScales({t: TensorRange(-3.0, 4.0) for t in tensors}, chosen)
    all_int8 = {g.key: g.nearest(Precision.INT8) for g in space.free}
    int8 = {k: p for k, p in all_int8.items() if p is Precision.INT8}
    lowering = Lowering(graph, space, chosen, scales)
    return lowering.lower(space.canonical(Assignment.of({**int8, **(changes or {})})))


def quantized(found: Lowered) -> list[str]:
    """What the nodes named QuantizeLinear read, and MaxPool."""
    nodes = onnx.ModelProto.FromString(found.model).graph.node
    return [n.op_type for n in nodes if n.op_type in ("QuantizeLinear", "MaxPool", "Conv")]


def test_the_pool_stands_between_two_pairs_and_gives_the_same_numbers() -> None:
    model = pooled()
    before, after = lowered(model, PLAIN), lowered(model, LIFTED)
    assert quantized(before) == ["QuantizeLinear", "Conv", "MaxPool", "QuantizeLinear", "Conv"]
    assert quantized(after)[1:] == ["Conv", "QuantizeLinear", "MaxPool", "QuantizeLinear", "Conv"]
    feed = samples(model)
    (first,), (second,) = (by_ort(found.model, feed).values() for found in (before, after))
    assert np.array_equal(first, second)


def test_a_pooled_tensor_that_somebody_else_reads_is_quantized_after_the_pool() -> None:
    model = pooled(output=True)
    assert quantized(lowered(model, LIFTED)) == quantized(lowered(model, PLAIN))


def test_a_pool_in_another_float_format_is_left_alone() -> None:
    model = pooled()
    graph = prepare(SourceModel(Path("m.onnx"), model, "0" * 64, ()), 22)
    pool = next(n.key for n in graph.nodes if n.is_op("MaxPool"))
    space = group(graph, LIFTED, frozenset({Precision.FP32, Precision.BF16, Precision.INT8}))
    key = next(g.key for g in space.groups if pool in g.nodes)
    if (
        Precision.BF16 not in space.by_key[key].choices
        or Precision.INT8 in space.by_key[key].choices
    ):
        return
    found = lowered(model, LIFTED, {key: Precision.BF16})
    assert quantized(found) == quantized(lowered(model, PLAIN, {key: Precision.BF16}))
