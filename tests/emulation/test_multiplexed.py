"""One session gives for any assignment what a model of its own would give."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from precsearch.core.backend import TYPED, TYPED_HALF, GraphForm, QuantScheme
from precsearch.core.errors import BuildError, ModelError, OptionError, RunError
from precsearch.core.formats import NumberFormat
from precsearch.core.precision import Precision
from precsearch.core.space import Assignment, LayerGroup, SearchSpace
from precsearch.data import input_specs, load
from precsearch.emulation.multiplexed import ProxyGraph, ProxyRequest
from precsearch.emulation.session import Proxy
from precsearch.graph.prepare import prepare
from precsearch.graph.reading.read import read_model
from precsearch.grouping.group import group
from precsearch.lowering.context import LoweringContext
from precsearch.lowering.lower import Lowering
from precsearch.lowering.qdq.reach import node_groups, quantizable
from precsearch.lowering.qdq.scales import RangeScales, TensorRange
from tests.emulation.by_hand import SCHEME, Arrays, plain_session, run_by_hand, scales_of
from tests.emulation.written import (
    DECIDED,
    FEW,
    GRANULARITY,
    MODELS,
    drawn,
    prepared,
    relative,
    written,
    written_half,
)
from tests.graph.small_graphs import GraphBuilder, conditional, fire_net, view
from tests.lowering.random_models import Model, feed_of
from tests.odd.models.odd_models import MODELS as ODD
from tests.odd.test_odd_models import assignments, saved

FP32, BF16 = Precision.FP32, Precision.BF16
FP16, INT8 = Precision.FP16, Precision.INT8


def nodes_at(space: SearchSpace, assignment: Assignment) -> dict[str, NumberFormat]:
    return {n: assignment[key].spec.format for n, key in node_groups(space).items()}


@FEW
@given(MODELS, GRANULARITY, st.sampled_from([1.0, 300.0, 1e-4]), st.data())
def test_a_float_is_the_rounding_of_every_stored_tensor_by_numpy_or_ml_dtypes(
    model: Model, granularity: str, spread: float, data: st.DataObject
) -> None:
    graph = prepared(model, 13)
    space = group(graph, SCHEME, frozenset({FP32, BF16, FP16}), granularity)
    on = written(graph, space)
    feed = {"x": feed_of(model)["x"] * np.float32(spread)}
    for _ in range(2):
        assignment = drawn(data, space, {FP32, BF16, FP16})
        wanted = run_by_hand(graph, feed, nodes_at(space, assignment))
        (found,) = on.run(assignment, [feed])
        for name, value in wanted.items():
            np.testing.assert_array_equal(found[name], value)


@FEW
@given(
    MODELS,
    GRANULARITY,
    st.sampled_from([TYPED, TYPED_HALF]),
    st.sampled_from([SCHEME, DECIDED]),
    st.data(),
)
def test_any_assignment_gives_what_its_lowered_model_gives(
    model: Model, granularity: str, form: GraphForm, scheme: QuantScheme, data: st.DataObject
) -> None:
    graph = prepared(model, form.min_opset)
    space = group(graph, scheme, frozenset(Precision), granularity)
    feeds = [feed_of(model, seed) for seed in range(3)]
    on = written(graph, space, feeds, scheme, form, lanes=2)
    assignment = drawn(data, space, {FP32, INT8})
    both = zip(on.run(assignment, feeds), on.run_lowered(assignment, feeds), strict=True)
    off = [max(relative(found[n], wanted[n]) for n in on.names) for found, wanted in both]
    # ONNX Runtime computes FP16 nodes in FP32 without rounding, which can move a value across the
    # edge of an INT8 step, and much with it: there, most samples have to agree. To the bit, it is
    # compared with `FlatProxy` in `test_proxy_form`.
    assert sorted(off)[1] < 3e-2 if form is TYPED_HALF else max(off) < 3e-3


@FEW
@given(MODELS, st.sampled_from([TYPED, TYPED_HALF]), st.data())
def test_weights_computed_at_every_run_are_those_that_are_kept(
    model: Model, form: GraphForm, data: st.DataObject
) -> None:
    graph = prepared(model, form.min_opset)
    space = group(graph, SCHEME, frozenset(Precision))
    feed = feed_of(model)
    kept = written(graph, space, [feed], form=form)
    computed = written(graph, space, [feed], form=form, budget=0)
    float_bytes = sum(4 * w.size for w in graph.weights.values() if w.elem_type == 1)
    # A byte a value for INT8 and its scales; of such small weights these are most.
    assert computed.made.proxy.added_bytes <= float_bytes / 2 + 64
    assignment = drawn(data, space, set(Precision))
    (wanted,) = kept.run(assignment, [feed])
    (found,) = computed.run(assignment, [feed])
    for name, value in wanted.items():
        assert relative(found[name], value) < 1e-6


NOT_BY_HAND = {"sequence of tensors inside", "sequence as output", "an FP16 layer inside"}
"""A sequence cannot be put into a model of its own without its type; and ONNX Runtime does not
round what the model itself stores in FP16."""


@pytest.mark.parametrize("name", sorted(ODD.keys() - {"random numbers inside"}))
def test_odd_models_are_emulated_in_every_precision(name: str, tmp_path: Path) -> None:
    graph = prepare(read_model(saved(ODD[name], tmp_path)), 13)
    space = group(graph, SCHEME, frozenset(Precision))
    data = load(
        None,
        input_specs(graph.inputs),
        batch=1,
        shapes={},
        seed=0,
        outputs=tuple(o.name for o in graph.outputs),
    )
    feed = dict(data.feeds[0])
    tensors = quantizable(graph, SCHEME, space)
    ranges = scales_of(graph, space, [feed])
    able = frozenset(k for k, ts in tensors.items() if finite(ranges, ts))
    lowering = Lowering(graph, space, SCHEME, ranges)
    made = ProxyGraph(LoweringContext(graph, pruned(space, able), SCHEME, ranges))
    proxy = Proxy(made.proxy, 1)
    for assignment in assignments(space, able):
        (found,) = proxy.run(made.request(assignment), [feed])
        if assignment.keys_at(FP16) or assignment.keys_at(BF16):
            if not assignment.keys_at(INT8) and name not in NOT_BY_HAND:
                half = nodes_at(space, assignment)
                for output, value in run_by_hand(graph, feed, half).items():
                    np.testing.assert_array_equal(found[output], value)
            continue
        lowered = plain_session(lowering.lower(assignment).model)
        wanted = dict(zip([o.name for o in graph.outputs], lowered.run(None, feed), strict=True))
        for output, value in wanted.items():
            same(found[output], value)


def finite(scales: RangeScales, tensors: frozenset[str]) -> bool:
    try:
        scales.assign(tensors, ())
    except ModelError:
        return False
    return True


def same(found: Any, wanted: Any) -> None:
    if isinstance(wanted, list):
        assert len(found) == len(wanted)
        for one, other in zip(found, wanted, strict=True):
            same(one, other)
        return
    assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
    if wanted.dtype.kind == "f":
        np.testing.assert_allclose(found, wanted, rtol=2e-2, atol=2e-2, equal_nan=True)
    else:
        np.testing.assert_array_equal(found, wanted)


def pruned(space: SearchSpace, able: frozenset[str]) -> SearchSpace:
    return replace(
        space,
        groups=tuple(
            g if g.key in able else replace(g, choices=tuple(c for c in g.choices if c is not INT8))
            for g in space.groups
        ),
    )


def test_a_subgraph_in_a_branch_reads_tensors_of_its_own_group() -> None:
    graph = view(conditional())
    whole = LayerGroup(graph.nodes[-1].key, "all", tuple(n.key for n in graph.nodes), (FP32, FP16))
    space = SearchSpace((whole,))
    on = written(graph, space)
    rows = np.random.default_rng(0).normal(0, 1, (3, 8)).astype(np.float32)
    for flag in (True, False):
        feed: Arrays = {"in0": rows, "flag": np.asarray(flag)}
        for assignment in (Assignment(), space.uniform(FP16)):
            half = nodes_at(space, assignment)
            (found,) = on.run(assignment, [feed])
            for output, value in run_by_hand(graph, feed, half).items():
                np.testing.assert_array_equal(found[output], value)


def test_a_group_without_a_reader_has_no_choice() -> None:
    b = GraphBuilder()
    x = b.input(["n", 4])
    b.output(b.op("Relu", x))
    unread = b.op("Sigmoid", x)
    graph = view(b.model())
    on = written_half(graph)
    assert unread not in {key for key, _ in on.made.proxy.flags}
    feed: Arrays = {"in0": np.ones((1, 4), np.float32)}
    assert on.run(Assignment(), [feed])


def test_what_a_concat_shares_depends_on_the_assignment() -> None:
    """Its inputs have one scale where it is quantized, and each its own elsewhere."""
    graph = view(fire_net())
    space = group(graph, SCHEME, frozenset({FP32, INT8}))
    tensors = sorted(frozenset().union(*quantizable(graph, SCHEME, space).values()))
    ranges = {t: TensorRange(0.0, 1.0 + i) for i, t in enumerate(tensors)}
    made = ProxyGraph(LoweringContext(graph, space, SCHEME, RangeScales(ranges, SCHEME)))
    concat = next(g for g in space.free if g.kind == "concat")
    node = graph.by_key[concat.nodes[0]]
    whole = space.uniform(INT8)
    alone = whole.with_({concat.key: FP32})
    at = [made.proxy.scaled.index(t) for t in node.inputs]
    shared = {made.request(whole).scales[i] for i in at}
    apart = {made.request(alone).scales[i] for i in at}
    assert len(shared) == 1 < len(apart) == len(node.inputs)


def test_an_assignment_outside_of_the_space_is_refused() -> None:
    made = written_half(view(conditional())).made
    with pytest.raises(OptionError):
        made.request(Assignment.of({made.space.free[0].key: INT8}))


def test_a_tensor_without_a_scale_is_reported_when_the_proxy_is_built() -> None:
    graph = view(conditional())
    space = group(graph, SCHEME, frozenset(Precision))
    with pytest.raises(ModelError, match="was not calibrated"):
        ProxyGraph(LoweringContext(graph, space, SCHEME, RangeScales({}, SCHEME)))


def test_a_refusal_of_onnx_runtime_is_a_failed_build() -> None:
    made = written_half(view(conditional())).made.proxy
    with pytest.raises(BuildError, match="the proxy does not open"):
        Proxy(replace(made, model=made.model[: len(made.model) // 2]), 1)
    with pytest.raises(RunError):
        Proxy(made, 1).run(ProxyRequest((False,) * len(made.flags), (), ()), [{}])


def test_feeds_side_by_side_come_back_in_order() -> None:
    on = written_half(view(conditional()))
    rng = np.random.default_rng(0)
    feeds: list[Arrays] = [
        {"in0": rng.normal(0, 1, (n, 8)).astype(np.float32), "flag": np.asarray(n % 2 == 0)}
        for n in (1, 2, 3, 4, 5, 6, 7)
    ]
    half = on.made.space.uniform(FP16)
    one = on.run(half, feeds)
    three = written_half(on.made.graph, lanes=3).run(half, feeds)
    for a, b in zip(one, three, strict=True):
        assert a.keys() == b.keys()
        for name in a:
            np.testing.assert_array_equal(a[name], b[name])
