"""Pages about plans and runs with something missing, infinite, or of another model."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from precsearch.cli.main import run
from precsearch.core.events import Event, RunStarted, SearchStarted, TrialFinished
from precsearch.core.precision import Precision
from precsearch.core.problem import Bound
from precsearch.core.space import Assignment
from precsearch.core.trial import Accuracy, Measured, Measurement
from precsearch.plan.plan import Finalist, Plan, ScaleRecipe, TrialEvidence, read_plan
from precsearch.report import compare, difference_lines, difference_page, run_page, tell
from precsearch.search.journal import Journal
from tests.cli.runs import engine, plan, synthetic_run
from tests.report.runs import Html, Run


def saved(folder: Path, made: Plan, name: str = "m.plan.json") -> Path:
    (folder / name).write_text(made.to_json(), encoding="utf-8")
    return folder / name


def page(folder: Path, made: Plan) -> Html:
    return Html(run_page(tell([saved(folder, made)])))


def written(folder: Path, events: list[Event]) -> Path:
    with Journal.open(folder / "some.precsearch", {}) as journal:
        for event in events:
            journal.append(event)
    return folder / "some.precsearch"


def test_the_headline_states_the_result(tmp_path: Path) -> None:
    won = plan()
    assert "1.82x FP32's speed" in page(tmp_path, won).words
    looked = (Finalist(1, 0.5, 0.009, 0.02, False), Finalist(2, 0.6, 0.008, 0.03, False))
    none = plan(int8=0)
    none = replace(none, evidence=replace(none.evidence, finalists=looked))
    words = page(tmp_path, none).words
    assert "nothing confirmed on the holdout, within rel-l2 ≤ 0.01" in words
    assert "FP32 is the fastest" not in words
    one = (looked[0], replace(looked[1], passed=True))
    some = replace(won, evidence=replace(won.evidence, finalists=one))
    assert "nothing confirmed" not in page(tmp_path, some).words
    words = page(tmp_path, plan(int8=0)).words
    assert "nothing faster than FP32 found, within rel-l2 ≤ 0.01" in words, "it was cut short"
    timed = replace(plan().evidence, stopped="complete")
    words = page(tmp_path, replace(plan(int8=0), evidence=timed)).words
    assert "FP32 is the fastest, within rel-l2 ≤ 0.01" in words


def test_a_speed_up_in_doubt_has_no_good_headline(tmp_path: Path) -> None:
    sure = plan()
    doubted = replace(sure.evidence.latency, unsure=("something else uses this machine (9 of 20)",))
    unsure = replace(sure, evidence=replace(sure.evidence, latency=doubted))
    shown = [run_page(tell([saved(tmp_path, made)])) for made in (sure, unsure)]
    assert ['class="head good"' in page for page in shown] == [True, False]
    assert "; something else uses this machine" in Html(shown[1]).words


@pytest.mark.parametrize("holdout", [True, False])
def test_a_holdout_is_shown_if_there_was_one(holdout: bool, tmp_path: Path) -> None:
    made = plan(holdout=holdout)
    words = page(tmp_path, made).words
    assert ("0.0091" in words) == holdout
    path = saved(tmp_path, made)
    told = "\n".join(difference_lines(compare(path, path)))
    assert ("loss on the holdout" in told) == holdout


def test_trials_of_a_plan_have_their_verdicts(tmp_path: Path) -> None:
    rows = (
        TrialEvidence(0, "00", {}, "engine", 0.0, 1.0),
        TrialEvidence(1, "01", {"int8": 12}, "engine", math.inf, 0.4),
        TrialEvidence(2, "02", {"int8": 1}, "engine", failed="build/crash: died"),
        TrialEvidence(3, "03", {"int8": 2}, "engine", 0.02, 0.6),
    )
    made = plan()
    evidence = replace(made.evidence, trials=rows)
    shown = page(tmp_path, replace(made, evidence=evidence)).json["rows"]["trials"]
    assert [row["verdict"] for row in shown] == [
        *("pass", "not finite", "failed", "over bound"),
    ]


def test_before_the_bound_is_known_a_page_draws_what_there_is(tmp_path: Path) -> None:
    started = next(e for e in synthetic_run() if isinstance(e, RunStarted))
    trials = [TrialFinished(engine(n, n, 0.001 * n, 1 - n / 10), n + 1, float(n)) for n in range(3)]
    shown = Html(run_page(tell([written(tmp_path, [started, *trials])])))
    assert {row["verdict"] for row in shown.json["rows"]["trials"]} == {"no bound yet"}
    assert shown.json["rows"]["best"] == []
    assert "no plan yet: no engine within the bound so far" in shown.words


def test_a_loss_that_is_not_a_number_is_drawn_at_the_edge(tmp_path: Path) -> None:
    events = list(synthetic_run(builds=6, proxies=2))
    (started,) = [e for e in events if isinstance(e, SearchStarted)]
    untold = replace(
        engine(90, 3, 0.1, 0.8), outcome=Measured(Measurement(Accuracy(math.nan, math.nan)))
    )
    events.append(TrialFinished(untold, 7, 50.0))
    rows = Html(run_page(tell([written(tmp_path, events)]))).json["rows"]["trials"]
    by_number = {row["trial"]: row for row in rows}
    assert by_number[90]["verdict"] == "not finite"
    finite = [r["loss"] for r in rows if r["loss"] is not None and r["trial"] != 90]
    assert by_number[90]["loss"] >= max(finite)
    assert started.bound.tolerance < by_number[90]["loss"]


def test_a_bound_of_zero_draws_no_line(tmp_path: Path) -> None:
    events: list[Event] = [
        replace(e, bound=Bound(0.0)) if isinstance(e, SearchStarted) else e
        for e in synthetic_run(builds=4, proxies=2)
    ]
    shown = Html(run_page(tell([written(tmp_path, events)])))
    assert "bound: rel-l2" not in str(shown.json["spec-plane"])
    (tmp_path / "other").mkdir()
    usual = Html(run_page(tell([written(tmp_path / "other", list(synthetic_run(4, 2)))])))
    assert "bound: rel-l2" in str(usual.json["spec-plane"])


def test_of_very_many_engines_the_map_has_the_first_and_the_last(tmp_path: Path) -> None:
    start = list(synthetic_run(builds=1, proxies=0))[:8]
    made = [engine(n, 5, 0.002, 0.9) for n in range(1, 101)]
    for n, trial in enumerate(made):
        other = Assignment.of({f"group{n}": Precision.INT8})
        made[n] = replace(trial, proposal=replace(trial.proposal, assignment=other))
    events = [*start, *(TrialFinished(t, t.number, float(t.number)) for t in made)]
    shown = Html(run_page(tell([written(tmp_path, events)])))
    numbers = {int(row["engine"]) for row in shown.json["rows"]["map"]}
    engines = [r["trial"] for r in shown.json["rows"]["trials"] if r["what"] == "engine"]
    assert len(engines) >= 100
    assert len(numbers) <= 80
    assert {engines[0], engines[-1]} <= numbers
    assert engines[50] not in numbers


def test_a_plan_of_another_model_is_refused_beside_a_run(
    finished: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = saved(tmp_path, plan())
    assert run(["report", str(finished.run_dir), str(other)]) == 2
    assert "is not of the model of the run" in " ".join(capsys.readouterr().err.split())


def test_a_plan_of_the_same_model_and_another_run_is_not_taken_for_this_one_s(
    finished: Run, tmp_path: Path
) -> None:
    shutil.copytree(finished.run_dir, tmp_path / "digits.precsearch")
    made = read_plan(finished.plan)
    extra = TrialEvidence(99, "not of this run", {}, "engine", 0.0, 1.0)
    evidence = replace(made.evidence, trials=(*made.evidence.trials, extra))
    saved(tmp_path, replace(made, evidence=evidence), "digits.plan.json")
    story = tell([tmp_path / "digits.precsearch"])
    assert story.plan is None
    assert any("is not this run's" in w for w in story.warnings)


def two(folder: Path, second: Plan) -> tuple[Path, Path]:
    return saved(folder, plan()), saved(folder, second, "second.plan.json")


def test_plans_of_two_models_and_metrics_share_no_chart(tmp_path: Path) -> None:
    made = plan()
    other = replace(
        made,
        recipe=replace(made.recipe, model_sha256="99" * 32),
        criteria=replace(made.criteria, metric="sqnr", tolerance=40.0),
    )
    found = compare(*two(tmp_path, other))
    assert difference_lines(found)[0].endswith("plans for different models")
    shown = Html(difference_page(found))
    assert shown.json["rows"]["trials"] == []
    assert "plane" not in shown.charts
    same = Html(difference_page(compare(*two(tmp_path, made))))
    assert "plane" in same.charts
    assert same.words.count("No difference.") == 3, "groups, scales, options"


def test_plans_of_two_tolerances_share_a_chart_without_a_bound(tmp_path: Path) -> None:
    made = plan()
    other = replace(made, criteria=replace(made.criteria, tolerance=0.05))
    shown = Html(difference_page(compare(*two(tmp_path, other))))
    assert "bound: rel-l2" not in str(shown.json["spec-plane"])
    assert len(shown.json["rows"]["trials"]) > 2


def test_groups_that_were_written_otherwise_are_counted(tmp_path: Path) -> None:
    made = plan()
    groups = tuple(
        replace(g, digest="34") if i in (2, 3) else g for i, g in enumerate(made.recipe.groups)
    )
    first = groups[0]
    groups = (replace(first, precision=Precision.FP32, digest="56"), *groups[1:])
    other = replace(made, recipe=replace(made.recipe, groups=groups))
    found = compare(*two(tmp_path, other))
    assert found.rebuilt == (groups[2].key, groups[3].key)
    assert any("2 more groups of equal precision" in x for x in difference_lines(found))
    assert "2 more groups of equal precision" in Html(difference_page(found)).words


def test_a_scale_that_one_plan_lacks_is_not_there(tmp_path: Path) -> None:
    made = plan()
    one = ScaleRecipe("x", (0.5).hex(), 0)
    first = saved(tmp_path, replace(made, recipe=replace(made.recipe, scales=(one,))))
    moved = ScaleRecipe("x", (0.5).hex(), 7)
    more = ScaleRecipe("y", (0.25).hex(), 0)
    second = replace(made, recipe=replace(made.recipe, scales=(moved, more)))
    found = compare(first, saved(tmp_path, second, "second.plan.json"))
    x, y = found.scales
    assert (x.what, x.note) == ("x", "+0 %, zero point 0 to 7")
    assert (y.what, y.first, y.second, y.note) == ("y", "not there", "0.25", "")
