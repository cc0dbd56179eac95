import os
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto

from precsearch.core.errors import OptionError
from precsearch.core.precision import Precision
from precsearch.core.space import SearchSpace
from precsearch.graph.view import GraphView
from precsearch.grouping.group import GRANULARITIES, group
from tests.graph.small_graphs import MODELS, SCHEME, GraphBuilder, conv, transformer, view

FP32, FP16, INT8 = Precision.FP32, Precision.FP16, Precision.INT8
EVERY = frozenset({Precision.FP32, Precision.FP16, Precision.INT8})


def space_of(b: GraphBuilder, *outputs: str, granularity: str = "group") -> SearchSpace:
    for tensor in outputs:
        b.output(tensor)
    return group(view(b.model()), SCHEME, EVERY, granularity)


def check_partition(graph: GraphView, space: SearchSpace) -> None:
    """Every node once, keys by the rule, groups in topological order, edges sorted."""
    owner = {k: i for i, g in enumerate(space.groups) for k in g.nodes}
    assert sorted(owner) == sorted(n.key for n in graph.nodes)
    assert sum(len(g.nodes) for g in space.groups) == len(graph.nodes)
    for found in space.groups:
        order = [graph.by_key[k].index for k in found.nodes]
        assert order == sorted(order)
        assert found.key == found.nodes[-1]
    for node in graph.nodes:
        for tensor in (*node.inputs, *node.captures):
            source = graph.producer.get(tensor)
            assert source is None or owner[source.key] <= owner[node.key]
    assert list(space.edges) == sorted(set(space.edges))
    assert all(a < b for a, b in space.edges)


@pytest.mark.parametrize("granularity", GRANULARITIES)
@pytest.mark.parametrize("name", MODELS)
def test_every_node_is_in_one_group_and_groups_are_convex(name: str, granularity: str) -> None:
    graph = view(MODELS[name]())
    space = group(graph, SCHEME, EVERY, granularity)
    assert space.granularity == granularity
    check_partition(graph, space)


UNARY = ("Relu", "Sigmoid", "Erf", "Tanh", "Sqrt", "Softmax", "Identity", "Reciprocal")
BINARY = ("Add", "Mul", "MatMul", "Div", "Sub", "Pow")


@st.composite
def models(draw: st.DrawFn) -> onnx.ModelProto:
    """Random wiring of the operators that patterns are made of, with shapes from tensors."""
    b = GraphBuilder()
    tensors = [b.input([4, 4]), b.const(1.0), b.weight(4, 4)]
    for _ in range(draw(st.integers(1, 16))):
        pick = st.sampled_from(tensors[-8:])
        op_type = draw(st.sampled_from((*UNARY, *BINARY, "ReduceMean", "Reshape")))
        if op_type in UNARY:
            tensors.append(b.op(op_type, draw(pick)))
        elif op_type == "ReduceMean":
            tensors.append(b.op(op_type, draw(pick), axes=[-1], keepdims=1))
        elif op_type == "Reshape":
            shape = b.op("Concat", b.op("Shape", draw(pick)), axis=0)
            tensors.append(b.op(op_type, draw(pick), shape))
        else:
            tensors.append(b.op(op_type, draw(pick), draw(pick)))
    read = {t for node in b.nodes for t in node.input}
    for tensor in tensors[3:]:
        if tensor not in read:
            b.output(tensor)
    return b.model()


@settings(max_examples=60, deadline=None)
@given(models())
def test_any_wiring_of_these_operators_gives_convex_groups(model: onnx.ModelProto) -> None:
    graph = view(model)
    for granularity in GRANULARITIES:
        check_partition(graph, group(graph, SCHEME, EVERY, granularity))


def test_the_result_does_not_depend_on_the_hash_seed() -> None:
    here = Path(__file__).parent
    code = (
        "from tests.graph.small_graphs import *; from precsearch.grouping.group import *;"
        "from precsearch.core.space import Precision;"
        "s = [group(view(m()), SCHEME, frozenset(Precision)) for m in MODELS.values()];"
        "print([(x.digest, x.edges, [g.signature for g in x.groups]) for x in s])"
    )
    paths = os.pathsep.join([str(here), str(here.parents[1])])
    runs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": paths},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(runs) == 1


def test_unknown_granularity_names_the_known_ones() -> None:
    with pytest.raises(OptionError, match="node, group, block"):
        group(view(MODELS["gemm_head"]()), SCHEME, EVERY, "type")


# Choices.


def choices(space: SearchSpace) -> list[tuple[str, tuple[Precision, ...], bool]]:
    return [(g.kind, g.choices, g.passive) for g in space.groups]


def test_groups_of_a_residual_net_get_the_expected_choices() -> None:
    space = group(view(MODELS["residual_net"]()), SCHEME, EVERY)
    every = (FP32, FP16, INT8)
    assert choices(space)[:4] == [
        ("conv", every, False),
        ("conv", every, False),
        ("conv", every, False),
        ("add", every, True),
    ]
    assert choices(space)[-2:] == [("pool", every, True), ("gemm", every, False)]


@pytest.mark.parametrize(
    ("offered", "expected"),
    [({FP32, INT8}, (FP32, INT8)), ({FP16}, (FP32, FP16)), (set(), (FP32,))],
)
def test_only_what_the_backend_runs_is_offered(
    offered: set[Precision], expected: tuple[Precision, ...]
) -> None:
    space = group(view(MODELS["gemm_head"]()), SCHEME, frozenset(offered))
    assert {g.choices for g in space.groups} == {expected}


def test_norms_and_gelu_have_no_int8_form() -> None:
    space = group(view(transformer()), SCHEME, EVERY)
    for found in space.groups:
        if found.kind in ("layernorm", "gelu"):
            assert found.choices == (FP32, FP16)


def test_integer_nodes_subgraphs_and_unknown_operators_stay_in_fp32() -> None:
    for name, op_type in (("conditional", "If"), ("custom_op", "Mystery")):
        graph = view(MODELS[name]())
        space = group(graph, SCHEME, EVERY)
        alone = [g for g in space.groups if graph.by_key[g.key].op_type == op_type]
        assert [(g.kind, g.choices, len(g.nodes)) for g in alone] == [("node", (FP32,), 1)]
    b = GraphBuilder()
    size = b.op("Gather", b.op("Shape", b.input(["n", 4])), b.ints(0))
    b.output(size, TensorProto.INT64)
    assert {g.choices for g in space_of(b).groups} == {(FP32,)}


def test_a_single_node_may_be_int8_by_its_role_alone() -> None:
    b = GraphBuilder()
    x = b.op("Relu", conv(b, b.input([1, 3, 8, 8]), 3, 4))
    space = space_of(b, b.op("Add", x, b.op("MaxPool", x, kernel_shape=[1, 1])), granularity="node")
    assert choices(space) == [
        ("conv", (FP32, FP16, INT8), False),
        ("node", (FP32, FP16), False),
        ("layout", (FP32, FP16), False),
        ("add", (FP32, FP16, INT8), True),
    ]


def test_a_sum_with_a_constant_is_never_quantized() -> None:
    b = GraphBuilder()
    x = b.op("Add", b.input(["n", 6, 4]), b.weight(6, 4))
    assert choices(space_of(b, x)) == [("node", (FP32, FP16), False)]
