"""The first hour of a new user: ten tasks, each a script that follows the documentation alone.

The scripts use what docs/ shows and nothing else, each in under 20 lines. They run in one folder in
this order, as a user's would.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from tests.e2e.command import LIMIT_S, environment
from tests.e2e.plugins.clocked_backend import install
from tests.first_hour.world import write_world

SCRIPTS = Path(__file__).with_name("scripts")
USE = Path(__file__).parents[2] / "docs/use.md"
MOST_LINES = 20


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hour")
    write_world(folder)
    write_command(folder, "")
    return folder


def write_command(folder: Path, searching: str) -> None:
    """Put `precsearch` into the folder's bin; a search gets the arguments ``searching``, too."""
    start = f'"{sys.executable}" -m tests.e2e.quick "$@"'
    command = folder / "bin/precsearch"
    command.parent.mkdir()
    command.write_text(
        f'#!/bin/sh\nif test "$1" = optimize; then exec {start} {searching}; fi\nexec {start}\n'
    )
    command.chmod(0o755)


def with_own_packages(known: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a command, which also finds what this process finds."""
    env = environment() if known is None else dict(known)
    env["PYTHONPATH"] += os.pathsep + os.environ.get("PYTHONPATH", "")
    return env


def do(place: Path, name: str, known: Mapping[str, str] | None = None) -> str:
    """Run a script to its end; what it printed."""
    path = SCRIPTS / name
    start = ["bash", "-e", str(path)] if path.suffix == ".sh" else [sys.executable, str(path)]
    env = with_own_packages(known)
    env["PATH"] = f"{place / 'bin'}:{env['PATH']}"
    done = subprocess.run(
        start, cwd=place, env=env, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_task_is_a_short_script() -> None:
    found = {path.name[:2] for path in SCRIPTS.iterdir()}
    assert found == {f"{n:02}" for n in range(1, 11)}
    for path in SCRIPTS.iterdir():
        code = [line for line in path.read_text().splitlines() if line and line[0] != "#"]
        assert len(code) < MOST_LINES, path


def test_image_folder_to_plan(place: Path) -> None:
    pytest.importorskip("PIL")
    said = do(place, "01_image_folder.sh")
    assert (place / "fast.onnx").is_file()
    assert "to load it:" in said


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
def test_use_in_cpp_gives_the_numbers_of_python(place: Path) -> None:
    """ONNX Runtime's wheel has its library and no headers: `cpp` stands in for those."""
    shipped = next((Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so.*"))
    (place / "lib").mkdir()
    library = place / "lib/libonnxruntime.so.1"
    library.symlink_to(shipped)
    model = onnx.load(str(place / "classifier.onnx"))
    model.graph.node[-1].output[0] = model.graph.output[0].name = "scores"
    onnx.save(model, str(place / "fast.onnx"))
    (program,) = re.findall("```cpp\n(.*?)```", USE.read_text(), re.DOTALL)
    (place / "app.cpp").write_text(program)
    env = {"ORT_INCLUDE": str(SCRIPTS.parent / "cpp"), "ORT_LIBRARY": str(library)}
    said = do(place, "08_cpp.sh", {**environment(), **env})
    session = onnxruntime.InferenceSession(str(place / "fast.onnx"))
    pixels = np.full((1, 3, 16, 16), 0.5, np.float32)
    (wanted,) = session.run(None, {"image": pixels})
    assert np.array_equal(np.array(said.split(), np.float32), wanted.reshape(-1))


def test_data_loader_to_plan_in_a_notebook(place: Path) -> None:
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    cells = (SCRIPTS / "02_notebook.cells").read_text().split("# %%")
    loader = (
        "import numpy as np\n"
        "data = np.load('images.npz')['image']\n"
        "loader = [(data[i:i + 4],) for i in range(0, 16, 4)]  # as torch's DataLoader gives them"
    )
    sources = [loader, *(f"#{cell}" for cell in cells)]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(s) for s in sources])
    client = nbclient.NotebookClient(book, timeout=LIMIT_S, resources={"metadata": {"path": place}})
    with pytest.MonkeyPatch.context() as patch:
        for name, value in with_own_packages().items():
            patch.setenv(name, value)
        client.execute()
    shown = book.cells[-1].outputs[-1].data
    assert "FP32's" in shown["text/html"]
    assert "<Result:" in shown["text/plain"]


def test_ocr_model_with_edit_distance(place: Path) -> None:
    assert "edit-distance" in do(place, "03_ocr.sh")


def test_detector_with_box_agreement(place: Path) -> None:
    assert "box-agreement" in do(place, "04_detector.sh")


def test_pin_change_the_bound_gate_ci_compare_and_explain(tmp_path: Path) -> None:
    """By made-up times, so that a pin changes which engine ships on any machine."""
    write_world(tmp_path)
    write_command(tmp_path, "--backend clocked")
    known = install(tmp_path)
    do(tmp_path, "05_pin.sh", known)
    plain = ("optimize", "classifier.onnx", "--data", "images.npz", "--tol", "0.5")
    command = [str(tmp_path / "bin/precsearch"), *plain, "--max-builds", "2"]
    subprocess.run(command, cwd=tmp_path, env=known, check=True, capture_output=True)
    assert "taken over, not measured" in do(tmp_path, "06_other_tolerance.sh", known)
    do(tmp_path, "07_ci.sh", known)
    said = do(tmp_path, "09_compare.sh", known)
    assert "the same engine" not in said
    assert "fp32" in said
    assert "kept in fp32 by '--pin op:Gemm=fp32'" in do(tmp_path, "10_explain.py", known)
