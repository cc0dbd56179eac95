"""Plans of 0.1.0 are upgraded: the same bytes are built from them, and from a plan alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from precsearch.cli.exit_codes import Exit
from precsearch.cli.main import run
from precsearch.plan.plan import SCHEMA, evidence_path, read_plan

EXAMPLES = Path(__file__).parents[2] / "examples"
OLD = "old.plan.json"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the model, its data and the plan that 0.1.0 wrote."""
    shutil.copy(EXAMPLES / "replay" / "digits-0.1.0.plan.json", tmp_path / OLD)
    for name in ("model.onnx", "holdout.npz"):
        shutil.copy(EXAMPLES / "digits" / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def built(plan: str, output: str) -> bytes:
    assert run(["build", plan, "--model", "model.onnx", "-o", output]) == Exit.DONE
    return Path(output).read_bytes()


def test_an_upgraded_plan_builds_the_same_bytes_as_the_old_one(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert json.loads((here / OLD).read_text())["schema"] == 1
    assert run(["upgrade", OLD, "-o", "new.plan.json"]) == Exit.DONE
    said = capsys.readouterr().out
    assert "new.plan.json: plan upgraded" in said
    assert "evidence new.evidence.json" in " ".join(said.split())
    assert "has schema 1, whose digest does not cover what verify judges by" in said
    new, old = read_plan("new.plan.json"), read_plan(OLD)
    assert (new, new.notes) == (old, ())
    assert json.loads(Path("new.plan.json").read_text())["schema"] == SCHEMA
    assert built("new.plan.json", "new.onnx") == built(OLD, "old.onnx")


def test_without_evidence_a_plan_builds_and_verify_says_what_it_cannot_compare(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["upgrade", OLD, "-o", "new.plan.json"]) == Exit.DONE
    whole = built("new.plan.json", "whole.onnx")
    evidence_path(Path("new.plan.json")).unlink()
    assert built("new.plan.json", "alone.onnx") == whole
    capsys.readouterr()
    line = "verify new.plan.json --model model.onnx --data holdout.npz --tol 0.5"
    assert run(line.split()) in (Exit.DONE, Exit.REPLAY), "how fast it is here is not the question"
    said = " ".join(capsys.readouterr().out.split())
    assert "versions and device cannot be compared with those of the search" in said
    assert run(["report", "new.plan.json", OLD]) == Exit.INPUT
    assert "what was measured is not known, since" in capsys.readouterr().err


def test_nothing_is_replaced_without_force_and_the_given_plan_is_never_replaced(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = (here / OLD).read_bytes()
    (here / "new.evidence.json").write_text("mine")
    assert run(["upgrade", OLD, "-o", "new.plan.json"]) == Exit.INPUT
    assert not (here / "new.plan.json").exists()
    assert run(["upgrade", OLD, "-o", OLD, "--force"]) == Exit.INPUT
    assert (here / OLD).read_bytes() == given
    assert run(["upgrade", OLD, "-o", "new.plan.json", "--force"]) == Exit.DONE


def test_a_plan_of_an_unknown_schema_is_refused_in_one_sentence(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = json.loads((here / OLD).read_text())
    (here / OLD).write_text(json.dumps({**document, "schema": 0}))
    assert run(["upgrade", OLD, "-o", "new.plan.json"]) == Exit.INPUT
    assert "the plan has schema 0, this version reads 2" in capsys.readouterr().err
