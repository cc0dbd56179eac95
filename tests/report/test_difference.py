"""Two plans, compared."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from precsearch.cli.main import run
from precsearch.core.precision import Precision
from precsearch.core.trial import Accuracy
from precsearch.plan.plan import Plan, read_plan
from precsearch.report import compare, difference_lines, difference_page
from tests.report.runs import Html, Run


@pytest.fixture
def other(finished: Run, tmp_path: Path) -> tuple[Path, str, str]:
    """A plan with one group raised, one scale doubled and one thread more; group and tensor."""
    plan = read_plan(finished.plan)
    recipe = plan.recipe
    raised = next(g for g in recipe.groups if g.precision is Precision.INT8)
    doubled = recipe.scales[0]
    groups = tuple(
        replace(g, precision=Precision.FP32) if g is raised else g for g in recipe.groups
    )
    scales = (
        replace(doubled, scale=(float.fromhex(doubled.scale) * 2).hex()),
        *recipe.scales[1:],
    )
    changed = replace(recipe, groups=groups, scales=scales, options={"threads": 2})
    path = tmp_path / "other.plan.json"
    path.write_text(Plan(changed, plan.criteria, plan.evidence).to_json(), encoding="utf-8")
    return path, raised.key, doubled.tensor


def test_differences_are_reported_and_nothing_else(
    finished: Run, other: tuple[Path, str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    path, group, tensor = other
    found = compare(finished.plan, path)
    assert [(c.what, c.first, c.second) for c in found.groups] == [(group, "int8", "fp32")]
    assert [(c.what, c.note) for c in found.scales] == [(tensor, "+1e+02 %")]
    assert [c.what for c in found.options] == ["options.threads"]
    assert run(["report", str(finished.plan), str(path)]) == 0
    out = capsys.readouterr().out
    assert "different engines of one model" in out
    assert group in out
    assert tensor in out
    for measured in ("loss", "latency", "speed over FP32"):
        assert measured in out


def test_a_plan_and_itself_are_the_same(finished: Run) -> None:
    found = compare(finished.plan, finished.plan)
    assert (found.groups, found.scales, found.options, found.rebuilt) == ((), (), (), ())
    assert difference_lines(found)[0].endswith("the same engine")


def test_a_plan_that_nobody_measured_has_no_numbers(finished: Run, tmp_path: Path) -> None:
    plan = read_plan(finished.plan)
    latency = replace(plan.evidence.latency, seconds=math.nan, ratio=math.nan)
    evidence = replace(plan.evidence, latency=latency, accuracy=Accuracy(math.nan, math.nan))
    path = tmp_path / "edited.plan.json"
    path.write_text(Plan(plan.recipe, plan.criteria, evidence).to_json(), encoding="utf-8")
    found = {c.what: c.second for c in compare(finished.plan, path).measured}
    assert [found[what] for what in ("loss", "speed over FP32", "latency")] == ["not measured"] * 3
    assert "nan" not in "\n".join(difference_lines(compare(finished.plan, path)))


def test_plans_for_different_models_share_no_group(finished: Run, tmp_path: Path) -> None:
    plan = read_plan(finished.plan)
    count = len(plan.recipe.groups)
    groups = tuple(replace(g, key=f"other {g.key}") for g in plan.recipe.groups)
    recipe = replace(plan.recipe, groups=groups, model_sha256="0" * 64)
    path = tmp_path / "different.plan.json"
    path.write_text(Plan(recipe, plan.criteria, plan.evidence).to_json(), encoding="utf-8")
    lines = difference_lines(compare(finished.plan, path))
    assert lines[0].endswith("plans for different models")
    assert f"groups ({2 * count} of {2 * count} differ)" in lines


def test_the_page_shows_both(finished: Run, other: tuple[Path, str, str], tmp_path: Path) -> None:
    path, group, _ = other
    page = Html(difference_page(compare(finished.plan, path)))
    assert set(page.charts) == {"plane", "strip"}
    rows = {row["group"]: row for row in page.json["rows"]["groups"]}
    assert (rows[group]["first"], rows[group]["second"]) == ("int8", "fp32")
    target = tmp_path / "difference.html"
    assert run(["report", str(finished.plan), str(path), "-o", str(target)]) == 0
    assert "1 of " in Html(target.read_text(encoding="utf-8")).words


def test_a_file_that_is_not_a_plan_is_reported(
    finished: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = tmp_path / "wrong.json"
    wrong.write_text(json.dumps({"schema": 1}))
    assert run(["report", str(finished.plan), str(wrong)]) == 2
    assert "the plan is malformed" in capsys.readouterr().err
