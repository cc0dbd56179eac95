"""The real command in its own process, on the example model or on a smaller one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from precsearch.cli import main

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples/digits"
MODEL, DATA, HOLDOUT = (EXAMPLE / n for n in ("model.onnx", "data.npz", "holdout.npz"))
FEW = 24
"""Samples: each of them costs time in every engine."""
LIMIT_S = 600
"""Against hangs alone: the time that a command takes says how busy the machine is."""


def environment(**extra: str) -> dict[str, str]:
    path = os.pathsep.join([str(ROOT), str(ROOT / "strategies")])
    return {**os.environ, "PYTHONPATH": path, "COLUMNS": "100", **extra}


def command(*args: str | Path) -> list[str]:
    """Its command line; engines are timed in few rounds."""
    name = "tests.e2e.quick" if args[0] in ("optimize", "verify") else "precsearch.cli.main"
    return [sys.executable, "-m", name, *map(str, args)]


def run(
    *args: str | Path, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run it to the end."""
    return subprocess.run(
        command(*args),
        cwd=cwd,
        env=environment() if env is None else env,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )


def called(*args: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run it to the end in this process: for what needs no search and no fresh interpreter."""
    out, err, before = StringIO(), StringIO(), Path.cwd()
    os.chdir(cwd or before)
    try:
        with redirect_stdout(out), redirect_stderr(err):
            code = main.run([str(arg) for arg in args])
    finally:
        os.chdir(before)
    return subprocess.CompletedProcess(args, int(code), out.getvalue(), err.getvalue())


def start(
    *args: str | Path, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> subprocess.Popen[str]:
    """Start it; stdout and stderr are one stream."""
    return subprocess.Popen(
        command(*args),
        cwd=cwd,
        env=environment() if env is None else env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def read_until(process: subprocess.Popen[str], text: str) -> str:
    """What it prints up to a line with ``text``."""
    assert process.stdout is not None
    seen = ""
    for line in process.stdout:
        seen += line
        if text in line:
            return seen
    raise AssertionError(f"{text!r} never came:\n{seen}")


def few_samples(path: Path, count: int = FEW, source: Path = DATA, **more: np.ndarray) -> Path:
    """The first samples of the example's data, or of another file."""
    with np.load(source) as data:
        np.savez(path, image=data["image"][:count], **more)  # type: ignore[arg-type]
    return path


def with_one_weight_changed(path: Path, name: str) -> Path:
    """The example model, one element in the middle of a weight not as it was."""
    proto = onnx.load(str(MODEL))
    tensor = next(t for t in proto.graph.initializer if t.name == name)
    array = numpy_helper.to_array(tensor).copy()
    array.reshape(-1)[array.size // 2] = array.max()
    tensor.CopyFrom(numpy_helper.from_array(array, name))
    onnx.save(proto, str(path))
    return path


def processes() -> dict[int, str]:
    """Command lines of all living processes by id."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (
                    (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
                )
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
            except OSError:  # it ended meanwhile
                continue
            if state != "Z":
                found[int(entry.name)] = line
    return found
