"""What a whole search of a large model takes: peak memory of each process, and seconds.

``python -m benchmarks.large_search FOLDER [--backend made-up|onnxruntime] [-o FILE]`` searches the
model that `benchmarks.large_model` writes (which it does if it is not there), and prints a table.

``made-up`` builds nothing: its engines answer what the samples say they should, off by a share that
grows with the layers in INT8. So the search is precsearch's own work, on all layers, with the
reference and the calibration by ONNX Runtime as ever. Peaks are ``VmHWM`` of ``/proc``: what a
process had in memory at once, pages of mapped files counted in.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from benchmarks.large_model import write_large
from precsearch.backends.onnxruntime.backend import OnnxRuntimeBackend
from precsearch.core.backend import Array, Feed, KernelTime
from precsearch.system.disturbance import NoWatch

MADE_UP = "made-up"
_SECONDS = 1e-3


class MadeUpSession:
    """Answers with its input, off by a share; see the module."""

    def __init__(self, quantized: int, nodes: int) -> None:
        self._share = quantized / max(nodes, 1)

    def run(self, feed: Feed) -> dict[str, Array]:
        values = np.asarray(feed["x"], np.float32)
        return {"y": values + np.float32(0.05 * self._share) * values[:, ::-1]}

    def time(self, feed: Feed, repeats: int) -> list[float]:
        return [_SECONDS / (1 + self._share)] * repeats

    def profile(self, feed: Feed, runs: int) -> tuple[KernelTime, ...]:
        return ()

    def close(self) -> None:
        pass


class MadeUpBackend(OnnxRuntimeBackend):
    """Lowers for ONNX Runtime and builds nothing."""

    name = MADE_UP

    def watch(self) -> NoWatch:  # type: ignore[override]
        return NoWatch()

    def open(self, artifact: bytes, *, profiled: bool = False) -> MadeUpSession:  # type: ignore[override]
        nodes = onnx.ModelProto.FromString(artifact).graph.node
        quantized = sum(n.op_type == "DequantizeLinear" for n in nodes)
        return MadeUpSession(quantized, len(nodes))


Memory = tuple[int, int]
"""Bytes: a process's own, and with the pages of mapped files."""


@dataclass
class Peaks:
    """Peaks of the first process and of any that it started."""

    parent: Memory = (0, 0)
    workers: dict[int, Memory] = field(default_factory=dict)

    @property
    def worker(self) -> Memory:
        """Of the worker with the largest peaks."""
        rows = [(0, 0), *self.workers.values()]
        return max(own for own, _ in rows), max(mapped for _, mapped in rows)

    def look(self, root: int) -> None:
        self.parent = _larger(self.parent, _now(root))
        for pid in _below(root):
            self.workers[pid] = _larger(self.workers.get(pid, (0, 0)), _now(pid))


def _larger(a: Memory, b: Memory) -> Memory:
    return max(a[0], b[0]), max(a[1], b[1])


def _now(pid: int) -> Memory:
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0, 0
    rows = dict(line.split(":", 1) for line in text.splitlines())
    own, peak = (int(rows.get(name, "0").split()[0]) << 10 for name in ("RssAnon", "VmHWM"))
    return own, peak


def _below(pid: int) -> Iterator[int]:
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        children = [c for t in tasks for c in (t / "children").read_text().split()]
    except OSError:
        return
    for child in map(int, children):
        yield child
        yield from _below(child)


def _known(folder: Path) -> None:
    """Make the backend of this module known to a Python that has the folder on its path."""
    made = folder / "made_up-1.dist-info"
    made.mkdir(parents=True, exist_ok=True)
    (made / "METADATA").write_text("Metadata-Version: 2.1\nName: made-up\nVersion: 1\n")
    place = f"{MADE_UP} = benchmarks.large_search:MadeUpBackend\n"
    (made / "entry_points.txt").write_text(f"[precsearch.backends]\n{place}")


def _answered(data: Path) -> Path:
    """The samples with the outputs that the made-up engine in FP32 gives."""
    path = data.with_name(f"{data.stem}-answered.npz")
    x = np.load(data)["x"]
    np.savez(path, x=x, __ref__y=x)
    return path


def searched(
    folder: Path, backend: str, words: Iterable[str]
) -> tuple[Peaks, float, list[dict[str, Any]]]:
    """Search once; peaks, seconds, and the events of the journal."""
    data = [folder / "large.npz", folder / "large-holdout.npz"]
    if backend == MADE_UP:
        _known(folder / "plugin")
        data = [_answered(d) for d in data]
    run = folder / f"{backend}.precsearch"
    command = [sys.executable, "-m", "precsearch", "optimize", str(folder / "large.onnx")]
    command += ["--data", str(data[0]), "--holdout", str(data[1]), "--backend", backend]
    command += ["--threads", "1", "--run-dir", str(run), "--force", *words]
    command += ["-o", str(folder / f"{backend}.plan.json")]
    places = [str(folder / "plugin"), str(Path(__file__).resolve().parents[1])]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(places), "TMPDIR": str(folder)}
    started, peaks = time.monotonic(), Peaks()
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            peaks.look(process.pid)
            time.sleep(0.05)
        said = process.stdout.read() if process.stdout else ""
    if process.returncode not in (0, 3):
        raise SystemExit(f"the search ended with {process.returncode}: {said}")
    seconds = time.monotonic() - started
    journal = (run / "journal.jsonl").read_text().splitlines()
    return peaks, seconds, [json.loads(line) for line in journal]


def row(folder: Path, backend: str, words: Iterable[str]) -> str:
    """A line of the table."""
    files = ("large.onnx", "large.weights")
    size = sum((folder / name).stat().st_size for name in files)
    peaks, seconds, events = searched(folder, backend, words)
    trials = [e["trial"] for e in events if e["type"] == "TrialFinished"]
    engines = [t for t in trials if t["proposal"]["fidelity"] == "engine"]
    cells = [
        backend,
        f"{len(engines)}, {len(trials) - len(engines)}",
        f"{seconds:.0f} s",
        *(f"{b / 1e9:.2f} GB ({b / size:.2f}x)" for b in (*peaks.parent, *peaks.worker)),
    ]
    return f"| {' | '.join(cells)} |"


def _main() -> None:
    parser = argparse.ArgumentParser(description="Search a large model; peak memory and seconds.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--backend", action="append")
    parser.add_argument("--tol", default="1e-2")
    parser.add_argument("--max-builds", default="3")
    parser.add_argument("-o", "--output", type=Path)
    given = parser.parse_args()
    if not (given.folder / "large.onnx").exists():
        write_large(given.folder)
    head = "| engine | engines, proxies | wall | parent | with files | worker | with files |"
    lines = [head, "|---|---|---|---|---|---|---|"]
    words = ["--tol", given.tol, "--max-builds", given.max_builds, "--no-corrections"]
    lines += [row(given.folder, b, words) for b in given.backend or [MADE_UP, "onnxruntime"]]
    text = "\n".join(lines) + "\n"
    print(text)
    if given.output is not None:
        given.output.write_text(text)


if __name__ == "__main__":
    _main()
