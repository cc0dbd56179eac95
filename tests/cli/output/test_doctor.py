"""`doctor` never fails, and shell completion works."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from precsearch._version import __version__
from precsearch.cli.main import run
from precsearch.cli.output import dependencies as installed
from precsearch.cli.output import doctor
from precsearch.cli.output.dependencies import dependencies, untested
from precsearch.cli.output.doctor import BackendState, diagnose

ROOT = Path(__file__).parents[3]


def test_doctor_shows_versions_backends_and_missing_packages(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert run(["doctor"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert f"precsearch   {__version__}" in out
    assert "onnxruntime      runs fp32, int8" in out
    assert "INT8" in out
    assert max(map(len, out.splitlines())) <= 80


def test_doctor_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["type"] == "Doctor"
    assert found["versions"]["precsearch"] == __version__
    assert found["versions"]["python"].count(".") == 2
    (ort,) = (b for b in found["backends"] if b["name"] == "onnxruntime")
    assert ort["runs"] == ["fp32", "int8", "int4"]
    assert ort["note"].startswith("no bf16, fp16, fp8")
    assert found["cores"] >= 1


@pytest.mark.parametrize(
    ("features", "said"),
    [
        (("avx2", "avx512_vnni"), "weights keep 8 bits"),
        (("avx_vnni",), "weights keep 8 bits"),
        (("avx2", "avx512bw"), "weights are given 7 bits"),
        (("asimddp",), "Arm dot products"),
        ((), "only a measurement tells"),
    ],
)
def test_instruction_sets_are_explained(
    features: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "_processor", lambda: (features, 2))
    assert said in diagnose().int8


def test_every_dependency_of_the_metadata_is_listed() -> None:
    """highspy was missing from a list that was kept by hand."""
    wanted = {
        Requirement(line).name for line in requires("precsearch") or [] if "extra" not in line
    }
    assert "highspy" in wanted
    assert wanted <= set(diagnose().versions)


def test_the_constraints_name_a_tested_version_of_every_dependency() -> None:
    for row in dependencies():
        assert row.tested, row.name


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("1.32.0", ()),
        (
            "1.99.0",
            (
                "onnxruntime 1.99.0 was never tested with precsearch, "
                "which was tested with 1.23.2 and 1.32.0",
            ),
        ),
        ("1.2.0", ("onnxruntime 1.2.0 is not supported: run 'pip install \"onnxruntime>=1.23\"'",)),
        ("", ()),
        (
            "1.32.0+ours",
            (
                "onnxruntime 1.32.0+ours was never tested with precsearch, "
                "which was tested with 1.23.2 and 1.32.0",
            ),
        ),
    ],
)
def test_an_untested_version_is_reported(
    version: str, said: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "precsearch.cli.output.dependencies._tested", lambda: {"onnxruntime": ("1.23.2", "1.32.0")}
    )
    monkeypatch.setattr("precsearch.cli.output.dependencies._installed", lambda name: version)
    rows = tuple(row for row in dependencies() if row.name == "onnxruntime")
    assert untested(rows) == said


def test_a_broken_backend_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> object:
        raise ImportError("libcudart.so.13: cannot open shared object file\nand so on")

    monkeypatch.setattr(doctor, "backend_factory", broken)
    found = diagnose()
    assert found.backends[0].runs == ()
    assert any("does not work: libcudart.so.13: cannot open" in m for m in found.missing)


def test_a_gpu_is_shown_as_the_driver_reports_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'A GPU, 80 GiB, 570.1'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert diagnose().gpus == ("A GPU, 80 GiB, 570.1",)
    program.write_text("#!/bin/sh\necho 'no devices were found'\nexit 6\n")
    monkeypatch.setattr(doctor, "_DRIVER", tmp_path / "none")
    found = diagnose()
    assert found.gpus == ()
    assert any("no NVIDIA GPU or driver was found" in m for m in found.missing)


def completed(words: str, number: int) -> list[str]:
    env = {
        **os.environ,
        "PYTHONPATH": f"{ROOT}:{ROOT / 'strategies'}",
        "_PRECSEARCH_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(number),
    }
    command = [sys.executable, "-m", "precsearch.cli.main"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    return done.stdout.split()


def test_option_values_are_completed() -> None:
    assert completed("precsearch op", 1) == ["optimize"]
    assert "--calibration-method" in completed("precsearch optimize --cal", 2)


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
@pytest.mark.parametrize("option", ["--show-completion", "--install-completion"])
def test_completion_is_shown_for_the_shell_in_use(option: str, tmp_path: Path) -> None:
    env = {**os.environ, "HOME": str(tmp_path), "PYTHONPATH": f"{ROOT}:{ROOT / 'strategies'}"}
    line = f"{sys.executable} -m precsearch.cli.main {option}; exit $?"
    done = subprocess.run(
        ["bash", "-c", line], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    if option == "--show-completion":
        assert "_PRECSEARCH_COMPLETE=complete_bash" in done.stdout
    else:
        assert "precsearch" in (tmp_path / ".bashrc").read_text()


def test_a_gpu_build_of_onnx_runtime_counts_as_onnx_runtime(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def version(name: str) -> str:
        if name == "onnxruntime":
            raise PackageNotFoundError(name)
        return "1.31.1"

    monkeypatch.setattr(installed, "version", version)
    (row,) = (d for d in installed.dependencies() if d.name == "onnxruntime")
    assert row.installed == "1.31.1"


def test_a_backend_for_gpus_is_missing_only_where_there_is_a_gpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broken = BackendState("onnxruntime-cuda", (), "", "", "does not work: no provider", "gpu")
    versions = dict.fromkeys(("openvino", "tensorrt", "polygraphy"), "1.0")
    said = doctor._missing((), versions, (broken,), ("NVIDIA H200, 143771 MiB, 580.95",))
    assert said == ("the backend onnxruntime-cuda does not work: no provider",)
    (sentence,) = doctor._missing((), versions, (broken,), ())
    assert sentence.startswith("no NVIDIA GPU or driver was found")
