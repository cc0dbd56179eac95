"""The screening run reads every tensor once, as many at a time as the budget allows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from precsearch.core.errors import ModelError
from precsearch.core.precision import Precision
from precsearch.core.space import Assignment
from precsearch.graph.view import GraphView
from precsearch.grouping.group import group
from precsearch.hazards import collect as module
from precsearch.hazards import screened_tensors, softmax_axes
from precsearch.hazards.collect import Screening, screen
from precsearch.hazards.statistics import Tally
from precsearch.lowering.lower import Lowering
from precsearch.lowering.qdq.scales import RangeScales
from precsearch.reference.session import open_reference
from tests.emulation.by_hand import plain_session
from tests.graph.small_graphs import MODELS, SCHEME, transformer, view

Array = npt.NDArray[Any]


def screening(graph: GraphView) -> Screening:
    space = group(graph, SCHEME, frozenset({Precision.FP32, Precision.FP16}))
    plain = Lowering(graph, space, SCHEME, RangeScales({}, SCHEME)).lower(Assignment())
    return Screening(plain.model, "", screened_tensors(graph), softmax_axes(graph))


def feeds_of(graph: GraphView, count: int = 2) -> list[dict[str, Array]]:
    rng = np.random.default_rng(1)
    found = []
    for n in range(1, count + 1):
        feed: dict[str, Array] = {}
        for value in graph.inputs:
            kind = value.type.tensor_type
            shape = [d.dim_value or n for d in kind.shape.dim]
            dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
            feed[value.name] = np.asarray(rng.standard_normal(shape) * 2).astype(dtype)
        found.append(feed)
    return found


@pytest.mark.parametrize("name", sorted(MODELS.keys() - {"custom_op"}))
def test_screening_finds_what_exposing_all_tensors_shows(name: str) -> None:
    graph = view(MODELS[name]())
    asked, feeds = screening(graph), feeds_of(graph)
    found = screen(asked, feeds)
    proto = onnx.ModelProto.FromString(asked.model)
    del proto.graph.output[:]
    made = [t for t in asked.tensors if t in graph.producer]
    proto.graph.output.extend(onnx.ValueInfoProto(name=t) for t in made)
    session = plain_session(proto.SerializeToString())
    tallies = {t: Tally() for t in asked.tensors}
    for feed in feeds:
        for tensor in set(asked.tensors) & feed.keys():
            tallies[tensor].add(feed[tensor])
        for tensor, value in zip(made, session.run(made, feed), strict=True):
            tallies[tensor].add(value)
    assert found.tensors.keys() == tallies.keys()
    for tensor, tally in tallies.items():
        right, mine = tally.result(), found.tensors[tensor]
        assert right is not None
        assert mine.count == right.count
        for field in ("low", "high", "rms"):  # basic optimizations may fuse a rounding away
            scale = max(right.absmax, 1e-3)
            assert getattr(mine, field) == pytest.approx(getattr(right, field), abs=1e-4 * scale)


@settings(max_examples=5, deadline=None)
@given(st.integers(4_000, 60_000))
def test_the_budget_changes_nothing(budget: int) -> None:
    graph = view(transformer())
    asked, feeds = screening(graph), feeds_of(graph)
    whole, cut = screen(asked, feeds), screen(replace(asked, budget=budget), feeds)
    assert whole.tensors.keys() == cut.tensors.keys()
    for tensor, right in whole.tensors.items():
        assert cut.tensors[tensor].absmax == pytest.approx(right.absmax, rel=1e-5)
    assert cut.peaks == pytest.approx(whole.peaks, rel=1e-5)


def test_no_more_than_the_budget_is_read_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = view(transformer(blocks=2))
    feeds = feeds_of(graph)
    asked = replace(screening(graph), budget=20_000)
    largest = 4 * max(int(s.count) for s in screen(asked, feeds).tensors.values())
    read: list[int] = []
    opened = open_reference

    class Watched:
        def __init__(self, *args: Any) -> None:
            self.session = opened(*args)

        def get_inputs(self) -> Any:
            return self.session.get_inputs()

        def run(self, names: list[str] | None, feed: dict[str, Array]) -> list[Array]:
            values: list[Array] = self.session.run(names, feed)
            if names is not None:
                read.append(sum(v.nbytes for v in values))
            return values

    monkeypatch.setattr(module, "open_reference", Watched)
    screen(asked, feeds)
    assert len(read) > 4
    assert max(read) <= max(asked.budget, largest)


def test_rearranged_values_are_read_once() -> None:
    graph = view(transformer())
    tensors = screened_tensors(graph)
    moved = {n.outputs[0] for n in graph.nodes if n.is_op("Reshape", "Transpose")}
    assert moved
    assert moved.isdisjoint(tensors)
    floats = [t for t in graph.float_tensors() if t not in moved]
    assert list(tensors) == floats


def test_a_refusal_is_one_sentence() -> None:
    graph = view(transformer(mask=False))
    with pytest.raises(ModelError, match="screening failed"):
        screen(screening(graph), [{"in0": np.zeros((1, 6, 3), np.float32)}])
