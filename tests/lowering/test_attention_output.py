"""An INT8 attention core writes INT8 where the engine then has one kernel for it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest

from precsearch.backends.tensorrt.scheme import scheme
from precsearch.core.precision import Precision
from precsearch.core.quantization import TYPED, TYPED_HALF, FusedAttention, GraphForm, QuantScheme
from precsearch.core.space import Assignment, SearchSpace
from precsearch.emulation.multiplexed import ProxyGraph
from precsearch.emulation.session import Proxy
from precsearch.emulation.single import FlatProxy
from precsearch.graph.attention import attention_cores
from precsearch.graph.view import GraphView
from precsearch.grouping.group import group
from precsearch.lowering.context import LoweringContext
from precsearch.lowering.lower import Lowered, Lowering
from precsearch.lowering.qdq.reach import quantizable
from precsearch.lowering.qdq.scales import FixedScales, RangeScales, TensorRange
from tests.backends.trt.stand_in.parser_rules import Rules
from tests.emulation.by_hand import plain_session
from tests.graph.attention_nets import COUNT, attention_net

FP16, INT8 = Precision.FP16, Precision.INT8
FUSED = scheme(attention=True)
OFFERED = frozenset({Precision.FP32, FP16, INT8})


def spaced(graph: GraphView, chosen: QuantScheme) -> tuple[SearchSpace, RangeScales]:
    space = group(graph, chosen, OFFERED)
    tensors = frozenset().union(*quantizable(graph, chosen, space).values())
    return space, RangeScales(dict.fromkeys(tensors, TensorRange(-4.0, 4.0)), chosen)


def core_in_int8(
    graph: GraphView,
    chosen: QuantScheme = FUSED,
    rest: Precision = FP16,
    form: GraphForm = TYPED_HALF,
) -> tuple[Lowered, Assignment]:
    space, scales = spaced(graph, chosen)
    asked = {g.key: INT8 if g.kind == "attention" else g.nearest(rest) for g in space.free}
    assignment = space.canonical(Assignment.of(asked))
    return Lowering(graph, space, chosen, scales, form).lower(assignment), assignment


def quantized(lowered: Lowered) -> set[str]:
    nodes = onnx.load_model_from_string(lowered.model).graph.node
    return {n.output[0].removesuffix("//q") for n in nodes if n.op_type == "QuantizeLinear"}


@pytest.mark.parametrize(
    ("size", "keys", "fits"),
    [(16, 6, True), (32, 512, True), (64, 6, True), (12, 6, False), (32, 513, False)],
)
@pytest.mark.parametrize("rest", [FP16, INT8])
def test_the_output_is_quantized_where_a_kernel_has_these_sizes(
    size: int, keys: int, fits: bool, rest: Precision
) -> None:
    graph = attention_net(size, 4, keys=keys)
    (last,) = attention_cores(graph)
    written = quantized(core_in_int8(graph, rest=rest)[0])
    assert (last in written) is fits
    plain = quantized(core_in_int8(graph, scheme(), rest)[0])
    assert last not in plain


def test_unknown_sizes_are_assumed_to_fit() -> None:
    graph = attention_net(32, 600)
    (core,) = attention_cores(graph).values()
    assert (core.head, core.keys) == (32, 600)
    open_ended = replace(graph, shapes={t: tuple(None for _ in s) for t, s in graph.shapes.items()})
    assert core.last.key in quantized(core_in_int8(open_ended)[0])


@pytest.mark.parametrize("rest", [FP16, INT8])
def test_the_projection_reads_the_same_integers(rest: Precision) -> None:
    """What reshapes the core's output carries it, scale included."""
    graph = attention_net(32, 6)
    lowered, assignment = core_in_int8(graph, rest=rest)
    (last,) = attention_cores(graph)
    after = [n.outputs[0] for n in graph.nodes if n.is_op("Transpose", "Reshape")][-2:]
    carried = quantized(lowered) & set(after)
    assert bool(carried) is (rest is INT8)
    assert {lowered.params[t] for t in carried} <= {lowered.params[last]}
    assert Rules(lowered.model, TYPED_HALF).broken() == []
    space, _ = spaced(graph, FUSED)
    again = Lowering(graph, space, FUSED, FixedScales(lowered.params), TYPED_HALF)
    assert again.lower(assignment).model == lowered.model


def test_emulations_have_the_values_of_the_lowered_model() -> None:
    graph = attention_net(16, 6)
    lowered, assignment = core_in_int8(graph, rest=INT8, form=TYPED)
    space, scales = spaced(graph, FUSED)
    x = np.random.default_rng(0).normal(size=(2, 6, 16 * COUNT)).astype(np.float32)
    feed, (output,) = {graph.inputs[0].name: x}, [o.name for o in graph.outputs]
    (wanted,) = plain_session(lowered.model).run(None, feed)
    flat = FlatProxy(LoweringContext(graph, space, FUSED, scales, TYPED), assignment)
    (alone,) = plain_session(flat.with_outputs([output])).run(None, feed)
    made = ProxyGraph(LoweringContext(graph, space, FUSED, scales, TYPED))
    (every,) = Proxy(made.proxy, 1).run(made.request(assignment), [feed])
    for found in (alone, every[output]):
        assert np.linalg.norm(found - wanted) <= 1e-5 * np.linalg.norm(wanted)


def test_a_kernel_names_its_sizes() -> None:
    kernel = FusedAttention(frozenset({16, 32}), (8, 64))
    assert kernel.takes(16, 8)
    assert kernel.takes(None, None)
    assert not kernel.takes(24, 8)
    assert not kernel.takes(16, 7)
    assert not kernel.takes(16, 65)
