from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from precsearch.codec import dumps, structure, unstructure
from precsearch.core.events import (
    BatchProposed,
    Event,
    FinalistJudged,
    FinalistsTimed,
    FinalistTime,
    PlanWritten,
    RunStarted,
    SearchFinished,
    SearchStarted,
    StageStarted,
    TrialFinished,
    TrialStarted,
    UniformEngine,
    Warned,
)
from precsearch.core.precision import Precision
from precsearch.core.problem import Bound, Budget
from precsearch.core.space import Assignment
from precsearch.core.trial import (
    Accuracy,
    Aggregation,
    Failed,
    Fidelity,
    Latency,
    Measured,
    Measurement,
    Proposal,
    Trial,
)

names = st.text(max_size=8)
floats = st.floats(allow_nan=False)
rows = st.lists(floats, max_size=3).map(tuple)
precisions = st.sampled_from(Precision)
assignments = st.dictionaries(names, precisions, max_size=4).map(Assignment.of)
latencies = st.builds(
    Latency, floats, floats, floats, floats, floats, floats, samples=rows, baseline=rows
)
accuracies = st.builds(
    Accuracy,
    floats,
    floats,
    st.dictionaries(names, floats, max_size=2),
    rows,
    rows,
    st.sampled_from(Aggregation),
)
measurements = st.builds(
    Measurement,
    accuracies,
    st.none() | latencies,
    st.dictionaries(names, floats, max_size=2),
    st.dictionaries(names, precisions, max_size=2),
    floats,
    st.integers(),
)
outcomes = st.builds(Measured, measurements) | st.builds(Failed, names, names, names)
proposals = st.builds(Proposal, assignments, st.sampled_from(Fidelity), names)
trials = st.builds(Trial, st.integers(), proposals, outcomes, names, floats)
bounds = st.builds(Bound, st.floats(0, 1), names, st.floats(1, 2))
budgets = st.builds(Budget, st.none() | st.integers(1, 9), st.none() | st.floats(1, 9))
texts = st.dictionaries(names, names, max_size=3)
events: st.SearchStrategy[Event] = st.one_of(
    st.builds(RunStarted, texts, names, names),
    st.builds(StageStarted, names, names),
    st.builds(Warned, names),
    st.builds(
        SearchStarted,
        names,
        names,
        st.integers(),
        st.integers(),
        bounds,
        budgets,
        floats,
        floats,
        uniform=st.lists(
            st.builds(UniformEngine, st.sampled_from(Precision), assignments), max_size=2
        ).map(tuple),
    ),
    st.builds(BatchProposed, st.lists(proposals, max_size=3).map(tuple)),
    st.builds(TrialStarted, st.integers(), proposals),
    st.builds(TrialFinished, trials, st.integers(), floats, st.booleans()),
    st.builds(SearchFinished, names, st.integers(), floats),
    st.builds(
        FinalistsTimed,
        st.lists(st.builds(FinalistTime, st.integers(), floats, floats, floats), max_size=3).map(
            tuple
        ),
    ),
    st.builds(FinalistJudged, st.integers(), floats, floats, st.booleans()),
    st.builds(PlanWritten, names, floats, floats, st.dictionaries(names, st.integers())),
)

EVENT: Any = Event


def refuse_constants(name: str) -> float:
    raise AssertionError(f"{name} is not JSON")


@given(events)
@settings(max_examples=200, deadline=None)
def test_every_event_survives_strict_json(event: Event) -> None:
    line = dumps(unstructure(event, EVENT))
    assert "\n" not in line
    back = structure(json.loads(line, parse_constant=refuse_constants), EVENT)
    assert back == event
    assert type(back) is type(event)
    assert dumps(unstructure(back, EVENT)) == line


def test_numbers_that_json_lacks_are_strings() -> None:
    accuracy = Accuracy(math.inf, -math.inf, {"y": math.nan}, (math.inf, 1.0))
    data = unstructure(accuracy)
    assert (data["loss"], data["upper"], data["by_output"]["y"]) == ("inf", "-inf", "nan")
    assert data["per_sample"] == ["inf", 1.0]
    back = structure(data, Accuracy)
    assert back.loss == math.inf
    assert math.isnan(back.by_output["y"])
    with pytest.raises(ValueError, match="Out of range"):
        dumps(math.inf)


def test_an_assignment_is_one_object() -> None:
    assignment = Assignment.of({"b": Precision.INT8, "a": Precision.FP16})
    assert dumps(unstructure(assignment)) == '{"a":"fp16","b":"int8"}'
    assert structure({"b": "int8", "a": "fp16"}, Assignment) == assignment


TRIAL = Trial(
    3,
    Proposal(Assignment.of({"conv": Precision.INT8})),
    Measured(Measurement(Accuracy(0.1, 0.2, {"y": 0.1}, (0.1, 0.2)), None)),
)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda d: d.pop("builds"), "'builds' is missing"),
        (lambda d: d.update(extra=1), "unknown key 'extra'"),
        (lambda d: d["trial"].update(surprise=[]), "at 'trial': unknown key 'surprise'"),
        (lambda d: d.update(type="Nothing"), "'type' must be one of .*, not \"Nothing\""),
        (lambda d: d.pop("type"), "'type' must be one of .*, not null"),
        (lambda d: d.update(builds="3"), "at 'builds': expected a whole number, not \"3\""),
        (lambda d: d.update(builds=True), "expected a whole number, not true"),
        (lambda d: d.update(builds=1.0), "expected a whole number, not 1.0"),
        (lambda d: d.update(replayed=0), "expected true or false, not 0"),
        (lambda d: d.update(elapsed="infinite"), 'expected a number, not "infinite"'),
        (lambda d: d.update(elapsed=10**400), "at 'elapsed'"),
        (lambda d: d.update(trial=[]), "at 'trial': expected an object, not a list"),
        (
            lambda d: d["trial"]["proposal"].update(assignment={"conv": "fp6"}),
            "at 'trial.proposal.assignment': expected one of fp32, bf16, "
            'fp16, fp8, int8, int4, not "fp6"',
        ),
        (lambda d: d["trial"]["proposal"].update(fidelity=[]), "expected one of proxy, engine"),
        (
            lambda d: d["trial"]["outcome"]["measurement"]["accuracy"].update(per_sample="1.5"),
            "at 'trial.outcome.measurement.accuracy.per_sample': expected a list",
        ),
        (
            lambda d: d["trial"]["outcome"]["measurement"]["accuracy"].update(by_output=[1]),
            "by_output': expected an object, not a list",
        ),
        (
            lambda d: d["trial"]["outcome"]["measurement"].update(latency=3),
            "latency': expected an object, not 3",
        ),
    ],
)
def test_malformed_data_is_explained_in_a_sentence(
    damage: Callable[[dict[str, Any]], object], message: str
) -> None:
    data = copy.deepcopy(unstructure(TrialFinished(TRIAL, 1, 2.0), EVENT))
    damage(data)
    with pytest.raises(ValueError, match=message) as caught:
        structure(data, EVENT)
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_record_that_checks_itself_is_malformed_data_too() -> None:
    with pytest.raises(ValueError, match="tolerance must be a number of at least 0"):
        structure({"tolerance": -1.0}, Bound)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | floats | names,
    lambda v: st.lists(v, max_size=3) | st.dictionaries(names, v, max_size=3),
    max_leaves=8,
)


@given(json_values, st.sampled_from(["trial", "builds", "elapsed", "replayed", "type"]))
@settings(max_examples=200, deadline=None)
def test_malformed_data_raises_nothing_but_a_value_error(value: object, field: str) -> None:
    data = unstructure(TrialFinished(TRIAL, 1, 2.0), EVENT)
    for broken in (value, {**data, field: value}):
        try:
            structure(broken, EVENT)
        except ValueError as error:
            found: Exception | None = error
        else:
            found = None  # the value fits
        assert found is None or (type(found) is ValueError and "\n" not in str(found))


def test_ten_thousand_trials_are_decoded_quickly() -> None:
    data = unstructure(TrialFinished(TRIAL, 1, 2.0), EVENT)
    start = time.process_time()
    for _ in range(10_000):
        structure(data, EVENT)
    assert time.process_time() - start < 2.0
