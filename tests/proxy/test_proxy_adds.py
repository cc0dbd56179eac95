"""A residual Add in a proxy: its INT8 depends on its branch and on its convolution."""

from __future__ import annotations

from typing import Any

import numpy as np

from precsearch.backends.tensorrt.scheme import scheme
from precsearch.onnxio.group import group
from precsearch.onnxio.lower import Lowering
from precsearch.onnxio.proxyflat import FlatProxy
from precsearch.onnxio.proxygraph import ProxyGraph
from precsearch.reference.proxy import Proxy
from precsearch.space import Assignment, Precision
from tests.onnxio.small_graphs import residual_net, view
from tests.proxy.by_hand import Arrays, plain_session, scales_of

FP32, INT8 = Precision.FP32, Precision.INT8
DECIDED = scheme()


def test_the_branch_of_a_residual_add_is_quantised_only_if_asked() -> None:
    graph = view(residual_net())
    space = group(graph, DECIDED, frozenset({FP32, INT8}))
    branch = next(g for g in space.groups if not g.nodes)
    rng = np.random.default_rng(0)
    shape = [d.dim_value or 1 for d in graph.inputs[0].type.tensor_type.shape.dim]
    feed: Arrays = {graph.inputs[0].name: rng.normal(0, 1, shape).astype(np.float32)}
    scales = scales_of(graph, space, [feed], DECIDED)
    made = ProxyGraph(graph, space, DECIDED, scales)
    lowering = Lowering(graph, space, DECIDED, scales)
    proxy = Proxy(made.proxy, 1)
    outputs: list[Any] = []
    for assignment in (space.uniform(INT8), space.uniform(INT8).with_({branch.key: FP32})):
        (found,) = proxy.run(made.request(assignment), [feed])
        outputs.append(found[graph.outputs[0].name])
        (wanted, *_) = plain_session(lowering.lower(assignment).model).run(None, feed)
        np.testing.assert_allclose(outputs[-1], wanted, rtol=1e-3, atol=1e-4)
    first, second = outputs
    assert not np.array_equal(first, second)


def test_a_shortcut_is_quantised_only_beside_an_int8_convolution() -> None:
    graph = view(residual_net())
    space = group(graph, DECIDED, frozenset({FP32, INT8}))
    rng = np.random.default_rng(0)
    shape = [d.dim_value or 1 for d in graph.inputs[0].type.tensor_type.shape.dim]
    feed: Arrays = {graph.inputs[0].name: rng.normal(0, 1, shape).astype(np.float32)}
    scales = scales_of(graph, space, [feed], DECIDED)
    made = ProxyGraph(graph, space, DECIDED, scales)
    lowering = Lowering(graph, space, DECIDED, scales)
    proxy = Proxy(made.proxy, 1)
    adds = [g.key for g in space.free if g.kind in ("add", "add-branch")]
    convolutions = [g.key for g in space.free if g.kind == "conv"]
    assert adds
    alone = space.canonical(Assignment.of(dict.fromkeys(adds, INT8)))
    without = [space.uniform(INT8).with_({key: FP32}) for key in convolutions]
    output = graph.outputs[0].name
    for assignment in (alone, *map(space.canonical, without)):
        found: Any = proxy.run(made.request(assignment), [feed])[0]
        wanted: Any = plain_session(lowering.lower(assignment).model).run(None, feed)[0]
        np.testing.assert_allclose(found[output], wanted, rtol=1e-3, atol=1e-4)
        flat = FlatProxy(graph, space, DECIDED, scales, assignment)
        emulated: Any = plain_session(flat.with_outputs([output])).run(None, feed)[0]
        np.testing.assert_allclose(emulated, wanted, rtol=1e-3, atol=1e-4)
    plain: Any = plain_session(lowering.lower(Assignment()).model).run(None, feed)[0]
    untouched: Any = proxy.run(made.request(alone), [feed])[0]
    np.testing.assert_allclose(untouched[output], plain, rtol=1e-6, atol=1e-7)
