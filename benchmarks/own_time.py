"""How much of a search is precsearch's own time, and what one lowering costs.

    python benchmarks/own_time.py MODEL DATA [MODEL DATA …] -o docs/benchmarks/own-time.md

Own time is all wall time but creating sessions, running and timing them (measured inside the worker
by a backend that counts, of engines and of proxies), and the stages before the baseline:
reference, calibration and corrections.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from precsearch import registry
from precsearch.api import OptimizeConfig, optimize_events
from precsearch.backends.onnxruntime.backend import OnnxRuntimeBackend, OnnxRuntimeSession
from precsearch.core.backend import Array, Feed, KernelTime
from precsearch.core.events import SearchFinished, StageStarted
from precsearch.core.precision import Precision
from precsearch.core.space import Assignment
from precsearch.executors.open import worker_here
from precsearch.graph.reading.read import read_model
from precsearch.optimization.stages.calibrate import calibrated
from precsearch.setup.inputs import open_inputs
from precsearch.setup.target import open_target

COUNTER = "PRECSEARCH_BENCHMARK_COUNTER"


class Counting:
    """Adds the time that a block took to the file that `COUNTER` names."""

    def __enter__(self) -> None:
        self._start = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        with Path(os.environ[COUNTER]).open("a") as file:
            file.write(f"{time.perf_counter() - self._start}\n")


class CountingSession(OnnxRuntimeSession):
    """A session whose every use is counted."""

    def __init__(self, inner: OnnxRuntimeSession) -> None:
        self._inner = inner

    def run(self, feed: Feed) -> dict[str, Array]:
        with Counting():
            return self._inner.run(feed)

    def time(self, feed: Feed, repeats: int) -> list[float]:
        with Counting():
            return self._inner.time(feed, repeats)

    def profile(self, feed: Feed, runs: int) -> tuple[KernelTime, ...]:
        with Counting():
            return self._inner.profile(feed, runs)

    def close(self) -> None:
        self._inner.close()


class CountingBackend(OnnxRuntimeBackend):
    """ONNX Runtime, counting the time spent in it."""

    def open(self, artifact: bytes, *, profiled: bool = False) -> OnnxRuntimeSession:
        with Counting():
            inner = super().open(artifact, profiled=profiled)
        return CountingSession(inner)


@dataclass(frozen=True)
class Row:
    """One search."""

    name: str
    wall: float
    engine: float
    prelude: float
    builds: int
    lower_ms: float
    first_ms: float
    megabytes: float

    @property
    def own(self) -> float:
        """Seconds that are precsearch's own."""
        return self.wall - self.engine - self.prelude


def search(model: Path, data: Path, tol: float, threads: int) -> tuple[float, float, float, int]:
    """Wall, engine and prelude seconds and the number of engines of one search."""
    with tempfile.TemporaryDirectory() as folder:
        counter = Path(folder) / "seconds"
        counter.touch()
        os.environ[COUNTER] = str(counter)
        config = OptimizeConfig(
            model, data, tol, backend="counting", threads=threads, output=Path(folder) / "p.json"
        )
        start = time.monotonic()
        stages: dict[str, float] = {}
        builds = 0
        for event in optimize_events(config):
            if isinstance(event, StageStarted):
                stages[event.stage] = time.monotonic()
            elif isinstance(event, SearchFinished):
                builds = event.builds
        wall = time.monotonic() - start
        engine = sum(map(float, counter.read_text().split()))
    return wall, engine, stages["baseline"] - stages["reference"], builds


def lowering(model: Path, data: Path, threads: int) -> tuple[float, float, float]:
    """Milliseconds of one lowering, bytes included (median of ten, and the first), and its MB."""
    with tempfile.TemporaryDirectory() as folder:
        config = OptimizeConfig(model, data, threads=threads, run_dir=Path(folder))
        target = open_target(read_model(model), "onnxruntime", None, "group", threads)
        inputs = open_inputs(config, target.graph)
        with worker_here(target.source, target.facts) as runner:
            target, lower, _ = calibrated(target, inputs, "minmax", runner, Path(folder))
    space = target.space
    full = space.uniform(Precision.INT8)
    halves = Assignment.of(dict(list(full.entries)[::2]))
    assignments = [full, *[Assignment(), halves, full] * 3]
    seconds = []
    for assignment in assignments:
        start = time.perf_counter()
        size = len(lower.lower(space.canonical(assignment)).model)
        seconds.append(time.perf_counter() - start)
    return median(seconds[1:]) * 1e3, seconds[0] * 1e3, size / 1e6


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("files", nargs="+", type=Path, help="MODEL DATA pairs")
    parser.add_argument("--tol", type=float, default=3e-2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("-o", "--output", type=Path)
    args = parser.parse_args()
    registry._BACKENDS["counting"] = f"{Path(__file__).stem}:CountingBackend"
    rows = []
    for model, data in zip(args.files[::2], args.files[1::2], strict=True):
        wall, engine, prelude, builds = search(model, data, args.tol, args.threads)
        typical, first, size = lowering(model, data, args.threads)
        name = model.parent.name
        rows.append(Row(name, wall, engine, prelude, builds, typical, first, size))
    lines = [
        "| model | search, s | engines | in the engine, s | reference and calibration, s | own, s "
        "| own share | one lowering, ms (first) | MB |",
        "|" + "---|" * 9,
    ]
    lines += [
        f"| {r.name} | {r.wall:.1f} | {r.builds} | {r.engine:.1f} | {r.prelude:.1f} | {r.own:.2f} "
        f"| {r.own / r.wall:.1%} | {r.lower_ms:.0f} ({r.first_ms:.0f}) | {r.megabytes:.1f} |"
        for r in rows
    ]
    print("\n".join(lines))
    if args.output:
        args.output.parent.mkdir(parents=True, exist_ok=True)
        args.output.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
