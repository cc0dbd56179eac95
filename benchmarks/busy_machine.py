"""What a search says while something else uses the machine, and what is true of its plan.

    python -m benchmarks.busy_machine [--folder examples/digits] [--tol 3e-2] [-o FILE.md]

Beside each search run as many busy processes; ``10p`` pins ten of them and the search to one core.
Afterwards, when nothing else runs, each shipped model is judged by `benchmarks.judge`. A headline
is right if it is within a tenth of that, or is marked as unsure; no plan may be slower than FP32.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.judge import judged

LOADS = ("0", "1", "2", "4", "10p")
WITHIN = 0.1
_BURN = """
import os, sys
while os.getppid() == int(sys.argv[1]):
    x = 1.0
    for _ in range(10**6):
        x = x * 1.0000001 % 7.0
"""
"""A busy process, which ends with the one that started it."""


@dataclass(frozen=True)
class Told:
    """What a search said, and where its model is."""

    load: str
    fields: dict[str, Any]
    artifact: Path

    def row(self, speeds: Sequence[float]) -> tuple[str, bool]:
        """A line of the table, and whether it is right."""
        found, true = self.fields, median(speeds)
        said = 1 / found["ratio"]
        unsure = "; ".join(found["unsure"])
        near = abs(said / true - 1) <= WITHIN
        right = (near or bool(unsure)) and true > 1 - WITHIN / 2
        low, high = 1 / found["ratio_high"], 1 / found["ratio_low"]
        cells = (
            self.load,
            f"{said:.2f}x",
            f"{low:.2f} to {high:.2f}",
            unsure or "no",
            f"{true:.2f}x ({min(speeds):.2f} to {max(speeds):.2f})",
            "yes" if right else "**no**",
        )
        return f"| {' | '.join(cells)} |", right


@contextmanager
def busy(load: str) -> Iterator[set[int]]:
    """Busy processes while the block runs; gives the cores that the search may use."""
    pinned, count = load.endswith("p"), int(load.rstrip("p"))
    cores = os.sched_getaffinity(0)
    allowed = {min(cores)} if pinned else cores
    burning = []
    try:
        for _ in range(count):
            process = subprocess.Popen([sys.executable, "-c", _BURN, str(os.getpid())])
            burning.append(process)
            os.sched_setaffinity(process.pid, allowed)
        yield allowed
    finally:
        for process in burning:
            process.kill()
        for process in burning:
            process.wait()


def searched(load: str, given: argparse.Namespace, folder: Path) -> Told:
    """One search beside a load."""
    model, artifact = given.folder / "model.onnx", folder / f"{load}.onnx"
    command = [sys.executable, "-m", "precsearch.cli.main", "optimize", str(model), "--json"]
    command += ["--data", str(given.folder / "data.npz"), "--tol", str(given.tol)]
    command += ["--holdout", str(given.folder / "holdout.npz"), "--threads", str(given.threads)]
    command += ["--max-builds", str(given.max_builds), "--artifact", str(artifact)]
    command += ["-o", str(folder / f"{load}.json"), "--run-dir", str(folder / load)]
    own = os.sched_getaffinity(0)
    with busy(load) as allowed:
        os.sched_setaffinity(0, allowed)  # inherited by the search and its workers
        try:
            done = subprocess.run(command, check=True, capture_output=True, text=True)
        finally:
            os.sched_setaffinity(0, own)
    return Told(load, json.loads(done.stdout.splitlines()[-1]), artifact)


def table(given: argparse.Namespace) -> tuple[str, bool]:
    """All loads as Markdown, and whether all are right."""
    with tempfile.TemporaryDirectory() as name:
        told = [searched(load, given, Path(name)) for load in given.loads]
        rows = []
        for one in told:
            files = (given.folder / "model.onnx", one.artifact, given.folder / "data.npz")
            speeds = judged(*(str(f) for f in files), threads=given.threads, times=given.times)
            rows.append(one.row(speeds))
    head = "| load | headline | interval | unsure | judged when idle | right |\n" + "|---" * 6 + "|"
    return "\n".join([head, *(line for line, _ in rows)]), all(right for _, right in rows)


def main() -> int:
    """See above; 1 if something was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("examples/digits"))
    parser.add_argument("--tol", type=float, default=3e-2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--max-builds", type=int, default=12)
    parser.add_argument("--loads", nargs="+", default=LOADS)
    parser.add_argument("--times", type=int, default=8, help="pairs of processes of the judge")
    parser.add_argument("-o", dest="output", type=Path)
    given = parser.parse_args()
    text, right = table(given)
    print(text)
    if given.output is not None:
        given.output.write_text(f"{text}\n", encoding="utf-8")
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
