"""A plan never makes code run; what it is judged by is what it was reviewed with."""

from __future__ import annotations

import importlib.util
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from precsearch import api
from precsearch.cli.main import run
from precsearch.core.errors import DataError, OptionError, PlanError, ReplayError
from precsearch.metrics import metric
from precsearch.plan.plan import Plan, read_plan
from precsearch.plan.upgrade import digest_of_schema_1
from tests.hostile.situations.world import write_world

OPTIMIZE = (
    "optimize model.onnx --data data.npz --tol 9 --threads 1 --strategy uniform --no-corrections"
    " -o p.json"
)
VERIFY = "verify p.json --model model.onnx --data data.npz"
REPORT = ["report p.json -o r.html"] if importlib.util.find_spec("vl_convert") else []
LOSS = """
import pathlib

pathlib.Path("RAN").write_text("x")

def loss(outputs, reference, labels):
    return 0.25
"""


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A world whose plan is judged by ``sub/mine.py:loss``."""
    folder = tmp_path_factory.mktemp("searched")
    write_world(folder)
    (folder / "sub").mkdir()
    (folder / "sub" / "mine.py").write_text(LOSS)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert run([*OPTIMIZE.split(), "--metric", "sub/mine.py:loss"]) == 0
    (folder / "RAN").unlink()
    return folder


@pytest.fixture
def here(searched: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, in which the test works."""
    shutil.copytree(searched, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def edit(change: Any) -> None:
    document = json.loads(read_plan("p.json").to_json())
    change(document)
    Path("p.json").write_text(json.dumps(document))


def test_plan_journal_and_summary_hold_the_name_and_no_path(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = read_plan("p.json").criteria
    assert found.metric == "mine.py:loss"
    assert len(found.metric_sha256) == 64
    for path in ("p.json", "p.precsearch/journal.jsonl"):
        assert "sub/mine.py" not in Path(path).read_text()
    assert run([*OPTIMIZE.split(), "--metric", "sub/mine.py:loss", "--force"]) == 0
    assert "--metric sub/mine.py:loss" in capsys.readouterr().out, "it can be copied"


@pytest.mark.parametrize("word", ["", "--metric rel-l2", "--metric max-abs"])
def test_without_its_name_on_the_command_line_nothing_runs(here: Path, word: str) -> None:
    assert run([*VERIFY.split(), *word.split()]) == 2
    for line in ("build p.json --model model.onnx -o b.onnx", *REPORT):
        assert run(line.split()) == 0
    assert run(["diagnose", "model.onnx", "--plan", "p.json", "--data", "data.npz"]) == 0
    assert not (here / "RAN").exists()


def test_the_very_code_that_the_plan_was_made_with_runs(here: Path) -> None:
    assert run([*VERIFY.split(), "--metric", "sub/mine.py:loss"]) in (0, 4), "it may be slower"
    assert (here / "RAN").exists()
    report = api.verify("p.json", "model.onnx", "data.npz", metric="sub/mine.py:loss")
    assert (report.metric, report.loss) == ("mine.py:loss", 0.25)


def test_other_code_of_the_same_name_never_runs(here: Path) -> None:
    (here / "sub" / "mine.py").write_text(LOSS.replace("0.25", "0.0"))
    assert run([*VERIFY.split(), "--metric", "sub/mine.py:loss"]) == 4
    with pytest.raises(ReplayError, match="is not the code that the plan is judged by"):
        api.verify("p.json", "model.onnx", "data.npz", metric="sub/mine.py:loss")
    with pytest.raises(OptionError, match=r"--metric names 'mine\.py:other'"):
        api.verify("p.json", "model.onnx", "data.npz", metric="sub/mine.py:other")
    assert not (here / "RAN").exists()


def test_a_module_is_recorded_and_found_as_well(here: Path) -> None:
    (here / "my_trusted_losses.py").write_text(LOSS)
    assert run([*OPTIMIZE.split(), "--metric", "my_trusted_losses:loss", "--force"]) == 0
    assert read_plan("p.json").criteria.metric == "my_trusted_losses:loss"
    report = api.verify("p.json", "model.onnx", "data.npz", metric="my_trusted_losses:loss")
    assert report.loss == 0.25
    with pytest.raises(OptionError, match="has no file"):
        metric("sys:exit")


def test_a_metric_that_changes_while_a_search_runs_is_not_taken_for_the_first(here: Path) -> None:
    known = metric("sub/mine.py:loss")
    digest = read_plan("p.json").criteria.metric_sha256
    assert metric("sub/mine.py:loss", digest).name == known.name
    (here / "RAN").unlink()
    (here / "sub" / "mine.py").write_text(LOSS + "\n")
    with pytest.raises(DataError, match="has changed since the run began"):
        metric("sub/mine.py:loss", digest)
    assert not (here / "RAN").exists()


def test_another_metric_is_another_run(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "sub" / "mine.py").write_text(LOSS + "\n")
    assert run([*OPTIMIZE.split(), "--metric", "sub/mine.py:loss", "--resume"]) == 2
    assert "metric was mine.py:loss" in capsys.readouterr().err


def test_a_plan_of_the_first_schema_that_names_code_is_refused(here: Path) -> None:
    place = str(here / "sub" / "mine.py")

    def to_first(document: Any) -> None:
        criteria = document.pop("criteria")
        del document["evidence_digest"]
        evidence = json.loads(Path("p.evidence.json").read_text())["evidence"]
        evidence |= {k: criteria[k] for k in ("tolerance", "seed", "data")}
        document["evidence"] = evidence | {"metric": f"{place}:loss"}
        document["schema"], document["digest"] = 1, digest_of_schema_1(document)

    edit(to_first)
    with pytest.raises(OptionError, match="which runs only if you name it"):
        api.verify("p.json", "model.onnx", "data.npz")
    with pytest.raises(PlanError, match="it has no digest of it"):
        api.verify("p.json", "model.onnx", "data.npz", metric=f"{place}:loss")
    assert not (here / "RAN").exists()


def test_a_raised_tolerance_is_an_edited_plan(here: Path) -> None:
    edit(lambda d: d["criteria"].update(tolerance=1e9))
    assert run(VERIFY.split()) == 2
    with pytest.raises(PlanError, match="recipe and criteria do not match its digest"):
        read_plan("p.json")


def test_a_pinned_digest_exposes_a_plan_that_was_forged_completely(here: Path) -> None:
    reviewed = read_plan("plan.json")
    (here / "q.json").write_text(
        replace(reviewed, criteria=replace(reviewed.criteria, tolerance=1e9)).to_json()
    )
    assert isinstance(read_plan("q.json"), Plan), "a digest is no signature"
    line = "build {} --model model.onnx -o {}.onnx --expect " + reviewed.digest
    assert run(line.format("plan.json", "a").split()) == 0
    assert run(line.format("q.json", "b").split()) == 4
    assert not (here / "b.onnx").exists()
    verify = ["verify", "q.json", "--model", "model.onnx", "--expect", reviewed.digest]
    assert run(verify) == 4


def test_edited_evidence_is_reported_wherever_a_plan_is_used(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = json.loads(Path("plan.json").read_text())
    document["evidence"]["seconds"] = 1.0
    Path("plan.json").write_text(json.dumps(document))
    capsys.readouterr()
    for line in (
        "build plan.json --model model.onnx -o b.onnx",
        "verify plan.json --model model.onnx --data data.npz --tol 99",
        "export plan.json --model model.onnx --to polygraphy -o e",
        *(line.replace("p.json", "plan.json") for line in REPORT),
        "diagnose model.onnx --plan plan.json --data data.npz",
    ):
        assert run(line.split()) in (0, 4)
        said = " ".join(capsys.readouterr().out.split())
        if line.startswith("report"):
            said = Path("r.html").read_text()
        assert "evidence does not match its digest" in said, line
