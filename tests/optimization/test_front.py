"""Every point of a run's Pareto front becomes a plan, and nothing is measured for it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from precsearch import api
from precsearch.core.errors import InputError, ReplayError
from precsearch.core.events import TrialFinished
from precsearch.core.objective import Limits, Objective
from precsearch.core.precision import Precision
from precsearch.core.problem import Bound, Goal
from precsearch.optimization.across.table_file import EngineTable, write_table
from precsearch.optimization.front.plan_at import front, plan_at
from precsearch.optimization.front.points import points_of, within
from precsearch.optimization.front.runs import best_within, finished_runs
from precsearch.plan.plan import Finalist, Plan
from precsearch.search.journal import read
from precsearch.setup.config import EngineRow
from tests.e2e.plugins.clocked_backend import diary, here
from tests.optimization.unequal import searched, unequal
from tests.rewrites.scalable_models import CHANNELS


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("front")
    with pytest.MonkeyPatch.context() as patch:
        here(folder, patch)
        patch.chdir(folder)
        onnx.save(unequal(), "model.onnx")
        rng = np.random.default_rng(0)
        for name in ("data.npz", "holdout.npz"):
            np.savez(name, x=rng.normal(0, 1, (16, CHANNELS, 8, 8)).astype(np.float32))
        yield folder


@pytest.fixture(scope="module")
def own(place: Path) -> Plan:
    return searched(strategy="auto", tol=0.012, holdout=Path("holdout.npz"), max_builds=5)


def test_each_point_is_the_engine_that_was_measured(own: Plan, place: Path) -> None:
    _, points = front("model.precsearch")
    assert len(points) > 2
    did = len(diary(place / "clocked" / "diary"))
    journal = {
        e.trial.assignment: e.trial
        for e in read("model.precsearch")
        if isinstance(e, TrialFinished)
    }
    corrected = set()
    for number, point in enumerate(points):
        report = plan_at("model.precsearch", point.loss, f"{number}.plan.json")
        plan = api.load_plan(report.path)
        assert plan.notes == ()
        assert (report.number, plan.recipe.assignment) == (
            point.trial.number,
            point.trial.assignment,
        )
        trial = journal[plan.recipe.assignment]
        assert trial.measurement is not None
        assert plan.evidence.accuracy.loss == pytest.approx(trial.measurement.accuracy.loss, 1e-4)
        assert plan.criteria == replace(own.criteria, tolerance=point.loss)
        built = api.build(report.path, "model.onnx", f"{number}.onnx")
        assert (built.verdict, built.sha256) == ("identical", plan.recipe.materialised_sha256)
        int8 = bool(plan.recipe.assignment.keys_at(Precision.INT8))
        corrected.add((int8, any(r.name == "equalize" for r in plan.recipe.rewrites)))
    assert corrected == {(True, True), (False, False)}
    assert len(diary(place / "clocked" / "diary")) == did, "nothing was built or timed"


def test_the_bound_of_the_run_gives_its_own_plan(own: Plan) -> None:
    report = plan_at("model.precsearch", 0.012, "same.plan.json")
    plan = api.load_plan("same.plan.json")
    assert plan.recipe == own.recipe
    assert (plan.evidence.latency, plan.evidence.holdout) == (
        own.evidence.latency,
        own.evidence.holdout,
    )
    assert any(line.startswith("the holdout confirms it") for line in report.lines)


def test_unconfirmed_engines_are_reported(own: Plan) -> None:
    report = plan_at("model.precsearch", 1.0, "wide.plan.json")
    evidence = api.load_plan("wide.plan.json").evidence
    assert evidence.latency.ratio < own.evidence.latency.ratio
    assert evidence.holdout is None
    assert "it was timed during the search alone" in evidence.latency.unsure
    assert report.lines == evidence.warnings[: len(report.lines)]
    assert any("holdout was not looked at" in line for line in report.lines)
    assert any("not confirmed" in line for line in report.lines)


def test_an_engine_that_cannot_be_a_plan_is_refused(own: Plan, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the most accurate one is off by"):
        plan_at("model.precsearch", 1e-12, "none.plan.json")
    with pytest.raises(InputError, match="exists already"):
        plan_at("model.precsearch", 1.0, "model.plan.json")
    other = unequal()
    other.graph.name = "another"
    onnx.save(other, tmp_path / "other.onnx")
    with pytest.raises(ReplayError, match="is not the model that the plan was made for"):
        plan_at("model.precsearch", 1.0, "none.plan.json", model=tmp_path / "other.onnx")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "journal.jsonl").write_bytes(
        Path("model.precsearch/journal.jsonl").read_bytes()
    )
    with pytest.raises(InputError, match="has written no plan yet"):
        front(tmp_path / "run")
    for name in ("plan.json", "outputs.json"):
        (tmp_path / "run" / name).write_bytes(Path("model.precsearch", name).read_bytes())
    assert front(tmp_path / "run") == front("model.precsearch")
    with pytest.raises(InputError, match="name the model with --model"):
        plan_at(tmp_path / "run", 1.0, tmp_path / "none.plan.json")
    with pytest.raises(ReplayError, match="no longer has the ranges"):
        plan_at(tmp_path / "run", 1.0, "none.plan.json", model="model.onnx")
    for found in Path("model.precsearch").glob("ranges-*.json"):
        (tmp_path / "run" / found.name).write_bytes(found.read_bytes())
    with pytest.raises(ReplayError, match="lowered to another model here"):
        plan_at(tmp_path / "run", 1.0, "none.plan.json", model="model.onnx")
    assert not Path("none.plan.json").exists()


def test_a_point_has_the_worse_of_its_losses(own: Plan) -> None:
    """What missed on the holdout is within no bound that its loss there does not meet."""
    fastest = front("model.precsearch")[1][0]
    missed = Finalist(fastest.trial.number, fastest.ratio, fastest.loss, 0.9, passed=False)
    plan = replace(own, evidence=replace(own.evidence, finalists=(missed,)))
    trials = [e.trial for e in read("model.precsearch") if isinstance(e, TrialFinished)]
    points = points_of(trials, plan)
    taken = within(points, Goal(Bound(0.5)))
    assert taken is not None
    assert taken.trial.number != fastest.trial.number
    wide = within(points, Goal(Bound(0.95)))
    assert wide is not None
    assert (wide.trial.number, wide.loss, wide.on_holdout) == (fastest.trial.number, 0.9, True)


def test_limits_and_objective_of_the_run_hold(own: Plan) -> None:
    trials = [e.trial for e in read("model.precsearch") if isinstance(e, TrialFinished)]
    points = points_of(trials, own)
    found = [p.trial.measurement for p in points]
    least = min(m.latency.seconds for m in found if m is not None and m.latency is not None)
    fastest = within(points, Goal(Bound(1.0)))
    assert fastest is not None
    assert within(points, Goal(Bound(1.0), limits=Limits(seconds=least))) == fastest
    assert within(points, Goal(Bound(1.0), limits=Limits(seconds=least / 2))) is None
    smallest = within(points, Goal(Bound(1.0), objective=Objective.SIZE))
    assert smallest is not None
    assert smallest.found.artifact_bytes == min(p.found.artifact_bytes for p in points)


@pytest.mark.parametrize("faster", ["one", "two"])
def test_of_several_engines_the_best_of_all_is_taken(
    own: Plan, tmp_path: Path, faster: str
) -> None:
    """Two copies of a run stand for two engines, of which one is four times as fast in FP32."""
    rows = []
    for name in ("one", "two"):
        shutil.copytree("model.precsearch", tmp_path / "both" / name)
        fp32 = 1.0 if name == faster else 0.25
        rows.append(EngineRow(name, fp32, "", None, 1.0, 0.0, 5, together=True))
    refused = EngineRow("three", None, "", None, None, None, 1, together=True)
    write_table(tmp_path / "both", EngineTable("one", (*rows, refused)))
    _, alone = front("model.precsearch")
    _, points = front(tmp_path / "both")
    assert {p.backend for p in points} == {faster}
    assert [p.trial for p in points] == [p.trial for p in alone]
    assert [p.speed for p in points] == [p.speed for p in alone]
    output = tmp_path / "at.plan.json"
    report = plan_at(tmp_path / "both", 0.012, output, model="model.onnx")
    assert (report.backend, report.plan.recipe) == (faster, own.recipe)
    assert "timed in the same rounds" in report.lines[0]
    assert report.lines[0] in report.plan.evidence.warnings
    with pytest.raises(InputError, match="the most accurate one is off by"):
        plan_at(tmp_path / "both", 1e-12, tmp_path / "none.plan.json", model="model.onnx")


def test_the_smallest_of_several_engines_is_the_one_of_fewest_bytes(own: Plan) -> None:
    """Bytes need no FP32 engine to compare with."""
    run = finished_runs(Path("model.precsearch"))[0]
    slow = replace(run, points=tuple(replace(p, fp32=0.01) for p in run.points))
    goal = Goal(Bound(1.0), objective=Objective.SIZE)
    least = min(run.points, key=lambda p: p.found.artifact_bytes)
    few = replace(run, points=tuple(p for p in run.points if p.loss < least.loss))
    best = best_within([(few, goal), (slow, goal)])
    assert best is not None
    assert best[0] is slow
    assert best[1].found.artifact_bytes == least.found.artifact_bytes
