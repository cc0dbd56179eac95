"""CPU time that commands take to start.

    python benchmarks/start.py -o docs/benchmarks/start.md

Each command runs several times as a process of its own; user and system time are the kernel's. The
last rows do some work: they read a model, or a plan. The first row is the floor of these: a program
with one option that imports the libraries and does nothing.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[1]
MODEL = ROOT / "examples" / "digits" / "model.onnx"
PLAN = ROOT / "examples" / "replay" / "digits.plan.json"
COMPLETE = {"_PRECSEARCH_COMPLETE": "complete_bash", "COMP_WORDS": "precsearch ", "COMP_CWORD": "1"}
COMMANDS: dict[str, tuple[list[str], dict[str, str]]] = {
    "precsearch --help": (["--help"], {}),
    "precsearch --version": (["--version"], {}),
    "completion of a command": ([], COMPLETE),
    **{
        f"precsearch {name} --help": ([name, "--help"], {})
        for name in ("optimize", "build", "verify", "inspect", "diagnose", "report", "watch")
    },
    "precsearch optimize missing.onnx": (["optimize", "missing.onnx"], {}),
    "precsearch inspect model.onnx": (["inspect", str(MODEL)], {}),
    "precsearch report a.plan.json a.plan.json": (["report", str(PLAN), str(PLAN)], {}),
}


FLOOR = """
import gc, pathlib, typer
from precsearch.graph import ir
from rich.console import Console
from rich.table import Table
import numpy, onnx
def main(model: pathlib.Path, names: list[str] = typer.Option([])): gc.freeze()
typer.run(main)
"""


def cpu_seconds(words: list[str], env: dict[str, str]) -> float:
    """User and system time of one run of Python with these words."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
        env={**os.environ, **env},
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main() -> None:
    """Measure every command and write a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--machine", default="", help="Words for the machine and the date.")
    options = parser.parse_args()
    lines = [
        "# Start of a command",
        "",
        f"CPU time of a whole process, median of {options.runs} runs (largest in brackets).",
        options.machine,
        "",
        "```",
        "python benchmarks/start.py -o docs/benchmarks/start.md",
        "```",
        "",
        "| command | CPU seconds |",
        "|---|---|",
    ]
    rows = {
        "typer, rich, NumPy, ONNX and onnx_ir alone": (["-c", FLOOR, str(MODEL)], {}),
        **{name: (["-m", "precsearch", *args], env) for name, (args, env) in COMMANDS.items()},
    }
    for name, (words, env) in rows.items():
        cpu_seconds(words, env)  # compiles and caches what it imports
        times = [cpu_seconds(words, env) for _ in range(options.runs)]
        lines.append(f"| `{name}` | {median(times):.2f} ({max(times):.2f}) |")
    options.output.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
