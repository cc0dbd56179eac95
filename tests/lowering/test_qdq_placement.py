"""What TensorRT's scheme quantizes, around an Add above all, and what that computes."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from precsearch.backends.tensorrt.scheme import scheme
from precsearch.core.backend import TYPED, WEAK
from precsearch.core.precision import Precision
from precsearch.core.quantization import Quirk
from precsearch.core.space import Assignment, SearchSpace
from precsearch.graph.residual import residual
from precsearch.graph.view import GraphView
from precsearch.grouping.group import group
from precsearch.grouping.patterns.kinds import ADD_INPUT
from precsearch.lowering.lower import Lowering
from precsearch.lowering.qdq.layout import quantize_layout
from precsearch.lowering.qdq.placement import BRANCH_SUFFIX
from precsearch.lowering.qdq.reach import node_groups, quantizable
from precsearch.lowering.qdq.scales import RangeScales, TensorRange
from tests.graph.small_graphs import GraphBuilder, conv, residual_net, transformer, view
from tests.lowering.random_models import Model, conv_models, feed_of
from tests.lowering.test_random_models import ALL, FEW, MODELS, drawn, prepared
from tests.lowering.test_weak import SCHEME, in_ort, spaced

FP32, FP16, INT8 = Precision.FP32, Precision.FP16, Precision.INT8


def downsampling() -> tuple[GraphView, str, str]:
    """A residual block with a projection in the shortcut, which is the Add's first operand."""
    b = GraphBuilder()
    x = b.op("Relu", conv(b, b.input(["n", 3, 8, 8]), 3, 8))
    projection = conv(b, x, 8, 8)
    branch = conv(b, b.op("Relu", conv(b, x, 8, 8)), 8, 8)
    b.output(b.op("Add", projection, branch))
    return view(b.model()), projection, branch


def reads(graph: GraphView, space: SearchSpace, scales: RangeScales, a: Assignment) -> set[str]:
    """The inputs of the last Add that are quantized."""
    add = [n for n in graph.nodes if n.op_type == "Add"][-1]
    found = quantize_layout(graph, SCHEME, space, space.canonical(a), scales).reads
    return {add.inputs[s] for i, s in found if i == add.index}


def test_an_add_has_three_states() -> None:
    graph, projection, branch = downsampling()
    space, scales = spaced(graph)
    add = next(g for g in space.groups if g.kind == "add")
    decision = next(g for g in space.groups if g.kind == ADD_INPUT)
    assert decision.nodes == ()
    assert decision.choices == (FP32, INT8)
    assert space.neighbours[decision.key] == {add.key}
    active = {g.key: INT8 for g in space.free if not g.passive}
    states = {
        (): set(),
        (decision.key,): set(),
        (add.key,): {projection},
        (add.key, decision.key): {projection, branch},
    }
    for keys, wanted in states.items():
        assignment = Assignment.of({**active, **dict.fromkeys(keys, INT8)})
        assert reads(graph, space, scales, assignment) == wanted
    alone = Assignment.of({**active, decision.key: INT8})
    assert space.canonical(alone) == Assignment.of(active)
    assert space.canonical(Assignment.of({add.key: INT8, decision.key: INT8})) == Assignment()
    found = quantizable(graph, SCHEME, space)
    assert found[add.key] == {projection}
    assert found[decision.key] == {branch}


def test_no_output_of_an_add_is_quantized_for_its_own_sake() -> None:
    graph, *_ = downsampling()
    space, scales = spaced(graph)
    layout = quantize_layout(graph, SCHEME, space, space.uniform(INT8), scales)
    assert layout.replaced == frozenset()
    assert graph.nodes[-1].key not in layout.params


@pytest.mark.parametrize("swapped", [False, True])
def test_an_identity_is_the_shortcut(swapped: bool) -> None:
    b = GraphBuilder()
    x = b.op("Relu", conv(b, b.input(["n", 3, 8, 8]), 3, 8))
    branch = conv(b, b.op("Relu", conv(b, x, 8, 8)), 8, 8)
    b.output(b.op("Add", *([branch, x] if swapped else [x, branch])))
    graph = view(b.model())
    found = residual(graph.nodes[-1], graph)
    assert found is not None
    assert (found.branch, found.shortcut) == ((0, 1) if swapped else (1, 0))


def test_a_path_that_does_not_end_in_a_conv_is_not_a_branch() -> None:
    """Both inputs of such an Add are quantized: it runs on its own, and INT8 in is INT8 out."""
    b = GraphBuilder()
    x = conv(b, b.input(["n", 3, 8, 8]), 3, 8)
    left, right = b.op("Sigmoid", x), b.op("Tanh", x)
    b.output(conv(b, b.op("Add", left, right), 8, 8))
    graph = view(b.model())
    space, scales = spaced(graph)
    assert not [g for g in space.groups if g.kind == ADD_INPUT]
    assert reads(graph, space, scales, space.uniform(INT8)) == {left, right}


def test_a_conv_with_another_reader_is_not_a_branch() -> None:
    b = GraphBuilder()
    x = b.op("Relu", conv(b, b.input(["n", 3, 8, 8]), 3, 8))
    y = conv(b, x, 8, 8)
    b.output(b.op("Add", y, x))
    b.output(y)
    graph = view(b.model())
    assert residual(next(n for n in graph.nodes if n.op_type == "Add"), graph) is None


def test_a_transformers_add_quantizes_its_shortcut_and_has_no_second_decision() -> None:
    graph = view(transformer())
    space, scales = spaced(graph)
    assert not [g for g in space.groups if g.kind == ADD_INPUT]
    adds = [n for g in space.groups if g.kind == "add" for n in g.nodes]
    layout = quantize_layout(graph, SCHEME, space, space.uniform(INT8), scales)
    for key in adds:
        node = graph.by_key[key]
        (slot,) = [s for i, s in layout.reads if i == node.index]
        maker = graph.producer.get(node.inputs[slot])
        assert maker is None or maker.op_type == "Add"
        assert graph.producer[node.inputs[1 - slot]].inputs[0] != node.inputs[slot]


def test_masks_and_biases_stay_float() -> None:
    graph = view(transformer())
    space, scales = spaced(graph)
    layout = quantize_layout(graph, SCHEME, space, space.uniform(INT8), scales)
    core = next(g for g in space.groups if g.kind == "attention")
    for key in core.nodes:
        node = graph.by_key[key]
        slots = {s for i, s in layout.reads if i == node.index}
        assert slots == ({0, 1} if node.is_op("MatMul") else set())


def test_a_block_quantizes_the_shortcuts_within() -> None:
    graph = view(residual_net(4))
    space, scales = spaced(graph, "block")
    assert "block" in {g.kind for g in space.groups}
    layout = quantize_layout(graph, SCHEME, space, space.uniform(INT8), scales)
    for node in graph.nodes:
        if node.is_op("Add"):
            assert [s for i, s in layout.reads if i == node.index] == [1]


def test_a_concat_and_what_it_joins_share_one_symmetric_scale() -> None:
    """Whatever their signs are: a zero point that the Relu before would mind does not exist."""
    b = GraphBuilder()
    x = conv(b, b.input(["n", 3, 8, 8]), 3, 8)
    left, right = b.op("Relu", x), conv(b, x, 8, 8)
    joined = b.op("Concat", left, right, axis=1)
    b.output(conv(b, joined, 16, 8))
    graph = view(b.model())
    space = group(graph, SCHEME, ALL)
    ranges = {t: TensorRange(-1, 1) for g in quantizable(graph, SCHEME, space).values() for t in g}
    ranges |= {left: TensorRange(0, 2), right: TensorRange(-4, 1), joined: TensorRange(-4, 2)}
    scales = RangeScales(ranges, SCHEME)
    params = quantize_layout(graph, SCHEME, space, space.uniform(INT8), scales).params
    assert params[left] == params[right] == params[joined]
    assert params[joined].scale == np.float32(4) / np.float32(127)
    assert {p.zero_point for p in params.values()} == {0}


@pytest.mark.parametrize("name", ["both", "decided"])
def test_the_name_of_a_scheme_says_where_q_stands(name: str) -> None:
    assert (Quirk.ADD_INPUTS_DECIDED in scheme(name).quirks) is (name == "decided")
    assert len({scheme(n).name for n in ("both", "decided")}) == 2


def test_with_both_sides_quantized_an_add_is_an_ordinary_passive_operator() -> None:
    graph, projection, branch = downsampling()
    both = scheme("both")
    space = group(graph, both, ALL)
    assert not [g for g in space.groups if g.kind == ADD_INPUT]
    scales = RangeScales(
        dict.fromkeys((t for n in graph.nodes for t in n.outputs), TensorRange(-1, 1))
        | {"in0": TensorRange(-1, 1)},
        both,
    )
    layout = quantize_layout(graph, both, space, space.uniform(INT8), scales)
    assert {projection, branch, graph.nodes[-1].key} <= layout.params.keys()


@pytest.mark.parametrize("form", [WEAK, TYPED])
@FEW
@given(data=st.data())
def test_values_are_those_of_fake_quantization(form: object, data: st.DataObject) -> None:
    """Against a float graph in which the test rounds weights, and puts Q/DQ, on its own."""
    model = data.draw(conv_models())
    graph = prepared(model)
    space, scales = spaced(graph)
    assignment = drawn(data, space, frozenset({FP32, INT8}))
    lowering = Lowering(graph, space, SCHEME, scales, form)  # type: ignore[arg-type]
    feed = feed_of(model)
    wanted = in_ort(faked(graph, space, assignment).SerializeToString(), feed)
    for found, value in zip(in_ort(lowering.lower(assignment).model, feed), wanted, strict=True):
        np.testing.assert_allclose(found, value, rtol=1e-4, atol=1e-5)


def faked(graph: GraphView, space: SearchSpace, assignment: Assignment) -> onnx.ModelProto:
    """All tensors have one range here, so where a scale is shared makes no difference."""
    owners = {n: g.key for g in space.groups for n in g.nodes}
    nodes: list[onnx.NodeProto] = []
    weights = [
        numpy_helper.from_array(np.asarray(np.float32(5) / np.float32(127)), "step"),
        numpy_helper.from_array(np.asarray(0, np.int8), "origin"),
        *(onnx.TensorProto.FromString(w.proto_bytes) for w in graph.weights.values()),
    ]
    renamed: dict[str, str] = {}

    def fake(tensor: str) -> str:
        made = f"fake{len(nodes)}"
        nodes.append(helper.make_node("QuantizeLinear", [tensor, "step", "origin"], [f"{made}q"]))
        nodes.append(helper.make_node("DequantizeLinear", [f"{made}q", "step", "origin"], [made]))
        return made

    for node in graph.nodes:
        proto = onnx.NodeProto.FromString(node.proto.SerializeToString())
        inputs = [renamed.get(t, t) for t in node.inputs]
        int8 = assignment[owners[node.key]] is INT8
        if int8 and node.is_op("Conv", "Gemm"):
            weight = np.asarray(graph.weights[node.inputs[1]].array)
            axis = 1 if node.is_op("Gemm") and not node.int_attribute("transB", 0) else 0
            others = tuple(i for i in range(weight.ndim) if i != axis)
            step = np.max(np.abs(weight), axis=others, keepdims=True) / np.float32(127)
            name = f"rounded{len(weights)}"
            weights.append(numpy_helper.from_array(np.rint(weight / step) * step, name))
            inputs[:2] = [fake(inputs[0]), name]
        elif int8 and node.is_op("Concat", "GlobalAveragePool"):
            inputs = [fake(t) for t in inputs]
        elif int8 and node.is_op("Add"):
            split = residual(node, graph)
            whole = split is None or assignment[f"{node.key}//branch"] is INT8
            slots: tuple[int, ...] = (0, 1) if whole else (split.shortcut,)  # type: ignore[union-attr]
            if split is not None and split.op_type == "Conv":
                # TensorRT has no kernel for a quantized shortcut beside a convolution in float.
                slots = slots if assignment[owners[split.end]] is INT8 else ()
            inputs = [fake(t) if s in slots else t for s, t in enumerate(inputs)]
        proto.input[:] = inputs
        nodes.append(proto)
        if int8 and node.is_op("Concat", "GlobalAveragePool"):
            renamed[node.outputs[0]] = fake(node.outputs[0])
    outputs = list(graph.outputs)
    for value in [o for o in outputs if o.name in renamed]:
        nodes.append(helper.make_node("Identity", [renamed[value.name]], [f"{value.name}_out"]))
        outputs[outputs.index(value)] = helper.make_tensor_value_info(
            f"{value.name}_out", onnx.TensorProto.FLOAT, None
        )
    body = helper.make_graph(nodes, "faked", list(graph.inputs), outputs, weights)
    imports = [helper.make_opsetid("", graph.opsets[""])]
    return helper.make_model(body, opset_imports=imports, ir_version=8)


@FEW
@given(MODELS, st.data())
def test_every_state_is_a_trial_of_its_own(model: Model, data: st.DataObject) -> None:
    """Equal assignments give equal bytes; a branch has an effect beside an INT8 convolution."""
    graph = prepared(model)
    space, scales = spaced(graph)
    lowering = Lowering(graph, space, SCHEME, scales, WEAK)
    allowed = frozenset({FP32, INT8})
    first, second = drawn(data, space, allowed), drawn(data, space, allowed)
    same = lowering.lower(first).model == lowering.lower(second).model
    assert first != second or same
    branches = {g.key for g in space.groups if g.kind == ADD_INPUT}
    flipped = next((k for k in branches if first[k] is INT8), None)
    if flipped is not None:
        other = space.canonical(first.with_({flipped: FP32}))
        split = residual(graph.by_key[flipped.removesuffix(BRANCH_SUFFIX)], graph)
        assert split is not None
        beside = first[node_groups(space)[split.end]] is INT8
        changed = lowering.lower(other).model != lowering.lower(first).model
        assert changed is beside
