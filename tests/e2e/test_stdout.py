"""stdout belongs to precsearch: whatever a plug-in or a library prints, results stay readable."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.command import LIMIT_S, environment
from tests.hostile.situations.world import write_world
from tests.plugin import make_known

START = [sys.executable, "-m", "precsearch.cli.start"]
QUICK = [sys.executable, "-m", "tests.e2e.quick"]
SEARCH = ("--data", "data.npz", "--tol", "0.9", "--threads", "1", "--no-corrections", "--force")
NOISY = (*SEARCH, "--backend", "noisy", "--strategy", "noisy")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_world(tmp_path_factory.mktemp("noisy"))
    module = "tests.e2e.plugins.noisy_plugins"
    made = {"noisy": f"{module}:NoisyBackend"}
    make_known(folder, "noisy", made, {"noisy": f"{module}:Noisy"})
    (folder / "loss.py").write_text(
        "from tests.e2e.plugins.noisy_plugins import shout\n"
        "def f(outputs, reference, labels):\n"
        "    shout('metric')\n"
        "    return 0.0\n"
    )
    return folder


def command(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    env = environment()
    env["PYTHONPATH"] += os.pathsep + str(folder)
    start = QUICK if args[0] == "optimize" else START
    return subprocess.run(
        [*start, *args],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )


def shell(folder: Path, line: str) -> subprocess.CompletedProcess[str]:
    """A line of shell in which $PS is the command and $SEARCH a short search."""
    search = (*QUICK, "optimize", "model.onnx", *SEARCH, "--max-builds", "2")
    env = environment(PS=" ".join(START), SEARCH=" ".join(search))
    return subprocess.run(
        ["bash", "-c", line],
        cwd=folder,
        env={**env, "PYTHONPATH": env["PYTHONPATH"] + os.pathsep + str(folder)},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )


@pytest.mark.parametrize(
    "args",
    [
        ("optimize", "model.onnx", *NOISY, "--metric", "loss.py:f", "--json"),
        ("optimize", "model.onnx", *NOISY, "--dry-run", "--json"),
        ("diagnose", "model.onnx", "--data", "data.npz", "--backend", "noisy", "--json"),
        ("doctor", "--json"),
    ],
)
def test_every_line_of_json_is_json(args: tuple[str, ...], place: Path) -> None:
    done = command(place, *args)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines
    assert all(isinstance(json.loads(line), dict) for line in lines)


def test_stdout_holds_our_results_alone_and_prints_of_python_go_to_stderr(place: Path) -> None:
    done = command(place, "optimize", "model.onnx", *NOISY)
    assert done.returncode == 0, done.stderr
    assert " by " not in done.stdout
    assert "strategy by print" in done.stderr
    assert "strategy by sys.stdout" in done.stderr
    assert "write(1)" not in done.stderr


@pytest.fixture
def plans(place: Path) -> Iterator[Path]:
    path = place / "model.plan.json"
    path.unlink(missing_ok=True)
    yield path
    path.unlink(missing_ok=True)


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("$SEARCH --json >&-", 0, ""),
        ("$SEARCH <&- >&- 2>&-", 0, ""),
        ("$SEARCH 2>/dev/full", 0, ""),
        ("$SEARCH --json >/dev/full", 2, "results cannot be written to stdout: No space left"),
        ("$SEARCH --json | head -1 >/dev/null; exit ${PIPESTATUS[0]}", 141, ""),
    ],
)
def test_a_search_survives_the_loss_of_its_terminal(
    line: str, code: int, said: str, place: Path, plans: Path
) -> None:
    done = shell(place, line)
    assert (done.returncode, plans.exists()) == (code, True), done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    journal = (place / "model.precsearch/journal.jsonl").read_text()
    assert all(json.loads(row) for row in journal.splitlines())


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("$PS --version >&-", 0, ""),
        ("$PS --help >/dev/full", 2, "results cannot be written to stdout"),
        ("$PS inspect model.onnx >/dev/full", 2, "results cannot be written to stdout"),
        ("ulimit -n 12; exec $PS inspect model.onnx", 2, "only 12 files may be open"),
        ("ulimit -v 150000; exec $PS inspect model.onnx", 2, "only 146 MB of address space"),
    ],
)
def test_a_missing_resource_is_reported_in_one_sentence(
    line: str, code: int, said: str, place: Path
) -> None:
    done = shell(place, line)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert done.stderr.count("\n") == bool(said)
