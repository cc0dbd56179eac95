"""A search of the example model by the real command, and everything that is done with its plan."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import onnx
import pytest

from precsearch.core.precision import Precision
from precsearch.plan.plan import Plan, evidence_path, read_plan
from tests.e2e.command import (
    DATA,
    HOLDOUT,
    MODEL,
    called,
    few_samples,
    run,
    with_one_weight_changed,
)
from tests.report.runs import Html


class Found:
    """A finished search."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.plan_path = folder / "digits.plan.json"
        self.artifact = folder / "fast.onnx"
        self.data = few_samples(folder / "few.npz", 96)
        self.holdout = few_samples(folder / "holdout.npz", 96, HOLDOUT)
        self.done = run(
            *("optimize", MODEL, "--data", self.data, "--holdout", self.holdout, "--tol", "1e-2"),
            *("--threads", "1", "--max-builds", "4"),
            *("--artifact", self.artifact, "-o", self.plan_path),
            cwd=folder,
        )

    @property
    def plan(self) -> Plan:
        return read_plan(self.plan_path)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    made = Found(tmp_path_factory.mktemp("found"))
    assert made.done.returncode == 0, made.done.stderr
    return made


def test_the_plan_is_within_the_bound_on_data_that_the_search_never_saw(found: Found) -> None:
    evidence = found.plan.evidence
    assert evidence.holdout is not None
    assert evidence.holdout.loss <= 1e-2
    assert evidence.accuracy.upper <= 1e-2
    assert found.plan.criteria.data["holdout_samples"] == 96
    assert evidence.finalists[-1].passed
    assert not any(look.passed for look in evidence.finalists[:-1])
    assert evidence.latency.ratio_low <= evidence.latency.ratio <= evidence.latency.ratio_high
    assert sum(t.fidelity == "engine" for t in evidence.trials) <= 4
    assert "Traceback" not in found.done.stderr
    assert str(found.plan_path) in found.done.stdout


def test_the_plan_says_why_and_what_was_achieved(found: Found) -> None:
    plan = found.plan
    asked = {g.key: g.precision for g in plan.recipe.groups}
    for group in plan.evidence.groups:
        assert group.achieved is asked[group.key], group
        assert group.reason
    if Precision.INT8 in asked.values():
        ops = {n.op_type for n in onnx.load(str(found.artifact)).graph.node}
        assert {"QuantizeLinear", "DequantizeLinear"} <= ops
        assert plan.recipe.scales
    where = str(found.folder)
    text = found.plan_path.read_text()
    assert where not in text
    assert str(MODEL) not in text
    assert evidence_path(found.plan_path).is_file()


def test_the_artifact_is_what_the_plan_promises_and_what_build_makes(found: Found) -> None:
    data = found.artifact.read_bytes()
    assert hashlib.sha256(data).hexdigest() == found.plan.recipe.materialised_sha256
    again = found.folder / "again.onnx"
    done = called("build", found.plan_path, "--model", MODEL, "-o", again)
    assert done.returncode == 0, done.stderr
    assert again.read_bytes() == data
    assert "identical" in done.stdout


def test_a_plan_moves_with_its_model_beside_it(found: Found, tmp_path: Path) -> None:
    shutil.copy(found.plan_path, tmp_path)
    shutil.copy(MODEL, tmp_path / "digits.onnx")
    done = called("build", "digits.plan.json", "-o", "out.onnx", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out.onnx").read_bytes() == found.artifact.read_bytes()


def test_verify_passes_here_and_not_with_an_impossible_bound(found: Found, tmp_path: Path) -> None:
    args = ("verify", found.plan_path, "--model", MODEL, "--data", found.holdout)
    done = called(*args, "--tol", "0.05")
    # Close to FP32's speed, a busy machine may time it as slower; that is another test's matter.
    slower = "it is slower than FP32 on this machine" in done.stdout
    assert done.returncode == (4 if slower else 0), done.stdout + done.stderr
    assert "verified" in done.stdout
    assert "the loss is not within" not in done.stdout
    few = few_samples(tmp_path / "few.npz", 16)
    done = called("verify", found.plan_path, "--model", MODEL, "--data", few, "--tol", "1e-12")
    assert done.returncode == 4
    assert "not verified: the loss is not within" in done.stdout


def test_another_model_is_refused_with_the_name_of_its_first_different_node(
    found: Found, tmp_path: Path
) -> None:
    other = with_one_weight_changed(tmp_path / "other.onnx", "stage2/block1/conv1.weight")
    for args in (("build", "-o", tmp_path / "out.onnx"), ("verify", "--data", found.holdout)):
        done = called(args[0], found.plan_path, "--model", other, *args[1:])
        assert done.returncode == 4
        assert "is not the model that the plan was made for" in done.stderr
        assert "the first node that differs is 'stage2/block1" in done.stderr
        assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out.onnx").exists()


def test_a_change_of_notes_alone_is_another_file_for_the_same_plan(
    found: Found, tmp_path: Path
) -> None:
    proto = onnx.load(str(MODEL))
    proto.doc_string = "a note"
    onnx.save(proto, str(tmp_path / "noted.onnx"))
    out = tmp_path / "out.onnx"
    done = called("build", found.plan_path, "--model", tmp_path / "noted.onnx", "-o", out)
    assert done.returncode == 4
    assert "in what this plan leaves no trace of (notes, " in done.stderr


def edit_precision(data: Any) -> None:
    group = next(g for g in data["recipe"]["groups"] if g["kind"] == "conv")
    group["precision"] = "fp32" if group["precision"] == "int8" else "int8"


def edit_scale(data: Any) -> None:
    data["recipe"]["options"]["threads"] = 7


@pytest.mark.parametrize("edit", [edit_precision, edit_scale])
def test_a_plan_edited_by_hand_is_refused(found: Found, tmp_path: Path, edit: Any) -> None:
    data = json.loads(found.plan_path.read_text())
    edit(data)
    path = tmp_path / "edited.json"
    path.write_text(json.dumps(data))
    done = called("build", path, "--model", MODEL, "-o", tmp_path / "out.onnx")
    assert done.returncode == 2
    assert "edited by hand" in done.stderr
    assert not (tmp_path / "out.onnx").exists()


def test_existing_files_are_kept_without_force(found: Found, tmp_path: Path) -> None:
    before = found.plan_path.read_bytes()
    done = called("optimize", MODEL, "--data", DATA, "-o", found.plan_path)
    assert done.returncode == 2
    assert "exists already; add --force to replace it" in done.stderr
    assert found.plan_path.read_bytes() == before
    out = tmp_path / "out.onnx"
    out.write_text("mine")
    args = ("build", found.plan_path, "--model", MODEL, "-o", out)
    assert called(*args).returncode == 2
    assert out.read_text() == "mine"
    assert called(*args, "--force").returncode == 0
    assert out.read_bytes() == found.artifact.read_bytes()


def test_an_earlier_journal_is_kept_without_force(found: Found, tmp_path: Path) -> None:
    args = ("optimize", MODEL, "--data", found.data, "-o", found.folder / "second.json")
    run_dir = found.folder / "digits.precsearch"
    before = (run_dir / "journal.jsonl").read_bytes()
    done = called(*args, "--run-dir", run_dir)
    assert done.returncode == 2
    assert "holds the journal of an earlier run; add --resume" in done.stderr
    other = few_samples(tmp_path / "few.npz")
    done = called(
        "optimize",
        MODEL,
        "--data",
        other,
        "-o",
        tmp_path / "p.json",
        "--run-dir",
        run_dir,
        "--resume",
    )
    assert done.returncode == 2
    assert "cannot be resumed: " in done.stderr
    assert "data was " in done.stderr
    assert (run_dir / "journal.jsonl").read_bytes() == before


def test_a_report_is_written_for_the_run(found: Found, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    done = called("report", found.folder / "digits.precsearch", "-o", page)
    assert done.returncode == 0, done.stderr
    shown = Html(page.read_text(encoding="utf-8"))
    assert {row["trial"] for row in shown.json["rows"]["trials"]} == {
        t.number for t in found.plan.evidence.trials
    }
    assert found.plan.recipe.materialised_sha256 in shown.words


def test_a_finished_search_is_replayed_without_an_engine(found: Found, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    shutil.copytree(found.folder / "digits.precsearch", run_dir)
    ranges = {p.name: p.stat().st_mtime_ns for p in run_dir.glob("ranges-*.json")}
    assert len(ranges) == 1
    done = run(
        *("optimize", MODEL, "--data", found.data, "--holdout", found.holdout, "--tol", "1e-2"),
        *("--threads", "1", "--max-builds", "4", "--resume"),
        *("--run-dir", run_dir, "-o", tmp_path / "p.json"),
    )
    assert done.returncode == 0, done.stderr
    assert "nothing is measured again" in done.stderr
    assert "engine 0" not in done.stderr
    assert read_plan(tmp_path / "p.json") == found.plan
    assert {p.name: p.stat().st_mtime_ns for p in run_dir.glob("ranges-*.json")} == ranges
