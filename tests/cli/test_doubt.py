"""No headline says "x times as fast" without its doubt, wherever a headline is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.text import Text

from precsearch.api import OptimizeConfig, OptimizeResult
from precsearch.cli.cells import UNICODE
from precsearch.cli.output.optimize import optimize_lines, result_fields
from precsearch.cli.output.page import Page
from precsearch.cli.progress.plain_log import PlainLog
from precsearch.cli.progress.render import render
from precsearch.cli.progress.view import View, fold
from precsearch.core.events import FinalistJudged, SearchStarted, TrialFinished
from precsearch.core.precision import Precision
from precsearch.core.problem import Bound, Budget
from precsearch.core.space import Assignment
from precsearch.core.trial import Latency, Measured, Measurement, Proposal, Trial
from precsearch.plan.plan import Plan
from tests.cli.runs import accuracy, latency, plan

BUSY = "something else uses this machine (9 of 20 rounds were disturbed)"
SURE = latency(0.55)
TOUCHES = replace(latency(0.95), ratio_high=1.01)
WIDE = replace(SURE, ratio_low=0.4, ratio_high=0.65)
DISTURBED = replace(SURE, unsure=(BUSY,))
CASES = [
    (TOUCHES, "not clearly faster"),
    (WIDE, "its timings vary too much for a number"),
    (DISTURBED, BUSY),
]


def planned(found: Latency, int8: int = 8) -> Plan:
    made = plan(int8=int8)
    return replace(made, evidence=replace(made.evidence, latency=found))


def headline(found: Latency, int8: int = 8, stopped: str = "converged") -> Text:
    made = planned(found, int8)
    made = replace(made, evidence=replace(made.evidence, stopped=stopped))
    result = OptimizeResult(made, None, None, True, False, ())
    config = OptimizeConfig(Path("m.onnx"))
    return optimize_lines(config, result, Page(200, UNICODE))[0]


def colours(text: Text) -> str:
    return " ".join(str(span.style) for span in text.spans)


def test_a_certain_speed_up_is_green_and_without_a_doubt() -> None:
    said = headline(SURE)
    assert said.plain == "m.onnx: 1.82x FP32's speed (1.78 to 1.86), within rel-l2 ≤ 0.01"
    assert "green" in colours(said)
    assert "yellow" not in colours(said)


@pytest.mark.parametrize(("found", "doubt"), CASES)
def test_the_headline_of_an_unsure_one_says_so_and_is_not_green(found: Latency, doubt: str) -> None:
    said = headline(found)
    assert said.plain.endswith(f"within rel-l2 ≤ 0.01; {doubt}")
    assert "green" not in colours(said)


def test_fp32_as_the_answer_of_a_busy_machine_is_doubted_too() -> None:
    sure, busy = latency(1.0), replace(latency(1.0), unsure=(BUSY,))
    for stopped, said in (
        ("complete", "FP32 is the fastest within rel-l2 ≤ 0.01"),
        ("converged", "nothing faster than FP32 found within rel-l2 ≤ 0.01"),  # untested models
        ("builds", "nothing faster than FP32 found within rel-l2 ≤ 0.01"),
    ):
        assert headline(sure, int8=0, stopped=stopped).plain == f"m.onnx: {said}"
        assert headline(busy, int8=0, stopped=stopped).plain == f"m.onnx: {said}; {BUSY}"


@pytest.mark.parametrize(("found", "doubt"), CASES)
def test_a_program_is_told(found: Latency, doubt: str) -> None:
    result = OptimizeResult(planned(found), None, None, True, False, ())
    fields = json.loads(json.dumps(result_fields(result)))
    assert fields["unsure"] == [doubt]
    sure = OptimizeResult(planned(SURE), None, None, True, False, ())
    assert result_fields(sure)["unsure"] == []


def test_the_plan_keeps_why_a_timing_is_in_doubt() -> None:
    found = replace(SURE, dropped=3, unsure=(BUSY,), apart=(0.5, 0.6))
    assert Plan.from_json(planned(found).to_json()).evidence.latency == found


def view(found: Latency) -> View:
    trial = Trial(
        1,
        Proposal(Assignment.of({"a": Precision.INT8})),
        Measured(Measurement(accuracy(1e-3), found)),
    )
    start = SearchStarted("a CPU", "auto", 3, 9, Bound(1e-2), Budget(), 0.01)
    return fold(fold(View(), start), TrialFinished(trial, 1, 1.0))


@pytest.mark.parametrize(("found", "doubt"), [(SURE, ""), *CASES])
def test_the_live_view_says_it_of_the_best_so_far(found: Latency, doubt: str) -> None:
    drawn = render(view(found), 160)
    line = next(part for part in drawn.split("\n") if "FP32's speed" in part.plain)
    assert doubt in line.plain
    assert ("green" in colours(line)) == (not doubt)


@pytest.mark.parametrize(("found", "marked"), [(SURE, False), (WIDE, True), (DISTURBED, True)])
def test_plain_lines_mark_a_timing_in_doubt(found: Latency, marked: bool) -> None:
    log = PlainLog()
    trial = view(found).engines[0]
    (line,) = log.lines(TrialFinished(trial, 1, 1.0), 1.0)
    assert ("FP32's speed (unsure)" in line) == marked
    (line,) = log.lines(FinalistJudged(1, 1e-3, 0.55, True, unsure=marked), 1.0)
    assert ("FP32's speed (unsure), pass" in line) == marked
