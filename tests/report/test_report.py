"""The page about a run: what is in it, what it draws, and what is said where it cannot be made."""

from __future__ import annotations

import builtins
import shutil
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import vl_convert

from precsearch.cli.main import run
from precsearch.core.events import Event, RunStarted, SearchFinished, SearchStarted, TrialFinished
from precsearch.core.precision import Precision
from precsearch.core.problem import pareto
from precsearch.core.space import Assignment
from precsearch.core.trial import Fidelity
from precsearch.formatting import prediction_summary, speedup
from precsearch.plan.plan import evidence_path, read_plan
from precsearch.report import run_page, tell
from precsearch.report.charts.javascript import javascript
from precsearch.search.journal import Journal, read
from tests.cli.runs import synthetic_run
from tests.report.runs import CHARTS, Html, Run


@pytest.fixture(scope="module")
def page(finished: Run) -> Html:
    return Html(run_page(tell([finished.run_dir])))


def written(folder: Path, events: list[Event]) -> Path:
    """A run directory with these events."""
    with Journal.open(folder / "some.precsearch", {}) as journal:
        for event in events:
            journal.append(event)
    return folder / "some.precsearch"


def test_a_finished_run_shows_every_chart_and_every_section(page: Html, finished: Run) -> None:
    assert set(page.charts) == CHARTS
    plan = read_plan(finished.plan)
    for said in (
        "What was asked",
        "What came out",
        "rel-l2 ≤ 0.012",
        f"{speedup(plan.evidence.latency.ratio)} FP32's speed",
        "Asked and achieved",
        "Calibration",
        "Versions",
        "onnxruntime",
        "precsearch build digits.plan.json --model model.onnx",
        plan.recipe.materialised_sha256,
    ):
        assert said in page.words, said


def test_of_a_compiled_plan_the_engine_itself_is_to_be_measured(finished: Run) -> None:
    story = tell([finished.run_dir])
    assert story.plan is not None
    evidence = replace(story.plan.evidence, engine=("one kernel",))
    page = Html(run_page(replace(story, plan=replace(story.plan, evidence=evidence))))
    assert "--model model.onnx -o optimized.engine" in page.words
    assert "--data holdout.npz --artifact optimized.engine" in page.words
    assert "builds the engine again, or says what differs" in page.words


def test_the_page_is_one_small_file_that_fetches_nothing(finished: Run) -> None:
    text = run_page(tell([finished.run_dir]))
    assert len(text.encode()) < 8 << 20
    assert Html(text).links == []
    assert "default-src 'none'" in text
    assert '<meta name="viewport"' in text


@pytest.mark.parametrize("chart", sorted(CHARTS))
def test_vega_draws_a_mark_for_what_there_is(page: Html, chart: str) -> None:
    spec = {**page.filled(chart), "width": 600}
    assert vl_convert.vegalite_to_svg(spec).count("<path") > 3


def test_every_trial_is_on_the_plane_and_the_front_is_marked(page: Html, finished: Run) -> None:
    trials = [e.trial for e in read(finished.run_dir) if isinstance(e, TrialFinished)]
    rows = {row["trial"]: row for row in page.json["rows"]["trials"]}
    assert rows.keys() == {t.number for t in trials}
    assert {n for n, row in rows.items() if row["front"]} == {t.number for t in pareto(trials)}
    for trial in trials:
        row = rows[trial.number]
        assert row["what"] == trial.proposal.fidelity.value
        if trial.proposal.fidelity is Fidelity.ENGINE:
            assert trial.measurement is not None
            assert trial.measurement.latency is not None
            assert row["time"] == trial.measurement.latency.ratio * 100
            assert row["groups"] == (
                f"{len(trial.assignment)} int8" if len(trial.assignment) else "all fp32"
            )
            assert not trial.assignment or row["assignment"].startswith("int8: ")


def test_groups_are_shown_as_in_the_plan(page: Html, finished: Run) -> None:
    plan = read_plan(finished.plan)
    rows = page.json["rows"]["groups"]
    assert [r["group"] for r in rows] == [g.key for g in plan.recipe.groups]
    reasons = {g.key: g.reason for g in plan.evidence.groups}
    for row in rows:
        if row["group"] in reasons:
            assert row["asked"] == plan.recipe.assignment[row["group"]].value
            assert row["reason"] == reasons[row["group"]]
            assert row["reason"] in page.words
    assert sum(row["cost"] is not None for row in rows) > len(rows) / 2
    assert any(row["saved"] is not None for row in rows)


def test_ranges_are_those_that_were_calibrated(page: Html, finished: Run) -> None:
    rows = {row["tensor"]: row for row in page.json["rows"]["ranges"]}
    for scale in read_plan(finished.plan).recipe.scales:
        row = rows[scale.tensor]
        assert row["used"] == "in the plan"
        step = float.fromhex(scale.scale)
        # What was seen may lie on one side of zero; the grid always holds zero.
        assert row["low"] <= row["high"]
        assert max(row["high"], 0) - min(row["low"], 0) <= step * 255 * 1.001


def test_predictions_are_shown_beside_measurements(page: Html, finished: Run) -> None:
    evidence = read_plan(finished.plan).evidence
    assert evidence.predictions is not None
    said = [t for t in evidence.trials if t.predicted is not None and t.ratio is not None]
    assert evidence.predictions.engines == len(said) > 0
    off = [abs(t.ratio / t.predicted.ratio - 1) for t in said if t.ratio and t.predicted]
    assert evidence.predictions.ratio == pytest.approx(statistics.median(off), abs=1e-3)
    assert prediction_summary(evidence.predictions) in page.words


def test_a_plan_alone_is_enough_for_a_page(finished: Run, tmp_path: Path) -> None:
    alone = shutil.copy(finished.plan, tmp_path / "alone.plan.json")
    shutil.copy(evidence_path(finished.plan), evidence_path(Path(alone)))
    page = Html(run_page(tell([Path(alone)])))
    assert set(page.charts) >= {"plane", "progress", "strip", "ranges"}
    assert "precsearch verify alone.plan.json" in page.words


def test_a_killed_run_is_shown_in_graph_order(finished: Run, tmp_path: Path) -> None:
    lines = (finished.run_dir / "journal.jsonl").read_bytes().splitlines(keepends=True)
    here = next(i for i, line in enumerate(lines) if b'"SearchFinished"' in line)
    killed = tmp_path / "journal.jsonl"
    killed.write_bytes(b"".join(lines[:here]) + lines[here][:40])
    page = Html(run_page(tell([killed])))
    plan = read_plan(finished.plan)
    assert [r["group"] for r in page.json["rows"]["groups"]] == [g.key for g in plan.recipe.groups]
    assert "no plan yet" in page.words
    assert "--resume" in page.words


def test_a_run_without_any_trial_has_a_page(tmp_path: Path) -> None:
    events: list[Event] = [e for e in synthetic_run() if isinstance(e, RunStarted)]
    page = Html(run_page(tell([written(tmp_path, events)])))
    assert page.charts == []
    assert "No trial has ended yet." in page.words


def test_failures_and_infinite_losses_have_their_place(tmp_path: Path) -> None:
    page = Html(run_page(tell([written(tmp_path, list(synthetic_run()))])))
    rows = page.json["rows"]["trials"]
    assert {"failed", "not finite"} <= {row["verdict"] for row in rows}
    assert "the engine died (signal 11)" in page.words
    assert "1 trial failed" in page.words
    for chart in page.charts:
        assert "<svg" in vl_convert.vegalite_to_svg({**page.filled(chart), "width": 600})


def test_names_from_a_model_cannot_become_part_of_the_page(tmp_path: Path) -> None:
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\u2028'\""
    events: list[Event] = []
    for event in synthetic_run(builds=4, proxies=2):
        made = event
        if isinstance(event, RunStarted):
            made = replace(event, model=evil)
        if isinstance(event, TrialFinished):
            renamed = Assignment.of({f"{evil}{k}": p for k, p in event.trial.assignment.entries})
            proposal = replace(event.trial.proposal, assignment=renamed, reason=evil)
            made = replace(event, trial=replace(event.trial, proposal=proposal))
        events.append(made)
    text = run_page(tell([written(tmp_path, events)]))
    page = Html(text)
    assert "img" not in page.tags
    assert "<script>alert" not in text
    assert any(evil in row["group"] for row in page.json["rows"]["groups"])
    assert "<img src=x onerror=alert(2)>" in page.words


def test_a_resumed_run_keeps_what_it_had(finished: Run, tmp_path: Path) -> None:
    events = list(read(finished.run_dir))
    end = next(i for i, e in enumerate(events) if isinstance(e, SearchFinished))
    start = next(i for i, e in enumerate(events) if isinstance(e, SearchStarted))
    again = [*events[:end], *events[: start + 1], *events[end:]]
    folder = tmp_path / "again"
    with Journal.open(folder, {}) as journal:
        for event in again:
            journal.append(event)
    whole, resumed = tell([finished.run_dir]), tell([folder])
    assert [d.trial for d in resumed.done] == [d.trial for d in whole.done]
    assert resumed.finished == whole.finished


def test_a_plan_of_another_run_is_left_out_with_a_note(finished: Run, tmp_path: Path) -> None:
    shutil.copytree(finished.run_dir, tmp_path / "digits.precsearch")
    plan = shutil.copy(finished.plan, tmp_path / "digits.plan.json")
    kept = shutil.copy(evidence_path(finished.plan), evidence_path(Path(plan)))
    assert tell([tmp_path / "digits.precsearch"]).plan is not None
    for spoil in (lambda: Path(kept).unlink(), lambda: Path(plan).write_text("{}")):
        spoil()
        story = tell([tmp_path / "digits.precsearch"])
        assert story.plan is None
        assert any("was not found" in w for w in story.warnings)


def test_missing_files_are_named(
    finished: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **more: Any) -> Any:
        if name == "vl_convert":
            raise ImportError(name)
        return real(name, *args, **more)

    javascript.cache_clear()
    monkeypatch.setattr(builtins, "__import__", without)
    target = finished.folder / "never.html"
    assert run(["report", str(finished.run_dir), "-o", str(target)]) == 2
    assert "pip install 'precsearch[report]'" in capsys.readouterr().err
    assert not target.exists()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["nowhere.precsearch"], "the plan 'nowhere.precsearch' cannot be read"),
        (["nowhere/journal.jsonl"], "the journal 'nowhere/journal.jsonl' cannot be read"),
        (["empty"], "the journal 'empty/journal.jsonl' cannot be read"),
        (["damaged"], "holds a damaged event"),
        (["no-run"], "does not begin with a run"),
        (["a", "b", "c"], "the plan 'a' cannot be read"),
        (["no-run", "damaged"], "does not begin with a run"),
        ([f"run{n}" for n in range(9)], "a report compares at most 8 runs; 9 were named"),
        (["empty", "./empty"], "'empty' is named twice; name each run once"),
    ],
)
def test_unreadable_files_are_reported(
    given: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("empty", "damaged", "no-run"):
        Path(name).mkdir()
    Path("damaged/journal.jsonl").write_text('{"type":"RunStarted"}\n')
    Path("no-run/journal.jsonl").write_text('{"message":"hm","type":"Warned"}\n')
    assert run(["report", *given]) == 2
    assert said in capsys.readouterr().err
    assert list(tmp_path.glob("*.html")) == []


def test_the_command_writes_a_page_and_never_over_another(
    finished: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["report", str(finished.run_dir)]) == 0
    out = capsys.readouterr().out
    assert "digits.report.html" in out
    assert "<!doctype html>" in Path("digits.report.html").read_text(encoding="utf-8")
    assert run(["report", str(finished.plan)]) == 2
    assert "exists already; add --force" in capsys.readouterr().err
    assert run(["report", str(finished.run_dir), str(finished.plan), "--force"]) == 0
    assert run(["report", str(finished.plan), "-o", str(finished.plan), "--force"]) == 2
    assert "never overwritten" in capsys.readouterr().err


def test_chosen_groups_ran_as_the_page_says(page: Html, finished: Run) -> None:
    plan = read_plan(finished.plan)
    lowered = [g for g in plan.recipe.groups if g.precision is not Precision.FP32]
    assert f"{len(lowered)} int8" in page.words
