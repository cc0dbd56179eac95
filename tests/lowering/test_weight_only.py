"""Weights alone in INT4: what is written, what ONNX Runtime makes of it, what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from precsearch.backends.onnxruntime.backend import OnnxRuntimeBackend
from precsearch.core import formats
from precsearch.core.backend import TYPED, TYPED_HALF, BackendOptions
from precsearch.core.errors import ModelError, OptionError
from precsearch.core.formats import BFLOAT16, FLOAT16, FLOAT32, NumberFormat
from precsearch.core.precision import Encoding, Precision, PrecisionSpec
from precsearch.core.quantization import OperatorFormats, PerBlock, TensorFormat, Trait
from precsearch.core.space import Assignment, LayerGroup, SearchSpace
from precsearch.emulation.single import FlatProxy
from precsearch.graph.view import GraphView
from precsearch.grouping.group import group
from precsearch.lowering.context import LoweringContext
from precsearch.lowering.lower import Lowered, Lowering
from precsearch.lowering.qdq.scales import RangeScales
from precsearch.lowering.weight_only import (
    block_of,
    fits,
    packed_tensor,
    packed_weight,
    unpacked,
)
from tests.core.added import added
from tests.emulation.by_hand import plain_session
from tests.graph.small_graphs import GraphBuilder, view

FP32, INT8, INT4 = Precision.FP32, Precision.INT8, Precision.INT4
BLOCK = 32
BLOCKS = TensorFormat(formats.INT4, granularity=PerBlock(BLOCK))
BACKEND = OnnxRuntimeBackend(BackendOptions(threads=1))
NO_SCALES = RangeScales({}, BACKEND.scheme)


def network(op_type: str = "MatMul", reduced: int = 64, turned: bool = False) -> GraphView:
    b = GraphBuilder(21)
    x = b.input(["n", reduced])
    weight = b.weight(24, reduced) if turned else b.weight(reduced, 24)
    if op_type == "Gemm":
        x = b.op("Gemm", x, weight, b.weight(24), transB=int(turned))
    else:
        x = b.op("MatMul", x, weight)
    b.output(b.op("Relu", x))
    return view(b.model())


def spaced(graph: GraphView) -> SearchSpace:
    return group(graph, BACKEND.scheme, frozenset({FP32, INT4}))


def lowered(graph: GraphView) -> Lowered:
    space = spaced(graph)
    form = TYPED.raised(21)
    return Lowering(graph, space, BACKEND.scheme, NO_SCALES, form).lower(space.uniform(INT4))


FORMS = [("MatMul", False), ("Gemm", False), ("Gemm", True)]


@pytest.mark.parametrize(("op_type", "turned"), FORMS)
def test_onnx_runtime_runs_it_as_matmulnbits_and_near_the_proxy(op_type: str, turned: bool) -> None:
    graph = network(op_type, turned=turned)
    space, made = spaced(graph), lowered(graph)
    proto = onnx.load_model_from_string(made.model)
    onnx.checker.check_model(proto, full_check=True)
    assert set(made.asked.values()) == {INT4}
    feed = {"in0": np.random.default_rng(0).normal(0, 1, (4, 64)).astype(np.float32)}
    session = BACKEND.open(made.model, profiled=True)
    ran = {k.op_type: k for k in session.profile(feed, 1)}
    assert ran["MatMulNBits"].precision is INT4
    assert {made.owners[n] for n in ran["MatMulNBits"].nodes} == {g.key for g in space.free}
    asked = space.uniform(INT4)
    proxy = FlatProxy(LoweringContext(graph, space, BACKEND.scheme, NO_SCALES), asked).with_outputs(
        [o.name for o in graph.outputs]
    )
    (found,), (emulated,) = (
        [np.asarray(v, np.float32) for v in BACKEND.open(model).run(feed).values()]
        for model in (made.model, proxy)
    )
    exact = BACKEND.open(
        Lowering(graph, space, BACKEND.scheme, NO_SCALES).lower(Assignment()).model
    ).run(feed)
    (wanted,) = (np.asarray(v, np.float32) for v in exact.values())
    error = np.linalg.norm(emulated - wanted) / np.linalg.norm(wanted)
    assert 0.01 < error < 0.15
    assert np.linalg.norm(found - emulated) / np.linalg.norm(wanted) < 0.02  # its own INT8 data


@pytest.mark.parametrize("around", [FLOAT32, FLOAT16, BFLOAT16], ids=lambda f: f.name)
@pytest.mark.parametrize("turned", [False, True])
def test_each_value_is_the_nearest_step_of_a_scale_that_its_block_shares(
    turned: bool, around: NumberFormat
) -> None:
    graph = network("Gemm", turned=turned)
    (node,) = (n for n in graph.nodes if n.is_op("Gemm"))
    weight = np.asarray(graph.weights[node.inputs[1]].array)
    packed = packed_weight(node, graph, around, BLOCKS)
    assert packed.scales.shape == (64 // BLOCK, 24)
    assert set(np.unique(packed.values).tolist()) <= set(range(-7, 8))
    wide = unpacked(node, packed, around)
    assert wide.shape == weight.shape
    steps = np.repeat(packed.scales, BLOCK, axis=0)
    steps = steps.T if turned else steps
    clipped = np.abs(weight) > 7 * steps
    assert np.all(np.abs(wide - weight)[~clipped] <= 0.51 * steps[~clipped])
    assert clipped.mean() < 0.1


@given(st.lists(st.integers(-8, 7), min_size=2, max_size=40).filter(lambda v: len(v) % 2 == 0))
def test_two_values_share_a_byte_as_onnx_defines(values: list[int]) -> None:
    made = packed_tensor("w", np.asarray(values, np.int8))
    assert len(made.raw_data) == len(values) // 2
    assert onnx.numpy_helper.to_array(made).astype(np.int8).tolist() == values


def test_the_scale_is_chosen_by_the_squared_error_of_its_block() -> None:
    """One large value among many: clipping it costs less than the wider steps do."""
    graph = network()
    (node,) = (n for n in graph.nodes if n.is_op("MatMul"))
    values = np.full((64, 24), 0.55, np.float32)
    values[0] = 4.0
    graph.weights[node.inputs[1]].__dict__["array"] = values
    packed = packed_weight(node, graph, FLOAT32, BLOCKS)
    error = np.square(unpacked(node, packed, FLOAT32) - values).sum()
    full = np.float32(4.0 / 7)
    plain = np.square(np.clip(np.rint(values / full), -7, 7) * full - values).sum()
    assert error <= plain


@pytest.mark.parametrize(
    ("reduced", "fitting"), [(32, False), (48, False), (64, True), (96, True), (100, False)]
)
def test_only_weights_of_whole_blocks_are_offered_int4(reduced: int, fitting: bool) -> None:
    graph = network(reduced=reduced)
    assert any(fits(n, graph, BACKEND.scheme, INT4) for n in graph.nodes) is fitting
    assert (INT4 in spaced(graph).precisions) is fitting


def test_a_group_that_has_no_such_weight_is_named() -> None:
    graph = network(reduced=48)
    groups = tuple(LayerGroup(n.key, "node", (n.key,), (FP32, INT4)) for n in graph.nodes)
    space = SearchSpace(groups)
    lowering = Lowering(graph, space, BACKEND.scheme, NO_SCALES)
    with pytest.raises(OptionError, match="none of its operators has a form in int4"):
        lowering.lower(Assignment.of({groups[0].key: INT4}))


def test_a_weight_that_is_not_finite_is_refused() -> None:
    graph = network()
    (node,) = (n for n in graph.nodes if n.is_op("MatMul"))
    graph.weights[node.inputs[1]].__dict__["array"] = np.full((64, 24), np.inf, np.float32)
    with pytest.raises(ModelError, match="not finite"):
        packed_weight(node, graph, FLOAT32, BLOCKS)


def test_forms_are_raised_to_the_operator_set_that_has_int4() -> None:
    assert TYPED.holding({FP32, INT8}) == TYPED
    raised = TYPED_HALF.holding({INT4})
    assert (raised.name, raised.min_opset, raised.base) == ("typed-half-21", 21, "typed-half")
    assert raised.raised(13) == raised


@pytest.mark.parametrize("op_type", ["MatMul", "Gemm"])
@pytest.mark.parametrize(
    ("stored_as", "block", "most"),
    [(formats.INT8, 32, 0.01), (formats.INT4, 16, 0.2), (formats.FLOAT8E4M3, 64, 0.05)],
    ids=lambda value: getattr(value, "name", str(value)),
)
def test_a_plug_in_brings_another_one_with_blocks_of_its_own(
    op_type: str,
    stored_as: NumberFormat,
    block: int,
    most: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = added(monkeypatch, "w", PrecisionSpec(5.5, Encoding.WEIGHT_ONLY, stored_as, "#123456"))
    graph, form = network(op_type, reduced=128), TYPED.raised(21)
    packed = TensorFormat(stored_as, granularity=PerBlock(block))
    row = OperatorFormats(Trait.NON_QUANTIZABLE, weights=packed)
    chosen = replace(BACKEND.scheme, formats={**BACKEND.scheme.formats, (op_type, own): row})
    assert own not in chosen.precisions
    space = group(graph, chosen, frozenset({FP32, own}), form=form)
    made = Lowering(graph, space, chosen, NO_SCALES, form).lower(space.uniform(own))
    proto = onnx.load_model_from_string(made.model)
    onnx.checker.check_model(proto, full_check=True)
    assert set(made.asked.values()) == {own}
    (weight,) = (t for t in proto.graph.initializer if t.data_type == stored_as.elem_type)
    assert tuple(weight.dims) == (128, 24)
    (read,) = (n for n in proto.graph.node if n.op_type == "DequantizeLinear")
    assert {a.name: a.i for a in read.attribute} == {"axis": 0, "block_size": block}
    flat = FlatProxy(LoweringContext(graph, space, chosen, NO_SCALES, form), space.uniform(own))
    exact = Lowering(graph, space, chosen, NO_SCALES, form).lower(Assignment())
    feed = {"in0": np.random.default_rng(0).normal(0, 1, (4, 128)).astype(np.float32)}
    found, emulated, wanted = (
        np.asarray(plain_session(model).run(None, feed)[0], np.float32)
        for model in (
            made.model,
            flat.with_outputs([o.name for o in graph.outputs]),
            exact.model,
        )
    )
    np.testing.assert_allclose(emulated, found, rtol=1e-5, atol=1e-5)
    assert 0 < np.linalg.norm(found - wanted) < most * np.linalg.norm(wanted)


def test_a_weight_format_that_no_backend_declares_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    row = PrecisionSpec(5.5, Encoding.WEIGHT_ONLY, formats.INT4, "#123456")
    own = added(monkeypatch, "w", row)
    graph = network()
    assert own not in group(graph, BACKEND.scheme, frozenset({FP32, own})).precisions
    key = next(g.key for g in spaced(graph).free)
    space = SearchSpace((LayerGroup(key, "matmul", (key,), (FP32, own)),))
    with pytest.raises(OptionError, match="cannot write w into a graph"):
        Lowering(graph, space, BACKEND.scheme, NO_SCALES).lower(Assignment.of({key: own}))


def test_weights_alone_are_written_in_blocks() -> None:
    with pytest.raises(TypeError, match="in blocks"):
        block_of(TensorFormat(formats.INT8))
