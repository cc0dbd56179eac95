"""What reads an INT8 Concat or pooling in float: not behind a DequantizeLinear in TensorRT's form.

An operator with weights that has its data dequantized and its weight not is neither of the two that
TensorRT's documentation has: INT8, with both quantized, or float.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
import pytest

from precsearch.core.backend import TYPED, TYPED_HALF, WEAK
from precsearch.core.precision import Precision
from precsearch.core.space import Assignment, SearchSpace
from precsearch.emulation.single import FlatProxy
from precsearch.graph.view import GraphView
from precsearch.lowering.context import LoweringContext
from precsearch.lowering.lower import Lowering
from precsearch.lowering.qdq.reach import quantizable
from precsearch.lowering.qdq.scales import FixedScales, RangeScales, TensorRange
from tests.backends.trt.stand_in.parser_rules import Rules
from tests.graph.small_graphs import GraphBuilder, conv, view
from tests.lowering.test_weak import SCHEME, in_ort, spaced

FP32, FP16, INT8 = Precision.FP32, Precision.FP16, Precision.INT8
FORMS = {"typed": TYPED_HALF, "weak": WEAK}
OPSETS = {"typed": 19, "weak": 17}
OPERATORS = ("Concat", "GlobalAveragePool", "AveragePool", "MaxPool")


def forked(op_type: str, opset: int = 19) -> tuple[GraphView, str, list[str]]:
    """Conv → Concat or pooling → two Convs and a Sigmoid: the tensor between, and its readers.

    A MaxPool has a pooling before it whose quantized output it carries.
    """
    b = GraphBuilder(opset)
    x = conv(b, b.input(["n", 4, 6, 6]), 4, 4)
    if op_type == "Concat":
        y = b.op("Concat", x, x, axis=1)
    elif op_type == "AveragePool":
        y = b.op(op_type, x, kernel_shape=[2, 2])
    elif op_type == "MaxPool":
        y = b.op(op_type, b.op("GlobalAveragePool", x), kernel_shape=[1, 1])
    else:
        y = b.op(op_type, x)
    width = 8 if op_type == "Concat" else 4
    readers = [conv(b, y, width, 4), conv(b, y, width, 4), b.op("Sigmoid", y)]
    for tensor in readers:
        b.output(tensor)
    return view(b.model()), y, readers


def asked(
    graph: GraphView, space: SearchSpace, joined: str, wanted: Mapping[str, Precision]
) -> Assignment:
    """The first Conv and what follows it in INT8, its readers as wanted."""
    found = space.canonical(Assignment.of({graph.nodes[0].key: INT8, joined: INT8, **wanted}))
    assert found[joined] is INT8
    return found


def makers(model: bytes) -> dict[str, str]:
    """Node → the operator that makes its first input."""
    graph = onnx.load_model_from_string(model).graph
    made = {t: n.op_type for n in graph.node for t in n.output}
    return {n.name: made.get(n.input[0], "") for n in graph.node if n.input}


@pytest.mark.parametrize("wanted", [(FP32, FP32), (FP16, FP32), (INT8, FP32), (INT8, FP16)])
@pytest.mark.parametrize("form", sorted(FORMS))
@pytest.mark.parametrize("op_type", OPERATORS)
def test_a_float_conv_reads_nothing_dequantized(
    op_type: str, form: str, wanted: tuple[Precision, Precision]
) -> None:
    graph, joined, readers = forked(op_type, OPSETS[form])
    space, scales = spaced(graph)
    a = asked(graph, space, joined, dict(zip(readers, wanted, strict=False)))
    lowered = Lowering(graph, space, SCHEME, scales, FORMS[form]).lower(a)
    onnx.checker.check_model(onnx.load_model_from_string(lowered.model), full_check=True)
    assert Rules(lowered.model, FORMS[form]).broken() == []
    before = makers(lowered.model)
    for reader, precision in zip(readers, wanted, strict=False):
        assert (before[reader] == "DequantizeLinear") == (precision is INT8)
    again = Lowering(graph, space, SCHEME, FixedScales(lowered.params), FORMS[form]).lower(a)
    assert again.model == lowered.model


@pytest.mark.parametrize("wanted", [(FP32, FP32), (INT8, FP32), (INT8, INT8)])
@pytest.mark.parametrize("op_type", OPERATORS)
def test_its_values_are_those_of_the_emulation(
    op_type: str, wanted: tuple[Precision, Precision]
) -> None:
    graph, joined, readers = forked(op_type)
    space, scales = spaced(graph)
    a = asked(graph, space, joined, dict(zip(readers, wanted, strict=False)))
    lowered = Lowering(graph, space, SCHEME, scales, TYPED).lower(a)
    feed = {"in0": np.random.default_rng(0).normal(0, 1, (2, 4, 6, 6)).astype(np.float32)}
    flat = FlatProxy(LoweringContext(graph, space, SCHEME, scales, TYPED), a)
    emulated = in_ort(flat.with_outputs(readers), feed)
    for found, value in zip(in_ort(lowered.model, feed), emulated, strict=True):
        np.testing.assert_allclose(found, value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("form", sorted(FORMS))
def test_tensors_that_no_int8_layer_reads_have_no_quantize_node(form: str) -> None:
    """The least model of this kind: a Concat that a single Conv reads."""
    b = GraphBuilder(OPSETS[form])
    x = b.input(["n", 4, 6, 6])
    first = conv(b, x, 4, 4)
    joined = b.op("Concat", x, first, axis=1)
    b.output(conv(b, joined, 8, 4))
    graph = view(b.model())
    space, scales = spaced(graph)
    a = asked(graph, space, joined, {})
    lowered = Lowering(graph, space, SCHEME, scales, FORMS[form]).lower(a)
    assert Rules(lowered.model, FORMS[form]).broken() == []
    made = onnx.load_model_from_string(lowered.model)
    sources = {
        n.input[0].partition("//")[0] for n in made.graph.node if n.op_type == "QuantizeLinear"
    }
    assert {x, first} <= sources
    assert joined not in sources


def test_values_beyond_fp16_reach_an_fp32_conv() -> None:
    graph, joined, readers = forked("Concat")
    space, _ = spaced(graph)
    tensors = frozenset().union(*quantizable(graph, SCHEME, space).values())
    scales = RangeScales(dict.fromkeys(tensors, TensorRange(-1e6, 1e6)), SCHEME)
    a = asked(graph, space, joined, {readers[1]: INT8})
    lowered = Lowering(graph, space, SCHEME, scales, TYPED_HALF).lower(a)
    found = in_ort(lowered.model, {"in0": np.full((1, 4, 6, 6), 3e5, np.float32)})
    assert np.isfinite(found[0]).all()


@pytest.mark.parametrize("op_type", OPERATORS)
def test_readers_in_int8_share_one_q(op_type: str) -> None:
    graph, joined, readers = forked(op_type)
    space, scales = spaced(graph)
    a = asked(graph, space, joined, dict.fromkeys(readers[:2], INT8))
    made = onnx.load_model_from_string(
        Lowering(graph, space, SCHEME, scales, TYPED_HALF).lower(a).model
    )
    sources = [
        n.input[0].partition("//")[0] for n in made.graph.node if n.op_type == "QuantizeLinear"
    ]
    assert sources.count(joined) == 1
