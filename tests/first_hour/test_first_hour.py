"""The first hour of a new user: ten tasks, each a script that follows the documentation alone.

The scripts use what docs/ shows and nothing else, each in under 20 lines. They run in one folder in
this order, as a user's would. What cannot be done here is said in `MISSING`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.command import LIMIT_S, environment
from tests.first_hour.world import write_world

SCRIPTS = Path(__file__).with_name("scripts")
MOST_LINES = 20
MISSING = {
    "06": "another tolerance from the same run: a run has one tolerance here",
    "08": "use in C++: onnxruntime's wheel ships no headers; docs/use.md shows the lines, not run",
}
"""What no script does, and why."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hour")
    write_world(folder)
    (folder / "bin").mkdir()
    command = folder / "bin/precsearch"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m precsearch.cli.main "$@"\n')
    command.chmod(0o755)
    return folder


def with_own_packages() -> dict[str, str]:
    """The environment of a command, which also finds what this process finds."""
    env = environment()
    env["PYTHONPATH"] += os.pathsep + os.environ.get("PYTHONPATH", "")
    return env


def do(place: Path, name: str) -> str:
    """Run a script to its end; what it printed."""
    path = SCRIPTS / name
    start = ["bash", "-e", str(path)] if path.suffix == ".sh" else [sys.executable, str(path)]
    env = with_own_packages()
    env["PATH"] = f"{place / 'bin'}:{env['PATH']}"
    done = subprocess.run(
        start, cwd=place, env=env, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_task_is_a_short_script_or_is_said_to_be_missing() -> None:
    found = {path.name[:2] for path in SCRIPTS.iterdir()}
    assert found | MISSING.keys() == {f"{n:02}" for n in range(1, 11)}
    for path in SCRIPTS.iterdir():
        code = [line for line in path.read_text().splitlines() if line and line[0] != "#"]
        assert len(code) < MOST_LINES, path


def test_image_folder_to_plan(place: Path) -> None:
    pytest.importorskip("PIL")
    said = do(place, "01_image_folder.sh")
    assert (place / "fast.onnx").is_file()
    assert "to load it:" in said


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


def test_pin_a_layer_gate_ci_compare_two_runs_and_explain_a_group(place: Path) -> None:
    do(place, "05_pin.sh")
    plain = ("optimize", "classifier.onnx", "--data", "images.npz", "--tol", "0.5")
    command = [str(place / "bin/precsearch"), *plain, "--max-builds", "2", "--force"]
    subprocess.run(command, cwd=place, env=environment(), check=True, capture_output=True)
    do(place, "07_ci.sh")
    assert "fp32" in do(place, "09_compare.sh")
    assert "kept in fp32 by '--pin op:Gemm=fp32'" in do(place, "10_explain.py")
