"""Several runs beside each other: what each reached, and what may be concluded."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import vl_convert

from precsearch.cli.main import run
from precsearch.core.precision import Precision
from precsearch.formatting import speedup
from precsearch.plan.plan import read_plan
from precsearch.report import Member, Story, other_groups, runs_page, sentences, tell
from precsearch.report.side_by_side.members import members
from tests.report.runs import Html, Run


@pytest.fixture
def again(finished: Run, tmp_path: Path) -> Path:
    """The same run in another folder, under the same name."""
    for name in ("digits.plan.json", "digits.evidence.json"):
        shutil.copy(finished.folder / name, tmp_path)
    return Path(shutil.copytree(finished.run_dir, tmp_path / "digits.precsearch"))


def changed(story: Story, ratio: float = 0.0, **latency: Any) -> Story:
    """The run with another latency."""
    assert story.plan is not None
    evidence = story.plan.evidence
    if ratio:
        latency |= {"ratio": ratio, "ratio_low": ratio * 0.98, "ratio_high": ratio * 1.02}
    evidence = replace(evidence, latency=replace(evidence.latency, **latency))
    return replace(story, plan=replace(story.plan, evidence=evidence))


def test_equal_runs_ship_the_same_model_and_are_distinguished_by_their_folders(
    finished: Run, again: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["report", str(finished.run_dir), str(again)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    plan = read_plan(finished.plan)
    assert "2 runs beside each other" in said
    assert said.count(f"speed {speedup(plan.evidence.latency.ratio)}") == 2
    names = f"{finished.folder.name}/digits and {again.parent.name}/digits"
    assert f"{names} ship the same model, byte for byte." in said
    assert "which of them is faster is not decided" in said
    assert "Every group has the same precision in all runs." in said


def test_intervals_and_doubts_decide_what_is_said_of_speed(finished: Run) -> None:
    story = tell([finished.run_dir])
    one, close = Member("a", changed(story, 0.5)), Member("b", changed(story, 0.51))
    far = Member("c", changed(story, 0.9))
    busy = Member("d", changed(story, 0.4, unsure=("something else uses this machine",)))
    (first, *_) = sentences([far, one])
    assert first == "a is the fastest at 2.00x FP32's speed."
    (first, *_) = sentences([one, close, far])
    assert "a is ahead at 2.00x" in first
    assert "overlaps with that of b: which of them is faster is not decided" in first
    (first, second, *_) = sentences([one, busy])
    assert first == "Which run is the fastest is not decided: the speed of d is unsure."
    assert "something else uses this machine" in second


def test_other_models_devices_and_bounds_are_reported_and_no_run_is_called_the_fastest(
    finished: Run,
) -> None:
    story = tell([finished.run_dir])
    plan = story.plan
    assert plan is not None
    other_model = replace(plan, recipe=replace(plan.recipe, model_sha256="0" * 64))
    where = replace(plan.evidence.fingerprint, device="another machine")
    elsewhere = replace(plan, evidence=replace(plan.evidence, fingerprint=where))
    assert story.search is not None
    bound = replace(story.search.bound, tolerance=0.5)
    wider = replace(story, search=replace(story.search, bound=bound))

    def said(other: Story) -> str:
        return " ".join(sentences([Member("a", story), Member("b", other)]))

    models = said(replace(story, plan=other_model))
    assert "different models" in models
    assert "byte for byte" not in models
    devices = said(replace(story, plan=elsewhere))
    assert "b: clocked on another machine" in devices
    assert not any(word in models + devices for word in ("fastest", "ahead"))
    bounds = said(wider)
    assert "The bounds differ: a: rel-l2 ≤ 0.012; b: rel-l2 ≤ 0.5." in bounds
    assert "each within its own bound" in bounds


def test_groups_that_differ_are_listed_and_drawn(finished: Run) -> None:
    story = tell([finished.run_dir])
    plan = story.plan
    assert plan is not None
    key = next(g.key for g in plan.recipe.groups if g.precision is Precision.INT8)
    groups = tuple(
        replace(g, precision=Precision.FP32) if g.key == key else g for g in plan.recipe.groups
    )
    raised = replace(story, plan=replace(plan, recipe=replace(plan.recipe, groups=groups)))
    runs = [Member("a", story), Member("b.c[0]", raised)]
    (row,) = other_groups(runs)
    assert (row.key, row.precisions) == (key, (Precision.INT8, Precision.FP32))
    page = Html(runs_page(runs))
    assert set(page.charts) == {"plane", "strip"}
    assert "1 group without the same precision in all runs" in page.words
    bands = {(r["run"], r["group"]): r["precision"] for r in page.json["rows"]["bands"]}
    assert (bands["a", key], bands["b.c[0]", key]) == ("int8", "fp32")
    assert {r["run"] for r in page.json["rows"]["trials"]} == {"a", "b.c[0]"}
    for chart in page.charts:
        assert vl_convert.vegalite_to_svg({**page.filled(chart), "width": 600}).count("<path") > 3


def test_an_unfinished_run_and_a_plan_stand_beside_a_finished_run(
    finished: Run, again: Path, tmp_path: Path
) -> None:
    going = tmp_path / "going.precsearch"
    going.mkdir()
    lines = (finished.run_dir / "journal.jsonl").read_text().splitlines(keepends=True)
    start = next(i for i, line in enumerate(lines) if '"SearchStarted"' in line)
    (going / "journal.jsonl").write_text("".join(lines[: start + 1]))
    found = members([finished.run_dir, going, again.parent / "digits.plan.json"])
    assert len({m.name for m in found}) == 3
    assert found[1].cells[1] == "no engine yet"
    assert found[0].cells[1:5] == found[2].cells[1:5]
    assert not any("fastest" in said or "ahead" in said for said in sentences(found))
    page = Html(runs_page(found))
    assert "no engine yet" in page.words


def test_the_command_writes_a_page_of_several_runs(
    finished: Run, again: Path, tmp_path: Path
) -> None:
    target = tmp_path / "runs.html"
    command = ["report", str(finished.run_dir), str(again), "-o", str(target)]
    assert run(command) == 0
    assert "2 runs beside each other" in Html(target.read_text(encoding="utf-8")).words
    assert run(command) == 2, "nothing is replaced without --force"
