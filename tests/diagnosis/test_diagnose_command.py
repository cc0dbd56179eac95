"""The command `diagnose`: its table, its files, its flags and what it refuses."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

from examples.miscompiled.miscompiling import Miscompiling
from precsearch.backends.onnxruntime.backend import OnnxRuntimeBackend
from precsearch.cli.main import run
from tests.diagnosis.sick_models import split_scales


def said(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out


@pytest.fixture
def here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "80")
    return folder


@pytest.mark.parametrize("order", ["worst", "graph"])
def test_the_table_fits_80_columns(
    here: Path, capsys: pytest.CaptureFixture[str], order: str
) -> None:
    assert run(["diagnose", "overflow.onnx", "--data", "data.npz", "--order", order]) == 0
    lines = said(capsys).splitlines()
    assert max(map(len, lines)) <= 80
    text = " ".join(" ".join(lines).split())
    assert "'two/pow'" in text
    assert "FP16 ends at 65504" in text
    rows = [line.split()[-1] for line in lines if line.endswith("Pow")]
    assert len(rows) == 2


def test_json_csv_and_the_rewritten_model(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = "diagnose overflow.onnx --data data.npz --suggest --csv t.csv --json"
    line += " --rewritten rewritten.onnx"
    assert run(line.split()) == 0
    fields = json.loads(said(capsys))
    assert fields["event"] == "diagnosis"
    assert fields["layers"][0].keys() >= {"euclidean", "cosine", "relative", "sqnr_db", "group"}
    rows = list(csv.DictReader((here / "t.csv").open()))
    assert [r["tensor"] for r in rows] == [r["tensor"] for r in fields["layers"]]
    assert run(["diagnose", "rewritten.onnx", "--data", "data.npz", "--json"]) == 0
    rewritten = json.loads(said(capsys))
    assert max(rewritten["losses"].values()) < 1e-2 < max(fields["losses"].values())
    assert run(line.split()) == 2, "it exists already"
    assert run([*line.split(), "--force"]) == 0


def test_batch_memory_granularity_backend_and_plan_flags(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = "--memory 4 --granularity node --backend onnxruntime --batch 4 --precision fp16 --json"
    assert run(["diagnose", "log.onnx", "--data", "data.npz", *line.split()]) == 0
    fields = json.loads(said(capsys))
    assert fields["samples"] == 8
    assert fields["layers"][0]["shape"][0] == 4
    assert {r["group"] for r in fields["layers"]} == {r["tensor"] for r in fields["layers"]}
    assert run(["diagnose", "log.onnx", "--data", "data.npz", "--plan", "no.json"]) == 2
    capsys.readouterr()
    assert run(["diagnose", "log.onnx", "--input-shape", "x:3x6x16", "--json"]) == 0
    fields = json.loads(said(capsys))
    assert fields["random"] is True
    assert fields["layers"][0]["shape"] == [3, 6, 16]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--precision fp6", "--precision takes fp32, bf16, fp16, fp8, int8 or int4, not 'fp6'"),
        ("--order best", "--order takes worst or graph, not 'best'"),
        ("--rewritten c.onnx", "--rewritten writes what --suggest finds; add --suggest"),
        ("--reproducer r", "--reproducer is for engines that are wrong in FP32"),
        ("--precision fp32 --suggest", "with --precision fp32 there is no table and no rewrite"),
        ("--memory 0", "--memory takes a whole number of at least 1, not '0'"),
    ],
)
def test_impossible_requests_are_reported(
    here: Path, capsys: pytest.CaptureFixture[str], line: str, message: str
) -> None:
    assert run(["diagnose", "log.onnx", "--data", "data.npz", *line.split()]) == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_a_correct_and_a_wrong_fp32_engine_are_told_from_each_other(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    line = ["diagnose", "split.onnx", "--data", "data.npz", "--precision", "fp32"]
    line += ["--backend", "onnxruntime"]
    assert run(line) == 0
    assert "gives what FP32 gives" in said(capsys)
    monkeypatch.setattr(OnnxRuntimeBackend, "built", 0, raising=False)
    monkeypatch.setattr(OnnxRuntimeBackend, "build", Miscompiling.build)
    assert run([*line, "--reproducer", "wrong"]) == 3
    text = " ".join(said(capsys).split())
    assert "the FP32 engine of onnxruntime is wrong" in text
    assert "the first wrong tensor is 'attention/scores'" in text
    assert (here / "wrong" / "run.py").is_file()
    assert run([*line, "--reproducer", "other", "--json"]) == 3
    assert json.loads(said(capsys))["tensor"] == "attention/scores"
    assert run([*line, "--reproducer", "other"]) == 2, "it exists already"
    (here / "file").write_text("")
    assert run([*line, "--reproducer", "file"]) == 2
    assert "cannot be made" in capsys.readouterr().err


def test_a_model_of_external_weights_is_written_with_them(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    onnx.save(
        split_scales(),
        here / "external.onnx",
        save_as_external_data=True,
        location="w.bin",
        size_threshold=0,
    )
    away = tmp_path / "away"
    away.mkdir()
    line = f"diagnose external.onnx --data data.npz --suggest --rewritten {away / 'rewritten.onnx'}"
    assert run(line.split()) == 0
    again = ["diagnose", str(away / "rewritten.onnx"), "--data", "data.npz", "--precision", "fp32"]
    assert run([*again, "--backend", "onnxruntime"]) == 0
    monkeypatch.setattr(OnnxRuntimeBackend, "built", 0, raising=False)
    monkeypatch.setattr(OnnxRuntimeBackend, "build", Miscompiling.build)
    wrong = "diagnose external.onnx --data data.npz --precision fp32 --backend onnxruntime"
    assert run([*wrong.split(), "--reproducer", str(away / "r")]) == 3
    done = subprocess.run(
        [sys.executable, "run.py"], cwd=away / "r", capture_output=True, text=True, check=True
    )
    assert "is off by" in done.stdout
