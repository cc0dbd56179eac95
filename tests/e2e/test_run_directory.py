"""Where the journal goes, and what belongs to another model."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from precsearch.api import OptimizeConfig
from precsearch.core.errors import OutputError
from precsearch.core.events import BatchProposed, Event, RunStarted, TrialFinished
from precsearch.graph.reading.read import read_model
from precsearch.search.journal import Journal
from precsearch.setup.ownership import check_same_model
from tests.cli.runs import engine, plan
from tests.e2e.command import DATA, MODEL, called, few_samples, run, with_one_weight_changed


@pytest.mark.parametrize(
    ("output", "run_dir"),
    [
        (None, "model.precsearch"),
        ("a.json", "a.precsearch"),
        ("a.plan.json", "a.precsearch"),
        ("out/a.json", "out/a.precsearch"),
        ("a", "a.precsearch"),
        ("a.b.json", "a.b.precsearch"),
        (".json", "model.precsearch"),
    ],
)
def test_the_run_directory_follows_the_plan(output: str | None, run_dir: str) -> None:
    config = OptimizeConfig(Path("m/model.onnx"), output=None if output is None else Path(output))
    assert config.run_path == Path(run_dir)
    named = replace(config, run_dir=Path("elsewhere"))
    assert named.run_path == Path("elsewhere")


def test_two_models_of_one_name_and_two_tolerances_never_meet() -> None:
    made = [
        OptimizeConfig(Path(model), tol=tol, output=Path(output)).run_path
        for model, tol, output in (
            ("a/model.onnx", 1e-2, "a.json"),
            ("b/model.onnx", 1e-2, "b.json"),
            ("a/model.onnx", 3e-2, "wide.json"),
        )
    ]
    assert len(set(made)) == 3


def recorded(folder: Path, digest: str, *more: Event) -> Path:
    """A run directory whose journal begins with a run of some model."""
    with Journal.open(folder, {"model": digest}) as journal:
        journal.append(RunStarted({"model": digest}, "other.onnx", "0.1.0"))
        for event in more:
            journal.append(event)
    return folder


TRIAL = TrialFinished(engine(0, 0, 0.0, 1.0), 1, 1.0)


def test_the_journal_of_another_model_is_kept_and_both_are_named(tmp_path: Path) -> None:
    source = read_model(MODEL)
    run_dir = recorded(tmp_path / "p.precsearch", "cd" * 32, BatchProposed(()), TRIAL)
    config = OptimizeConfig(MODEL, output=tmp_path / "p.json", force=True)
    with pytest.raises(OutputError) as caught:
        check_same_model(config, source)
    said = str(caught.value)
    assert "'other.onnx' (SHA-256 cdcdcdcdcdcd…)" in said
    assert f"{str(MODEL)!r} (SHA-256 {source.digest[:12]}…)" in said
    assert "name another -o" in said
    named = replace(config, output=tmp_path / "q.json", run_dir=run_dir, force=False, resume=True)
    with pytest.raises(OutputError, match="name another --run-dir"):
        check_same_model(named, source)


def test_a_journal_of_this_model_or_without_a_trial_is_no_obstacle(tmp_path: Path) -> None:
    source = read_model(MODEL)
    recorded(tmp_path / "same.precsearch", source.digest, TRIAL)
    recorded(tmp_path / "empty.precsearch", "cd" * 32)
    for name in ("same", "empty", "nothing"):
        check_same_model(OptimizeConfig(MODEL, output=tmp_path / f"{name}.json"), source)


def test_a_file_that_is_not_a_plan_belongs_to_no_model(tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text("{}")
    check_same_model(OptimizeConfig(MODEL, output=tmp_path / "p.json"), read_model(MODEL))


def test_force_replaces_a_plan_of_this_model_alone(tmp_path: Path) -> None:
    kept = plan().to_json()
    (tmp_path / "p.json").write_text(kept)
    done = called("optimize", MODEL, "--data", DATA, "-o", "p.json", "--force", cwd=tmp_path)
    assert done.returncode == 2
    assert "'p.json' is the plan of another model (SHA-256 abababababab…), not of" in done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "p.json").read_text() == kept
    assert not (tmp_path / "p.precsearch").exists()


def test_a_model_that_has_changed_is_another_model(tmp_path: Path) -> None:
    """The second search would replace what the first one found."""
    shutil.copy(MODEL, tmp_path / "model.onnx")
    few_samples(tmp_path / "few.npz", 8)
    args = ("optimize", "model.onnx", "--data", "few.npz", "--tol", "1", "--max-builds", "1")
    done = run(*args, "--threads", "1", "--no-corrections", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    before = (tmp_path / "model.plan.json").read_bytes()
    weight = next(iter(read_model(MODEL).proto.graph.initializer)).name
    with_one_weight_changed(tmp_path / "model.onnx", weight)
    for flag in ("--force", "--resume"):
        done = called(*args, flag, cwd=tmp_path)
        assert done.returncode == 2
        assert "is the plan of another model" in done.stderr
    assert (tmp_path / "model.plan.json").read_bytes() == before
