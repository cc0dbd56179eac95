"""`diagnose` names what goes wrong, where it begins, and what heals it."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import precsearch
from examples.miscompiled.miscompiling import Miscompiling
from precsearch.api.diagnose import DiagnoseConfig, diagnose
from precsearch.api.diagnosis import Diagnosis
from precsearch.api.miscompiled import check_engine
from precsearch.backends.onnxruntime import OnnxRuntimeBackend
from precsearch.cli.main import run
from precsearch.errors import OptionError
from precsearch.reference.likeness import Sums
from precsearch.space import Precision
from tests.diagnose.sick_models import SHAPE, masked, overflowing, split_scales, underflowing
from tests.odd.odd_models import MODELS as ODD
from tests.odd.test_odd_models import NUMB

INT8 = Precision.INT8
MODELS = {"overflow": overflowing, "mask": masked, "log": underflowing, "split": split_scales}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("sick")
    for name, make in MODELS.items():
        onnx.save(make(), made / f"{name}.onnx")
    rng = np.random.default_rng(0)
    np.savez(made / "data.npz", x=rng.normal(0, 1, (8, *SHAPE[1:])).astype(np.float32))
    return made


def found(folder: Path, name: str, **options: Any) -> Diagnosis:
    return diagnose(DiagnoseConfig(folder / f"{name}.onnx", folder / "data.npz", **options))


@pytest.fixture(scope="module")
def overflow(folder: Path) -> Diagnosis:
    return found(folder, "overflow", suggest=True)


def test_the_variance_path_is_named_and_healed(overflow: Diagnosis) -> None:
    assert overflow.loss > 0.1
    first = next(r for r in overflow.jumps if r.alone is not None and r.alone > 0.1)
    assert (first.tensor, first.op_type) == ("two/pow", "Pow")
    assert first.before < 1e-2
    assert first.likeness.relative == np.inf
    assert first.likeness.nonfinite > 0.1
    assert first.likeness.reference_absmax > 65504
    healed = {s.name: s.after for s in overflow.suggestions if s.exact}
    assert healed.keys() == {"fuse-layernorm", "scale-variance"}
    assert max(healed.values()) < 1e-2


def test_layers_come_in_graph_order_with_onnx_names(overflow: Diagnosis, folder: Path) -> None:
    proto = onnx.load(folder / "overflow.onnx")
    order = [t for n in proto.graph.node for t in n.output]
    assert [r.tensor for r in overflow.layers] == [t for t in order if t in set(order)]
    assert all(r.shape[-1] in (1, SHAPE[-1]) for r in overflow.layers)
    assert {r.precision for r in overflow.layers} == {Precision.FP16}
    assert {r.achieved for r in overflow.layers} == {None}
    assert "truly rounded" in overflow.how


def test_a_jump_is_where_the_difference_arises(overflow: Diagnosis) -> None:
    jumps = {r.tensor for r in overflow.jumps}
    assert "two/pow" in jumps
    assert not {"two/variance", "two/eps", "two/sqrt"} & jumps, "they were handed it"
    assert not {r.tensor for r in overflow.layers if r.tensor.startswith("one")} & jumps


def test_a_mask_constant_is_named_and_clamped(folder: Path) -> None:
    diagnosis = found(folder, "mask", suggest=True)
    (constant,) = diagnosis.constants
    assert constant.absmax == float(np.finfo(np.float32).max)
    assert constant.readers == ("masked",)
    best = diagnosis.suggestions[0]
    assert (best.name, best.exact) == ("clamp-constants", True)
    assert best.fp32 == 0.0


def test_an_underflow_before_a_logarithm_is_named(folder: Path) -> None:
    diagnosis = found(folder, "log")
    (first, *_) = [r for r in diagnosis.jumps if r.op_type == "Log"]
    assert first.likeness.nonfinite > 0
    source = next(r for r in diagnosis.layers if r.tensor == first.reads[0])
    assert source.likeness.subnormal > 0.9


def test_memory_is_bounded_and_changes_nothing(folder: Path) -> None:
    rng = np.random.default_rng(1)
    many = folder / "many.npz"
    np.savez(many, x=rng.normal(0, 1, (4096, *SHAPE[1:])).astype(np.float32))
    sick = folder / "overflow.onnx"
    wide = diagnose(DiagnoseConfig(sick, many, batch=1024))
    tight = diagnose(DiagnoseConfig(sick, many, batch=1024, memory_mb=2))
    assert tight.held_bytes <= 1 << 20 < wide.held_bytes
    for a, b in zip(wide.layers, tight.layers, strict=True):
        np.testing.assert_equal(a.likeness, b.likeness)


def test_int8_is_seen_in_the_engine(folder: Path) -> None:
    diagnosis = found(folder, "split", precision=INT8, backend="onnxruntime")
    assert "the engine itself" in diagnosis.how
    assert any("looking inside" in note for note in diagnosis.notes)
    assert 0 < diagnosis.loss < 0.5
    ran = {r.achieved for r in diagnosis.layers if r.precision is INT8}
    assert ran == {INT8}
    assert {r.achieved for r in diagnosis.layers if r.precision is Precision.FP32} == {None}


def test_a_plan_is_compared_as_it_is(folder: Path) -> None:
    plan = folder / "split.plan.json"
    made = precsearch.optimize(
        folder / "split.onnx",
        data=folder / "data.npz",
        tol=0.5,
        threads=1,
        strategy="uniform",
        backend="onnxruntime",
        output=plan,
        run_dir=folder / "run",
    )
    diagnosis = found(folder, "split", plan=plan)
    asked = {g.key: g.precision for g in made.recipe.groups}
    assert {r.group: r.precision for r in diagnosis.layers}.items() <= asked.items()
    assert "split.plan.json" in diagnosis.asked


FLOATS = hnp.arrays(np.float32, 50, elements=st.floats(-1e3, 1e3, width=32))


@settings(max_examples=50, deadline=None)
@given(FLOATS, FLOATS)
def test_likeness_is_what_numpy_computes(a: np.ndarray, b: np.ndarray) -> None:
    sums = Sums()
    sums.add(a[:20], b[:20])
    sums.add(a[20:], b[20:])
    x, y = a.astype(np.float64), b.astype(np.float64)
    alike = sums.likeness()
    norm = np.linalg.norm(y)
    assert alike.euclidean == pytest.approx(np.linalg.norm(x - y))
    assert alike.max_abs == np.abs(x - y).max()
    if norm > 1e-3 and np.linalg.norm(x) > 1e-3:
        assert alike.relative == pytest.approx(np.linalg.norm(x - y) / norm)
        cosine = float(x @ y / (norm * np.linalg.norm(x)))
        assert alike.cosine == pytest.approx(cosine, abs=1e-9)
    small = (np.abs(y) > 0) & (np.abs(y) < 2.0**-14)
    assert alike.subnormal == small.mean()


def test_what_became_infinite_counts_and_what_was_does_not() -> None:
    wanted = np.array([1, -np.inf, 2, 3], np.float32)
    sums = Sums()
    sums.add(np.array([1, -np.inf, 2, 3], np.float32), wanted)
    assert sums.likeness().relative == 0
    sums.add(np.array([1, -np.inf, np.nan, 3], np.float32), wanted)
    alike = sums.likeness()
    assert (alike.relative, alike.nonfinite) == (np.inf, 1 / 8)
    assert alike.reference_absmax == 3


@pytest.mark.parametrize("name", ODD)
def test_odd_models_are_looked_into(name: str, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(ODD[name](), path)
    for precision in (Precision.FP16, INT8):
        config = DiagnoseConfig(path, None, precision, backend="onnxruntime", suggest=True)
        if name in NUMB:
            with pytest.raises(OptionError, match="nothing in this model can run in"):
                diagnose(config)
            continue
        diagnosis = diagnose(config)
        assert diagnosis.layers
        for layer in diagnosis.layers:
            alike = layer.likeness
            assert alike.reference_absmax >= 0
            assert 0 <= alike.nonfinite <= 1
    assert check_engine(path, None, "onnxruntime", 1).found is None


# The command.


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


def test_json_csv_and_the_cured_model(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = "diagnose overflow.onnx --data data.npz --suggest --cured cured.onnx --csv t.csv --json"
    assert run(line.split()) == 0
    fields = json.loads(said(capsys))
    assert fields["event"] == "diagnosis"
    assert fields["layers"][0].keys() >= {"euclidean", "cosine", "relative", "sqnr_db", "group"}
    rows = list(csv.DictReader((here / "t.csv").open()))
    assert [r["tensor"] for r in rows] == [r["tensor"] for r in fields["layers"]]
    assert run(["diagnose", "cured.onnx", "--data", "data.npz", "--json"]) == 0
    cured = json.loads(said(capsys))
    assert max(cured["losses"].values()) < 1e-2 < max(fields["losses"].values())
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
        ("--precision fp8", "--precision takes fp32, fp16 or int8, not 'fp8'"),
        ("--order best", "--order takes worst or graph, not 'best'"),
        ("--cured c.onnx", "--cured writes what --suggest finds; add --suggest"),
        ("--reproducer r", "--reproducer is for engines that are wrong in FP32"),
        ("--precision fp32 --suggest", "with --precision fp32 there is no table and no cure"),
        ("--memory 0", "--memory takes a whole number of at least 1, not '0'"),
    ],
)
def test_what_cannot_be_is_said(
    here: Path, capsys: pytest.CaptureFixture[str], line: str, message: str
) -> None:
    assert run(["diagnose", "log.onnx", "--data", "data.npz", *line.split()]) == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_an_fp32_engine_that_is_right_and_one_that_is_wrong(
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
    line = f"diagnose external.onnx --data data.npz --suggest --cured {away / 'cured.onnx'}"
    assert run(line.split()) == 0
    again = ["diagnose", str(away / "cured.onnx"), "--data", "data.npz", "--precision", "fp32"]
    assert run([*again, "--backend", "onnxruntime"]) == 0
    monkeypatch.setattr(OnnxRuntimeBackend, "built", 0, raising=False)
    monkeypatch.setattr(OnnxRuntimeBackend, "build", Miscompiling.build)
    wrong = "diagnose external.onnx --data data.npz --precision fp32 --backend onnxruntime"
    assert run([*wrong.split(), "--reproducer", str(away / "r")]) == 3
    done = subprocess.run(
        [sys.executable, "run.py"], cwd=away / "r", capture_output=True, text=True, check=True
    )
    assert "is off by" in done.stdout
