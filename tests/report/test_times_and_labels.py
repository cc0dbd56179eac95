"""Layer times with conversions in their own colour, and labels of engines."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import vl_convert

from precsearch.core.events import TrialFinished
from precsearch.core.precision import CONVERSION_COLOUR, Precision
from precsearch.core.trial import Fidelity, Measured
from precsearch.formatting import speedup
from precsearch.plan.plan import read_plan
from precsearch.report import Story, run_page, tell
from precsearch.report.charts.labels import front_labels
from precsearch.report.trial_facts import TrialFact
from tests.report.runs import Html, Run


@pytest.fixture(scope="module")
def page(finished: Run) -> Html:
    return Html(run_page(tell([finished.run_dir])))


def converting(story: Story) -> Story:
    """The run as if each lowered group of each engine had spent a quarter of its time in Casts."""

    def told(event: TrialFinished) -> TrialFinished:
        found = event.trial.measurement
        if found is None or not found.group_seconds:
            return event
        quarter = {k: found.group_seconds.get(k, 0.0) / 4 for k in event.trial.assignment}
        found = replace(found, conversion_seconds=quarter)
        return replace(event, trial=replace(event.trial, outcome=Measured(found)))

    return replace(story, done=tuple(map(told, story.done)))


def test_times_are_coloured_by_precision_and_conversions_by_themselves(finished: Run) -> None:
    story = converting(tell([finished.run_dir]))
    page = Html(run_page(story))
    ours = read_plan(finished.plan).recipe.assignment
    engines = (d.trial for d in story.done if d.trial.proposal.fidelity is Fidelity.ENGINE)
    (engine,) = (t for t in engines if t.assignment == ours)
    assert engine.measurement is not None
    seconds = engine.measurement.group_seconds
    groups = {row["group"]: row for row in page.json["rows"]["groups"]}
    for key in engine.assignment:
        if seconds.get(key):
            assert groups[key]["chosen"] == pytest.approx(seconds[key] * 1e6)
            assert groups[key]["computing"] == pytest.approx(seconds[key] * 0.75e6)
            assert groups[key]["runs"] == "int8"
    spent = [row for row in page.json["rows"]["spent"] if row["engine"] == "what ships"]
    parts = {row["part"]: row["end"] - row["start"] for row in spent}
    whole = sum(seconds[key] for key in engine.assignment if key in seconds)
    assert parts["conversion"] == pytest.approx(whole * 0.25e6)
    assert parts["int8"] == pytest.approx(whole * 0.75e6)
    assert sum(parts.values()) == pytest.approx(sum(seconds.values()) * 1e6)
    drawn = vl_convert.vegalite_to_svg({**page.filled("times"), "width": 600})
    assert CONVERSION_COLOUR in drawn
    assert Precision.INT8.spec.colour in drawn
    assert CONVERSION_COLOUR in vl_convert.vegalite_to_svg({**page.filled("spent"), "width": 600})


def test_an_engine_without_a_profile_has_no_times(finished: Run) -> None:
    story = tell([finished.run_dir])
    done = tuple(_without_times(event) for event in story.done)
    page = Html(run_page(replace(story, done=done)))
    assert "spent" not in page.charts
    assert "times of layers are not known" in page.words


def _without_times(event: TrialFinished) -> TrialFinished:
    found = event.trial.measurement
    if found is None:
        return event
    plain = Measured(replace(found, group_seconds={}))
    return replace(event, trial=replace(event.trial, outcome=plain))


def test_labels_name_what_ships_fp32_and_the_uniform_engine(page: Html, finished: Run) -> None:
    rows = page.json["rows"]
    labels = [row["label"] for row in rows["trials"] if row["label"]]
    (ships,) = rows["ships"]
    assert ships["label"] == f"ships: {speedup(read_plan(finished.plan).evidence.latency.ratio)}"
    assert "FP32" in labels
    assert any(label.endswith(" INT8") for label in labels)
    drawn = vl_convert.vegalite_to_svg({**page.filled("plane"), "width": 600})
    assert all(label in drawn for label in [*labels, ships["label"]])


def test_engines_that_lie_together_share_one_label() -> None:
    def at(number: int, ratio: float, loss: float, **more: Any) -> TrialFact:
        known: dict[str, Any] = dict.fromkeys(("low", "high", "seconds", "precisions"), None) | {
            "verdict": "",
            "failed": "",
            "assigned": "",
            "why": "",
            "front": True,
            "chosen": False,
        }
        counts = more.pop("counts", {"int8": 1})
        known |= {"number": number, "build": number, "loss": loss, "ratio": ratio, "counts": counts}
        return TrialFact(engine=True, **{**known, **more})

    close = [at(n, 0.5 + n * 0.001, 0.01) for n in range(1, 9)]
    fp32 = at(0, 1.0, 1e-3, counts={})
    found = front_labels([fp32, *close], (1e-3, 1e-1))
    assert found == {0: "FP32", 1: "2.00x"}
    found = front_labels([fp32, *close[:-1], replace(close[-1], chosen=True)], (1e-3, 1e-1))
    assert found == {0: "FP32", 8: "1.97x"}, "what ships comes first"
    assert front_labels([], (1e-3, 1e-1)) == {}
