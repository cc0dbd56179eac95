from __future__ import annotations

import math
from statistics import mean, stdev

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from precsearch.backends.fake import (
    Cost,
    FakeBackend,
    Fault,
    Landscape,
    Pair,
    fake_lower,
    fake_reference,
)
from precsearch.core.backend import Backend, BackendOptions, Session
from precsearch.core.errors import BuildError, OptionError, RunError
from precsearch.core.space import Assignment
from tests.search.loop_toys import FEEDS, FP16, FP32, INT8, toy_landscape, toy_space

SPACE = toy_space()
LOWER = fake_lower(SPACE)
assignments = st.fixed_dictionaries(
    {}, optional={g.key: st.sampled_from(g.choices) for g in SPACE.groups}
).map(Assignment.of)


def session(landscape: Landscape, assignment: Assignment) -> Session:
    backend: Backend = FakeBackend(BackendOptions(), landscape)
    return backend.open(backend.build(LOWER(assignment).model))


def relative_error(opened: Session) -> float:
    feed = FEEDS[1]
    reference = fake_reference(feed)["output"]
    wrong = np.subtract(opened.run(feed)["output"], reference)
    return float(np.linalg.norm(wrong) / np.linalg.norm(reference))


def test_it_is_a_backend_and_makes_sessions() -> None:
    backend = FakeBackend(BackendOptions())
    assert isinstance(backend, Backend)
    assert isinstance(session(Landscape(), Assignment()), Session)
    assert backend.fingerprint().backend == "fake"
    assert backend.scheme_named("fake") == backend.scheme
    with pytest.raises(OptionError):
        backend.scheme_named("other")


@given(assignments, st.integers(0, 5))
def test_the_measured_error_is_the_planted_one(assignment: Assignment, seed: int) -> None:
    landscape = toy_landscape(SPACE, seed)
    planted = landscape.error(assignment)
    assert relative_error(session(landscape, assignment)) == pytest.approx(planted, abs=1e-12)


def test_errors_add_in_squares_and_interactions_on_top() -> None:
    costs = {"a": {INT8: Cost(0.0, 3.0)}, "b": {INT8: Cost(0.0, 4.0)}}
    landscape = Landscape(costs, pairs=(Pair("a", INT8, "b", INT8, 1.0),))
    assert landscape.error(Assignment.of({"a": INT8})) == 3.0
    assert landscape.error(Assignment.of({"a": INT8, "b": INT8})) == 6.0
    assert landscape.error(Assignment()) == 0.0


def test_infinite_errors_give_outputs_that_are_not_finite() -> None:
    landscape = Landscape({"g0": {FP16: Cost(0.0, math.inf)}})
    output = session(landscape, Assignment.of({"g0": FP16})).run(FEEDS[0])["output"]
    assert not np.isfinite(output).any()


def test_boundaries_cost_time() -> None:
    costs = {"a": {FP32: Cost(1.0)}, "b": {FP32: Cost(1.0), INT8: Cost(0.5)}}
    landscape = Landscape(costs, seconds=10.0, edges=(("a", "b"),), boundary=0.25)
    assert landscape.latency(Assignment()) == 12.0
    assert landscape.latency(Assignment.of({"b": INT8})) == 11.75


def test_times_are_the_planted_ones_with_seeded_noise() -> None:
    landscape = toy_landscape(SPACE)
    assignment = Assignment.of({"g0": INT8})
    times = session(landscape, assignment).time(FEEDS[0], 400)
    assert times == session(landscape, assignment).time(FEEDS[0], 400)
    assert mean(times) == pytest.approx(landscape.latency(assignment), rel=2e-3)
    assert stdev(times) == pytest.approx(0.01 * landscape.latency(assignment), rel=0.2)


def test_the_profile_names_groups_and_what_they_ran_in() -> None:
    landscape = toy_landscape(SPACE)
    kernels = session(landscape, Assignment.of({"g1": INT8})).profile(FEEDS[0], 1)
    assert {k.nodes: k.precision for k in kernels} == {
        (g.key,): INT8 if g.key == "g1" else FP32 for g in SPACE.groups
    }
    assert kernels[1].seconds == landscape.costs["g1"][INT8].seconds


def test_a_landscape_survives_json() -> None:
    fault = Fault("segv", "time", {"g0": INT8})
    landscape = Landscape(
        {"g0": {INT8: Cost(1.0, math.inf)}},
        edges=(("g0", "g1"),),
        pairs=(Pair("a", INT8, "b", FP16, 1.0),),
        faults=(fault,),
    )
    assert Landscape.from_json(landscape.to_json()) == landscape
    assert FakeBackend(BackendOptions(), landscape.to_json()).landscape == landscape
    with pytest.raises(OptionError, match="unknown key 'noises'"):
        Landscape.from_json('{"noises": 1}')
    with pytest.raises(OptionError, match="explode"):
        Landscape.from_json('{"faults": [{"kind": "explode"}]}')


@pytest.mark.parametrize(
    ("stage", "kind", "error"),
    [
        ("build", "error", BuildError),
        ("run", "error", RunError),
        ("time", "error", RunError),
        ("build", "memory", MemoryError),
        ("run", "memory", MemoryError),
    ],
)
def test_faults_strike_where_they_are_planted(
    stage: str, kind: str, error: type[Exception]
) -> None:
    landscape = Landscape(faults=(Fault(kind, stage, {"g0": INT8, "g1": FP16}),))

    def use(assignment: Assignment) -> None:
        opened = session(landscape, assignment)
        opened.run(FEEDS[0])
        opened.time(FEEDS[0], 1)

    use(Assignment.of({"g0": INT8}))
    with pytest.raises(error, match="planted"):
        use(Assignment.of({"g0": INT8, "g1": FP16, "g3": INT8}))


def test_a_closed_session_does_not_run() -> None:
    opened = session(Landscape(), Assignment())
    opened.close()
    with pytest.raises(RunError, match="closed"):
        opened.run(FEEDS[0])


def test_bytes_that_are_not_a_model_are_refused() -> None:
    with pytest.raises(BuildError, match="no model"):
        FakeBackend(BackendOptions()).open(b"onnx")


def test_lowered_models_are_equal_only_for_equal_engines() -> None:
    lower = fake_lower(SPACE, inert=frozenset({"g1"}))
    a, b = Assignment.of({"g0": INT8}), Assignment.of({"g0": INT8, "g1": FP16})
    assert lower(a) == lower(b)
    assert LOWER(a).digest != LOWER(b).digest
    assert LOWER(b).asked == {"g0": INT8, "g1": FP16}
    with pytest.raises(OptionError):
        lower(Assignment.of({"nowhere": INT8}))
