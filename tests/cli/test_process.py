"""The command as a process: exit codes, streams, signals."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from precsearch._version import __version__

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "precsearch.cli.main"]
FAKED = [sys.executable, str(Path(__file__).with_name("faked.py"))]
"""The command with an api that does what the first argument says."""


def run(command: list[str], *args: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*command, *args],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "80", **env},
    )


def test_version() -> None:
    done = run(COMMAND, "--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"precsearch {__version__}\n", "")


def test_wrong_input_is_one_sentence() -> None:
    done = run(COMMAND, "inspect", "no.onnx")
    assert done.returncode == 2
    assert done.stdout == ""
    assert "there is no model file 'no.onnx'" in done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


def test_results_go_to_stdout_and_progress_to_stderr() -> None:
    done = run(FAKED, "met", "optimize", "m.onnx")
    assert done.returncode == 0
    assert "] engine 0: all fp32" in done.stderr
    assert "engine 0" not in done.stdout
    assert "m.onnx: 1.82x FP32's speed (1.78 to 1.86), within rel-l2 ≤ 0.01\n" in done.stdout
    assert "precsearch build m.plan.json --model m.onnx -o m.optimized.onnx\n" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr


def test_a_bug_asks_for_a_report() -> None:
    done = run(FAKED, "bug", "optimize", "m.onnx", PRECSEARCH_TRACEBACK="")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "error: ZeroDivisionError: boom" in done.stderr
    assert "please report it with the traceback that PRECSEARCH_TRACEBACK=1 shows" in done.stderr


def test_json_lines() -> None:
    done = run(FAKED, "met", "optimize", "m.onnx", "--json")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.stderr == ""
    assert rows[0]["type"] == "RunStarted"
    assert {"TrialFinished", "SearchFinished", "PlanWritten"} <= {r["type"] for r in rows}
    assert rows[-1]["type"] == "Result"
    assert rows[-1]["met"] is True
    assert rows[-1]["exit"] == 0
    assert rows[-1]["ratio"] == 0.55


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_ctrl_c_still_writes_the_plan() -> None:
    process = subprocess.Popen(
        [*FAKED, "slow", "optimize", "m.onnx"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stderr is not None
    while "engine 0" not in (line := process.stderr.readline()):
        assert line, "it ended before its first engine"
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "plan written" in err
    assert "interrupted; best so far" in out
    assert "--resume" in out
    assert "Traceback" not in err


@pytest.mark.parametrize("json", [True, False])
def test_a_reader_that_goes_away_is_no_error(json: bool) -> None:
    process = subprocess.Popen(
        [*FAKED, "met", "optimize", "m.onnx", *(["--json"] if json else [])],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    if json:
        process.stdout.readline()
    process.stdout.close()
    assert process.stderr is not None
    assert "rror" not in process.stderr.read()
    assert process.wait(timeout=30) == 141


def test_other_encodings_do_not_matter() -> None:
    done = run(FAKED, "met", "optimize", "m.onnx", PYTHONIOENCODING="ascii")
    assert done.returncode == 0
    assert done.stdout.isascii()
    assert done.stderr.isascii()
    assert "rel-l2 <= 0.01" in done.stdout


def test_the_start_loads_no_engine() -> None:
    code = "import sys, precsearch.cli.main; print(*sys.modules)"
    modules = set(run([sys.executable, "-c", code]).stdout.split())
    assert not modules & {"onnxruntime", "optuna", "sklearn", "torch", "scipy"}


@pytest.mark.skipif(os.name == "nt", reason="pseudo-terminals")
@pytest.mark.parametrize(("term", "live"), [("xterm-256color", True), ("dumb", False)])
def test_on_a_terminal(term: str, live: bool) -> None:
    import pty

    main, other = pty.openpty()
    process = subprocess.Popen(
        [*FAKED, "met", "optimize", "m.onnx"],
        stdout=subprocess.PIPE,
        stderr=other,
        env={
            **{k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR")},
            "PYTHONPATH": str(ROOT),
            "TERM": term,
            "COLUMNS": "80",
            "LINES": "24",
        },
    )
    os.close(other)
    seen = b""
    while True:
        try:
            part = os.read(main, 65536)
        except OSError:
            break
        if not part:
            break
        seen += part
    os.close(main)
    assert process.stdout is not None
    assert b"1.82x FP32's speed" in process.stdout.read()
    process.stdout.close()
    assert process.wait(timeout=30) == 0
    assert (b"\x1b[" in seen) == live
    assert (b"] engine 0: all fp32" in seen) == (not live)
    if live:
        assert re.search(rb"\x1b\[\?25h", seen), "the cursor is shown again"
