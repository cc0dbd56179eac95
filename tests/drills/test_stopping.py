"""SIGINT, SIGTERM and SIGHUP at any moment: an exit code, a plan if there is one, no traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from precsearch.system import interrupts

ROOT = Path(__file__).parents[2]
STOPPING = [sys.executable, str(Path(__file__).with_name("stopping.py"))]

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals")


def heeded() -> None:
    """A shell without job control has the processes in its background ignore Ctrl-C."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def start(*command: str, cwd: Path, ignore: signal.Signals | None = None) -> subprocess.Popen[str]:
    def before() -> None:
        heeded()
        if ignore is not None:
            signal.signal(ignore, signal.SIG_IGN)

    return subprocess.Popen(
        command,
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=before,  # noqa: PLW1509 - no thread runs here
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def stopped(
    moment: str, numbers: list[signal.Signals], folder: Path
) -> tuple[int, str, str, float]:
    """Exit code, stdout, stderr and seconds of a run that was asked to stop."""
    process = start(*STOPPING, moment, "optimize", "m.onnx", cwd=folder)
    assert process.stderr is not None
    while "ready" not in (line := process.stderr.readline()):
        assert line, "it ended before it was ready"
    time.sleep(0.1)
    began = time.monotonic()
    for number in numbers:
        process.send_signal(number)
        time.sleep(0.02)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err, time.monotonic() - began


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
@pytest.mark.parametrize("moment", ["computing", "waiting"])
def test_the_plan_is_written_whatever_the_signal(
    moment: str, number: signal.Signals, code: int, tmp_path: Path
) -> None:
    found, out, err, _ = stopped(moment, [number], tmp_path)
    assert found == code, err
    assert "interrupted; best so far" in out
    assert err.index("stopping: writing the best plan") < err.index("plan written")
    assert err.count("stopping") == 1
    assert "Traceback" not in err
    assert (tmp_path / "m.plan.json").read_text() == "whole"


def test_a_second_signal_still_leaves_a_plan(tmp_path: Path) -> None:
    code, _, err, _ = stopped("waiting", [signal.SIGINT] * 8, tmp_path)
    assert code == 130
    assert (tmp_path / "m.plan.json").read_text() == "whole"
    assert "Traceback" not in err


def test_the_first_signal_gives_the_exit_code(tmp_path: Path) -> None:
    code, _, _, _ = stopped("waiting", [signal.SIGTERM, signal.SIGINT], tmp_path)
    assert code == 143


def test_an_interrupt_that_a_finalizer_swallows_is_raised_again(tmp_path: Path) -> None:
    code, _, err, _ = stopped("finalizer", [signal.SIGINT], tmp_path)
    assert code == 130
    assert "plan written" in err
    assert "Traceback" not in err
    assert "Exception ignored" not in err


def test_a_native_library_that_never_returns_is_left_after_five_seconds(tmp_path: Path) -> None:
    code, _, err, took = stopped("native", [signal.SIGTERM], tmp_path)
    assert code == 143
    assert "stopped without a plan; --resume goes on" in err
    assert took + 0.5 >= interrupts.LIMIT_S  # the clock of this process starts a little later


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("module", ["typer", "precsearch.cli.actions"])
def test_a_signal_during_imports_ends_the_process_at_once(
    number: signal.Signals, module: str, tmp_path: Path
) -> None:
    hook = (
        "import os, sys, signal, time, precsearch.system.interrupts as i\n"
        "class Finder:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == {module!r}: os.kill(os.getpid(), {int(number)}); time.sleep(2)\n"
        "sys.meta_path.insert(0, Finder())\n"
        "from precsearch.cli.start import main\n"
        "main(['optimize', 'no.onnx'])\n"
    )
    process = start(sys.executable, "-c", hook, cwd=tmp_path)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (128 + number, "", "interrupted\n")


def test_a_signal_that_nohup_ignores_stays_ignored(tmp_path: Path) -> None:
    command = "import os, signal, sys; from precsearch.cli.start import main; "
    command += "os.kill(os.getpid(), signal.SIGHUP); main(['--version'])"
    process = start(sys.executable, "-c", command, cwd=tmp_path, ignore=signal.SIGHUP)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert out.startswith("precsearch ")


def test_a_program_that_uses_the_api_keeps_its_signal_handlers() -> None:
    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    interrupts.running()
    interrupts.check()
    interrupts.heard()
    with interrupts.interruptible(), interrupts.shielded():
        interrupts.check()
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before
    assert interrupts.stopped_by() == 0
