"""``--backend auto``: which engine it takes, and that plan and journal name that one."""

from __future__ import annotations

from pathlib import Path

import pytest

from precsearch.backends.auto import auto_backend, backend_name
from precsearch.cli.main import run
from precsearch.core.events import RunStarted
from precsearch.plan.plan import read_plan
from precsearch.search.journal import read
from tests.hostile.situations.world import write_world

ALL = ("onnxruntime", "onnxruntime-cuda", "tensorrt")
ONLY_CUDA = "ONNX Runtime has its CUDA provider, there is a CUDA device, and no TensorRT"
BOTH = "TensorRT is installed and there is a CUDA device"
NEITHER = "neither TensorRT nor ONNX Runtime's CUDA provider is installed"


@pytest.mark.parametrize(
    ("names", "tensorrt", "cuda", "devices", "name", "reason"),
    [
        (ALL, True, True, 1, "tensorrt", BOTH),
        (ALL, True, False, 8, "tensorrt", BOTH),
        (ALL, False, True, 1, "onnxruntime-cuda", ONLY_CUDA),
        (ALL, True, True, 0, "onnxruntime", "there is no CUDA device"),
        (ALL, False, True, 0, "onnxruntime", "there is no CUDA device"),
        (ALL, False, False, 1, "onnxruntime", NEITHER),
        (("onnxruntime", "tensorrt"), False, True, 1, "onnxruntime", "TensorRT is not installed"),
        (("onnxruntime",), True, True, 1, "onnxruntime", "this version has no other"),
    ],
)
def test_auto_is_the_first_backend_that_the_machine_has(
    names: tuple[str, ...], tensorrt: bool, cuda: bool, devices: int, name: str, reason: str
) -> None:
    asked: list[str] = []

    def importable(module: str) -> bool:
        asked.append(module)
        return tensorrt

    found = auto_backend(names, importable, lambda: devices, lambda: cuda)
    assert (found.name, found.reason) == (name, reason)
    assert set(asked) <= {"tensorrt"}


def test_a_driver_is_not_asked_where_nothing_could_use_it() -> None:
    def devices() -> int:
        raise AssertionError("the driver was asked")

    assert auto_backend(ALL, lambda _: False, devices, lambda: False).name == "onnxruntime"


def test_a_named_backend_is_taken_as_it_is() -> None:
    assert backend_name("onnxruntime") == "onnxruntime"
    assert backend_name("auto") == auto_backend().name


def test_plan_and_journal_name_the_backend_that_auto_chose(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        auto_backend, "__defaults__", (None, lambda _: False, lambda: 0, lambda: False)
    )
    write_world(tmp_path)
    monkeypatch.chdir(tmp_path)
    line = "optimize model.onnx --data data.npz --tol 9 --threads 1 --max-builds 1 -o p.json"
    assert run([*line.split(), "--backend", "auto"]) == 0
    assert "model.onnx on onnxruntime" in capsys.readouterr().err
    assert read_plan("p.json").recipe.backend == "onnxruntime"
    (started,) = (e for e in read(Path("p.precsearch")) if isinstance(e, RunStarted))
    assert started.identity["backend"] == "onnxruntime"
    again = f"{line} --resume --backend"
    assert run([*again.split(), "onnxruntime"]) == 0, "it is the same run"
    assert run(["inspect", "model.onnx", "--backend", "auto"]) == 0


def test_doctor_names_the_backend_that_auto_would_choose(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["doctor"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    found = auto_backend()
    assert f"auto takes {found.name}: {found.reason}" in out
