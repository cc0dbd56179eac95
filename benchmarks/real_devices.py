"""One search on one device, on two, and on two actors of a local Ray, one of which is killed.

    unshare --net python -m benchmarks.real_devices MODEL DATA HOLDOUT [--tol T] [--repeat N] [-o F]

The devices are disjoint sets of CPU cores. Ray listens on every interface, so the script wants a
network namespace of its own. Ways are measured by turns, ``--repeat`` times. *failed* are trials
without a measurement.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from tests.executors.ray_drill import loopback_up

_ACTOR = "ray::Node"
_TRIALS = 4
"""An actor is killed when so many trials are on record."""


@dataclass(frozen=True)
class Way:
    """How a search is run."""

    name: str
    words: tuple[str, ...]
    kill: bool = False


@dataclass(frozen=True)
class Row:
    """What came of it; seconds of the command and of the search, and the plan's own speed."""

    wall: float
    search: float
    engines: int
    proxies: int
    speed: float
    loss: float
    failed: int
    killed: int
    devices: str


def ways(one: str, two: str) -> list[Way]:
    """The ways, by the names of the devices."""
    return [
        Way("one device", ("--devices", one)),
        Way("two devices", ("--devices", two)),
        Way("Ray, two actors", ("--ray", "local", "--devices", two)),
        Way("Ray, one actor killed", ("--ray", "local", "--devices", two), kill=True),
    ]


def _kill_actor(root: int) -> int:
    """Kill one actor below a process; how many were killed."""
    for path in Path("/proc").iterdir():
        if path.name.isdigit() and _ACTOR in _text(path / "cmdline"):
            with suppress(ProcessLookupError):
                os.kill(int(path.name), signal.SIGKILL)
                return 1
    return 0


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def searched(way: Way, words: Sequence[str]) -> Row:
    """Search once."""
    with tempfile.TemporaryDirectory() as name:
        plan, run = Path(name, "m.plan.json"), Path(name, "run")
        command = [sys.executable, "-m", "precsearch", "optimize", *words, *way.words]
        command += ["--run-dir", str(run), "-o", str(plan), "--threads", "1"]
        started, killed = time.monotonic(), 0
        with subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        ) as process:
            while process.poll() is None:
                done = _text(run / "journal.jsonl").count('"TrialFinished"') >= _TRIALS
                if way.kill and not killed and done:
                    killed = _kill_actor(process.pid)
                time.sleep(0.2)
            said = process.stderr.read().decode() if process.stderr else ""
        wall = time.monotonic() - started
        if process.returncode not in (0, 3):
            raise SystemExit(f"{way.name}: exit code {process.returncode}\n{said[-2000:]}")
        events = [json.loads(s) for s in (run / "journal.jsonl").read_text().splitlines()]
        evidence = json.loads(plan.with_name("m.evidence.json").read_text())["evidence"]
    return _row(events, evidence, wall, killed)


def _row(events: list[dict[str, Any]], evidence: dict[str, Any], wall: float, killed: int) -> Row:
    trials = [e["trial"] for e in events if e["type"] == "TrialFinished"]
    engines = [t for t in trials if t["proposal"]["fidelity"] == "engine"]
    failed = [t for t in trials if "message" in t["outcome"]]
    ends = [e["elapsed"] for e in events if e["type"] == "SearchFinished"]
    by_device: dict[str, int] = {}
    for trial in trials:
        by_device[trial["device"]] = by_device.get(trial["device"], 0) + 1
    return Row(
        wall,
        ends[-1],
        len(engines),
        len(trials) - len(engines),
        1 / evidence["latency"]["ratio"],
        evidence["accuracy"]["loss"],
        len(failed),
        killed,
        ", ".join(f"{name}: {count}" for name, count in sorted(by_device.items())),
    )


def line(way: Way, rows: Sequence[Row], first: Sequence[Row]) -> str:
    """A line of the table; the ratio is to the first way of the same turn."""
    gained = median(a.wall / b.wall for a, b in zip(first, rows, strict=True))
    last = rows[-1]
    cells = [
        way.name,
        " ".join(f"{r.wall:.0f}" for r in rows),
        f"{gained:.2f}x",
        " ".join(f"{r.engines}+{r.proxies}" for r in rows),
        " ".join(f"{r.speed:.2f}x" for r in rows),
        f"{last.loss:.3g}",
        f"{sum(r.failed for r in rows)} ({sum(r.killed for r in rows)} killed)",
        last.devices,
    ]
    return f"| {' | '.join(cells)} |"


def _main() -> None:
    parser = argparse.ArgumentParser(description="One device, two, and Ray with a killed actor.")
    parser.add_argument("model")
    parser.add_argument("data")
    parser.add_argument("holdout")
    parser.add_argument("--tol", default="3e-2")
    parser.add_argument("--max-builds", default="8")
    parser.add_argument("--one", default="0")
    parser.add_argument("--two", default="0,1")
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--ways", type=int, nargs="*", default=[0, 1, 2, 3])
    parser.add_argument("-o", "--output", type=Path)
    given = parser.parse_args()
    loopback_up()
    words = [given.model, "--data", given.data, "--holdout", given.holdout, "--tol", given.tol]
    words += ["--max-builds", given.max_builds, "--backend", "onnxruntime", "--no-corrections"]
    asked = [ways(given.one, given.two)[i] for i in given.ways]
    rows: dict[str, list[Row]] = {w.name: [] for w in asked}
    for _ in range(given.repeat):
        for way in asked:
            rows[way.name].append(searched(way, words))
            print(way.name, rows[way.name][-1], flush=True)
    head = "| | wall, s | gain | engines+proxies | speed | loss | failed | trials by device |"
    lines = [head, "|---|---|---|---|---|---|---|---|"]
    lines += [line(w, rows[w.name], rows[asked[0].name]) for w in asked]
    text = "\n".join(lines) + "\n"
    print(text)
    if given.output is not None:
        given.output.write_text(text)


if __name__ == "__main__":
    _main()
