"""Every member of `Precision` goes all the way; one that is added fails here until it does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from precsearch.backends.fake import FakeBackend
from precsearch.backends.onnxruntime.backend import OnnxRuntimeBackend
from precsearch.backends.tensorrt.backend import TensorRtBackend
from precsearch.core.backend import TYPED, TYPED_HALF, WEAK, BackendOptions, GraphForm
from precsearch.core.errors import OptionError
from precsearch.core.formats import INT4
from precsearch.core.precision import Encoding, Precision, PrecisionSpec
from precsearch.core.problem import Bound, Goal, Prior, Problem
from precsearch.core.space import Assignment, LayerGroup, SearchSpace
from precsearch.emulation.multiplexed import ProxyGraph
from precsearch.emulation.single import FlatProxy
from precsearch.lowering.context import LoweringContext
from precsearch.lowering.lower import Lowering
from precsearch.optimization.stages.select import counts
from precsearch.report.trial_facts import in_words
from precsearch_strategies.uniform import tolerated
from tests.core import carried
from tests.core.added import added
from tests.lowering.golden import SCHEME

FP32, BF16, FP16 = Precision.FP32, Precision.BF16, Precision.FP16
FP8, INT8 = Precision.FP8, Precision.INT8
INT3 = PrecisionSpec(5.5, Encoding.WEIGHT_ONLY, INT4, "#112233")
Stage = Callable[[Precision], None]


@pytest.mark.parametrize("precision", list(Precision), ids=str)
@pytest.mark.parametrize("stage", carried.STAGES, ids=lambda stage: stage.__name__)
def test_a_precision_goes_through_each_stage(stage: Stage, precision: Precision) -> None:
    stage(precision)


def test_an_added_member_without_a_row_goes_through_no_stage(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    int3 = added(monkeypatch, "int3")
    for stage in carried.STAGES:
        with pytest.raises((KeyError, OptionError)):
            stage(int3)


@pytest.mark.parametrize(
    "stage", [carried.is_lowered, carried.is_simulated], ids=["lowered", "simulated"]
)
def test_an_added_member_with_a_row_and_without_a_lowering_is_refused_by_name(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage(added(monkeypatch, "int3", INT3))


def test_lists_counts_and_charts_of_precisions_take_an_added_row(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    int3 = added(monkeypatch, "int3", INT3)
    for stage in (carried.has_a_row, carried.is_reported, carried.has_words, carried.has_a_colour):
        stage(int3)
    assert in_words(Assignment.of({"a": int3, "b": INT8}), {}) == "int3: a; int8: b"


@pytest.mark.parametrize("form", [TYPED, TYPED_HALF, WEAK], ids=lambda form: form.name)
@pytest.mark.parametrize("precision", [Precision.FP8], ids=str)
def test_a_group_that_no_graph_can_hold_is_named_with_its_precision(
    precision: Precision, form: GraphForm
) -> None:
    graph, _, scales = carried.model()
    space = carried.space_with(precision)
    group = space.free[0].key
    asked = Assignment.of({group: precision})
    said = f"group {group!r}: precsearch cannot write {precision}"
    with pytest.raises(OptionError, match=said):
        Lowering(graph, space, SCHEME, scales, form).lower(asked)
    with pytest.raises(OptionError, match=said):
        FlatProxy(LoweringContext(graph, space, SCHEME, scales, form), asked)
    with pytest.raises(OptionError, match=said):
        ProxyGraph(LoweringContext(graph, space, SCHEME, scales, form))


def test_a_backend_runs_the_precisions_that_it_names() -> None:
    proven = frozenset({FP32, FP16, INT8})
    assert FakeBackend(BackendOptions()).precisions == proven
    tensorrt, cpu = TensorRtBackend(BackendOptions()), OnnxRuntimeBackend(BackendOptions())
    assert tensorrt.precisions == proven | {BF16, FP8, Precision.INT4}
    assert tensorrt.facts.offered == proven
    assert cpu.precisions == {FP32, INT8, Precision.INT4}
    assert cpu.facts.offered == {FP32, INT8}


def test_precisions_of_one_width_are_in_the_order_of_their_ranks() -> None:
    groups = (
        LayerGroup("a", "conv", ("a",), (FP32, FP8)),
        LayerGroup("b", "conv", ("b",), (FP32, BF16, FP16, INT8)),
    )
    space = SearchSpace(groups)
    assert space.precisions == (FP32, BF16, FP16, FP8, INT8)
    assert space.uniform(FP16) == Assignment.of({"b": FP16})
    assert space.uniform(BF16) == Assignment.of({"b": BF16})
    assert space.uniform(INT8) == Assignment.of({"a": FP8, "b": INT8})
    problem = Problem(space, Goal(Bound(1e-2)), priors=(Prior("b", FP16, True, "overflows"),))
    assert tolerated(problem, FP16) == Assignment.of({"b": BF16})
    assert tolerated(problem, BF16) == Assignment.of({"b": BF16})
    assert problem.uniforms == {
        Assignment.of({"b": BF16}): BF16,
        Assignment.of({"b": FP16}): FP16,
        Assignment.of({"a": FP8, "b": BF16}): FP8,
        Assignment.of({"a": FP8, "b": FP16}): FP8,
        Assignment.of({"a": FP8, "b": INT8}): INT8,
    }, "each once, under the highest precision that it is the uniform engine of"


def test_a_group_that_ran_in_another_precision_than_it_was_asked_for_is_counted_in_it() -> None:
    asked = Assignment.of({"a": BF16, "b": INT8})
    assert counts(carried.choice(asked, {"a": BF16, "b": BF16}), asked) == {"bf16": 2}


@given(st.sets(st.sampled_from(list(Precision)), min_size=1), st.sampled_from(list(Precision)))
def test_the_nearest_choice_is_never_less_precise_than_what_is_asked(
    offered: set[Precision], asked: Precision
) -> None:
    choices = tuple(sorted(offered | {FP32}, key=lambda p: p.rank))
    nearest = LayerGroup("a", "conv", ("a",), choices).nearest(asked)
    between = [c for c in choices if nearest.rank < c.rank <= asked.rank]
    assert nearest.rank <= asked.rank
    assert between == []


class Declared:
    """An entry point."""

    def __init__(self, name: str, spec: object) -> None:
        self.name, self.value, self._spec = name, f"plugin:{name}", spec

    def load(self) -> object:
        return self._spec


@pytest.mark.parametrize(
    ("spec", "said"),
    [("no row", "is no PrecisionSpec"), (replace(INT3, rank=2), "is another's, too")],
)
def test_a_plug_in_that_declares_no_row_or_a_taken_rank_is_refused(
    spec: object, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def declared(*, group: str, name: str) -> list[Declared]:
        return [Declared(name, spec)] if (group, name) == ("precsearch.precisions", "int3") else []

    monkeypatch.setattr("importlib.metadata.entry_points", declared)
    with pytest.raises(OptionError, match=said):
        Precision("int3")
    assert Precision.named("int2") is None
