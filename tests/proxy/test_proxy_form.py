"""How a proxy is written: as one assignment alone would be, and so that it runs fast."""

from __future__ import annotations

from collections.abc import Iterable

import onnx
from hypothesis import given
from hypothesis import strategies as st

from precsearch.backend import TYPED, TYPED_HALF, GraphForm
from precsearch.onnxio.group import group
from precsearch.onnxio.layout import quantisable
from precsearch.onnxio.proxyflat import FlatProxy
from precsearch.onnxio.proxygraph import ProxyGraph
from precsearch.onnxio.scales import RangeScales, TensorRange
from precsearch.reference.proxy import Proxy
from precsearch.space import Precision
from tests.lowering.random_models import Model, feed_of
from tests.onnxio.small_graphs import fire_net, view
from tests.proxy.by_hand import plain_session
from tests.proxy.test_proxy_graph import (
    DECIDED,
    FEW,
    GRANULARITY,
    MODELS,
    SCHEME,
    drawn,
    prepared,
    relative,
    scales_of,
)


@FEW
@given(MODELS, GRANULARITY, st.sampled_from([TYPED, TYPED_HALF]), st.data())
def test_any_assignment_gives_what_it_gives_written_by_itself(
    model: Model, granularity: str, form: GraphForm, data: st.DataObject
) -> None:
    graph = prepared(model, form.min_opset)
    space = group(graph, DECIDED, frozenset(Precision), granularity)
    feed = feed_of(model)
    scales = scales_of(graph, space, [feed], DECIDED)
    made = ProxyGraph(graph, space, DECIDED, scales, form)
    proxy = Proxy(made.proxy, 1)
    for _ in range(2):
        assignment = drawn(data, space, set(Precision))
        flat = FlatProxy(graph, space, DECIDED, scales, assignment, form)
        names = [o.name for o in graph.outputs]
        session = plain_session(flat.with_outputs(names))
        wanted = session.run([flat.name(n) for n in names], feed)
        (found,) = proxy.run(made.request(assignment), [feed])
        for name, value in zip(names, wanted, strict=True):
            assert relative(found[name], value) < 1e-6


def test_a_constant_stands_in_the_one_branch_that_reads_it() -> None:
    """There ONNX Runtime packs it; two levels out it does not."""
    graph = view(fire_net())
    space = group(graph, SCHEME, frozenset(Precision))
    tensors = frozenset().union(*quantisable(graph, SCHEME, space).values())
    ranges = dict.fromkeys(tensors, TensorRange(-1.0, 1.0))
    made = ProxyGraph(graph, space, SCHEME, RangeScales(ranges, SCHEME)).proxy
    body = onnx.load_from_string(made.model).graph
    assert len(body.input) == len(graph.inputs) + 3
    outside = {w.name for w in body.initializer} - graph.weights.keys()
    assert outside == {f"{t}//place" for t in made.scaled}
    held: list[str] = []

    def look(nodes: Iterable[onnx.NodeProto]) -> None:
        for node in nodes:
            for inner in (a.g for a in node.attribute if a.type == onnx.AttributeProto.GRAPH):
                names = {w.name for w in inner.initializer}
                assert names <= {t for n in inner.node for t in n.input}
                held.extend(names)
                look(inner.node)

    look(body.node)
    assert len(held) == len(set(held)) > 0
