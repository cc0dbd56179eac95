"""Lowered for TensorRT, models are valid ONNX, run in ONNX Runtime, and obey TensorRT's rules."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from precsearch.backends.tensorrt.scheme import scheme
from precsearch.core.backend import TYPED_HALF, WEAK, GraphForm
from precsearch.core.precision import Precision
from precsearch.graph.prepare import prepare
from precsearch.graph.reading.read import read_model
from precsearch.graph.view import GraphView
from precsearch.grouping.group import group
from precsearch.lowering.lower import Lowered, Lowering
from precsearch.lowering.qdq.reach import quantizable
from precsearch.lowering.qdq.scales import RangeScales, TensorRange
from tests.backends.trt.stand_in.parser_rules import Rules
from tests.graph.small_graphs import conv_net, fire_net, residual_net, transformer
from tests.lowering.random_models import Model, feed_of
from tests.lowering.test_random_models import ALL, FEW, MODELS, drawn, prepared, relative
from tests.lowering.test_weak import SCHEME, in_ort, spaced

FORMS = {"typed": TYPED_HALF, "weak": WEAK}
PROVEN = frozenset({Precision.FP32, Precision.FP16, Precision.INT8})
"""What ONNX Runtime computes, too; the others are judged by a real builder, in `rtx`."""
NETS: dict[str, Callable[[], onnx.ModelProto]] = {
    "conv": conv_net,
    "residual": residual_net,
    "fire": fire_net,
    "transformer": lambda: transformer(2),
}


@FEW
@given(MODELS, st.sampled_from(sorted(FORMS)), st.sampled_from(["node", "group"]), st.data())
def test_any_assignment_of_any_model_obeys_tensorrts_rules(
    model: Model, form: str, granularity: str, data: st.DataObject
) -> None:
    graph = prepared(model, FORMS[form].min_opset)
    space, scales = spaced(graph, granularity)
    assignment = drawn(data, space, PROVEN)
    lowered = Lowering(graph, space, SCHEME, scales, FORMS[form]).lower(assignment)
    onnx.checker.check_model(onnx.load_model_from_string(lowered.model), full_check=True)
    assert Rules(lowered.model, FORMS[form]).broken() == []
    feed = feed_of(model)
    for found, wanted in zip(in_ort(lowered.model, feed), in_ort(model.data, feed), strict=True):
        assert found.dtype == wanted.dtype
        assert relative(found, wanted) < 0.9


def netted(
    folder: Path, name: str, form: GraphForm, precision: Precision, peak: float
) -> tuple[GraphView, Lowered]:
    """A small network, all of it asked for one precision."""
    path = folder / f"{name}.onnx"
    onnx.save(NETS[name](), path)
    graph = prepare(read_model(path), form.min_opset)
    chosen = scheme()
    space = group(graph, chosen, ALL, "group")
    tensors = frozenset().union(*quantizable(graph, chosen, space).values())
    scales = RangeScales({t: TensorRange(-peak, peak) for t in tensors}, chosen)
    lowering = Lowering(graph, space, chosen, scales, form)
    return graph, lowering.lower(space.canonical(space.uniform(precision)))


def net(folder: Path, name: str, form: GraphForm, precision: Precision, peak: float) -> bytes:
    """The same, serialized."""
    return netted(folder, name, form, precision, peak)[1].model


@pytest.mark.parametrize("peak", [4.0, 6e4])
@pytest.mark.parametrize("precision", sorted(PROVEN))
@pytest.mark.parametrize("form", sorted(FORMS))
@pytest.mark.parametrize("name", sorted(NETS))
def test_small_networks_obey_them(
    name: str, form: str, precision: Precision, peak: float, tmp_path: Path
) -> None:
    model = net(tmp_path, name, FORMS[form], precision, peak)
    onnx.checker.check_model(onnx.load_model_from_string(model), full_check=True)
    assert Rules(model, FORMS[form]).broken() == []
    kinds = {n.op_type for n in onnx.load_model_from_string(model).graph.node}
    assert ("DequantizeLinear" in kinds) == (precision is Precision.INT8)


@pytest.mark.parametrize("name", sorted(NETS))
def test_products_read_scales_that_fp16_lacks_in_fp32_and_without_a_cast(
    name: str, tmp_path: Path
) -> None:
    """Tensors within 0.0077 of zero. What is no product reads them through a Cast."""
    model = net(tmp_path, name, TYPED_HALF, Precision.INT8, 1e-4)
    onnx.checker.check_model(onnx.load_model_from_string(model), full_check=True)
    slow = [line for line in Rules(model, TYPED_HALF).broken() if "Cast after Deq" not in line]
    assert slow == []
    assert operand_scales(model)
    assert all(len(types) == 1 for types in operand_scales(model).values())
    assert Rules(net(tmp_path, name, WEAK, Precision.INT8, 1e-4), WEAK).broken() == []


def operand_scales(model: bytes) -> dict[str, set[int]]:
    """Name of each INT8 product → types of the scales that its operands are dequantized with."""
    graph = onnx.load_model_from_string(model).graph
    made = {o: n for n in graph.node for o in n.output}
    types = {t.name: t.data_type for t in graph.initializer}
    found: dict[str, set[int]] = {}
    for node in graph.node:
        makers = [made[t] for t in node.input[:2] if t in made]
        product = node.op_type in ("Conv", "Gemm", "MatMul") and len(makers) == 2
        if product and all(m.op_type == "DequantizeLinear" for m in makers):
            found[node.name] = {types[m.input[1]] for m in makers}
    return found


@FEW
@given(MODELS, st.data())
def test_both_operands_of_a_product_have_scales_of_one_type(
    model: Model, data: st.DataObject
) -> None:
    """TensorRT cannot build a MatMul of rank 3 otherwise ("type mismatch between matmul …")."""
    graph = prepared(model, TYPED_HALF.min_opset)
    space, _ = spaced(graph)
    tensors = sorted(frozenset().union(*quantizable(graph, SCHEME, space).values()))
    peaks = {t: 10.0 ** data.draw(st.integers(-6, 5)) for t in tensors}
    scales = RangeScales({t: TensorRange(-p, p) for t, p in peaks.items()}, SCHEME)
    lowered = Lowering(graph, space, SCHEME, scales, TYPED_HALF).lower(drawn(data, space, ALL))
    assert all(len(types) == 1 for types in operand_scales(lowered.model).values())


def spoiled(edit: Callable[[onnx.GraphProto], object], folder: Path) -> list[str]:
    """What the rules say of an INT8 network after an edit."""
    model = onnx.load_model_from_string(net(folder, "conv", TYPED_HALF, Precision.INT8, 4.0))
    edit(model.graph)
    return Rules(model.SerializeToString(), TYPED_HALF).broken()


def test_a_graph_without_an_edit_breaks_no_rule(tmp_path: Path) -> None:
    assert spoiled(lambda graph: None, tmp_path) == []


def replaced(tensor: onnx.TensorProto, value: float) -> None:
    old = numpy_helper.to_array(tensor)
    tensor.CopyFrom(numpy_helper.from_array(np.full_like(old, value), tensor.name))


def zero_point_of_one(graph: onnx.GraphProto) -> None:
    names = {n.input[2] for n in graph.node if n.op_type == "QuantizeLinear"}
    for tensor in graph.initializer:
        if tensor.name in names:
            replaced(tensor, 1)


def no_zero_point(graph: onnx.GraphProto) -> None:
    for node in graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear") and "//q" in node.input[0]:
            del node.input[2]
        if node.op_type == "QuantizeLinear":
            del node.input[2]


def subnormal_scale(graph: onnx.GraphProto) -> None:
    names = {n.input[1] for n in graph.node if n.op_type == "DequantizeLinear"}
    for tensor in graph.initializer:
        if tensor.name in names and tensor.data_type == TensorProto.FLOAT16:
            replaced(tensor, 1e-6)


def wrong_axis(graph: onnx.GraphProto) -> None:
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.name == "axis" and node.op_type == "DequantizeLinear":
                attribute.i = 1 - attribute.i


def cast_after_dq(graph: onnx.GraphProto) -> None:
    node = next(n for n in graph.node if n.op_type == "Conv")
    cast = helper.make_node("Cast", [node.input[0]], ["new"], "cast", to=TensorProto.FLOAT16)
    node.input[0] = "new"
    rest = list(graph.node)
    place = next(i for i, n in enumerate(rest) if n is not None and "new" in n.input)
    del graph.node[:]
    graph.node.extend([*rest[:place], cast, *rest[place:]])


def nameless(graph: onnx.GraphProto) -> None:
    graph.node[0].name = ""


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (zero_point_of_one, "not a symmetric INT8 one"),
        (no_zero_point, "has no zero point"),
        (subnormal_scale, "is too small"),
        (wrong_axis, "quantized along axis"),
        (cast_after_dq, "a Cast after DequantizeLinear"),
        (nameless, "without a name"),
    ],
)
def test_a_graph_that_breaks_a_rule_is_noticed(
    edit: Callable[[onnx.GraphProto], object], said: str, tmp_path: Path
) -> None:
    assert any(said in line for line in spoiled(edit, tmp_path))


def test_types_are_not_trusted_where_they_are_not_obeyed(tmp_path: Path) -> None:
    typed = net(tmp_path, "conv", TYPED_HALF, Precision.FP16, 4.0)
    assert any("not obeyed" in line for line in Rules(typed, WEAK).broken())


@pytest.mark.parametrize("form", sorted(FORMS))
@pytest.mark.parametrize("name", ["residual", "fire"])
def test_layers_that_stay_quantized_are_asked_for_int8(
    name: str, form: str, tmp_path: Path
) -> None:
    """An Add or Concat that carries INT8 on, and not FP16, as other nodes of its group are."""
    graph, lowered = netted(tmp_path, name, FORMS[form], Precision.INT8, 4.0)
    kept = [n.key for n in graph.nodes if n.is_op("Add", "Concat")]
    assert kept
    assert {lowered.asked.get(key) for key in kept} == {Precision.INT8}
