"""Several tolerances in one command against a command for each.

    python -m benchmarks.shared_bounds FOLDER --model NAME … [--tol 1e-2,3e-2,1e-1] [-o FILE]

Models are ``FOLDER/NAME/{model.onnx,data.npz,holdout.npz}``. Engines and proxies are those that
were measured, not those that were taken over.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Found:
    """What a search for one tolerance came to."""

    engines: int
    proxies: int
    speed: float
    low: float
    high: float

    @property
    def shown(self) -> str:
        return f"{self.speed:.2f}x ({self.low:.2f} to {self.high:.2f})"


def searched(model: Path, tols: str, words: Sequence[str], folder: Path) -> tuple[float, int]:
    """Run the command; its seconds and exit code."""
    command = [sys.executable, "-m", "precsearch", "optimize", str(model / "model.onnx")]
    command += ["--data", str(model / "data.npz"), "--holdout", str(model / "holdout.npz")]
    command += ["--tol", tols, "--threads", "1", "--backend", "onnxruntime", *words]
    started = time.monotonic()
    done = subprocess.run(
        [*command, "-o", str(folder / "m.plan.json")], capture_output=True, text=True, check=False
    )
    if done.returncode not in (0, 3):
        raise SystemExit(f"exit code {done.returncode}: {done.stderr[-2000:]}")
    return time.monotonic() - started, done.returncode


def found(folder: Path, stem: str) -> Found:
    """What is on record of a search."""
    lines = (folder / f"{stem}.precsearch" / "journal.jsonl").read_text().splitlines()
    events: list[dict[str, Any]] = list(map(json.loads, lines))
    earlier = max((e["earlier"] for e in events if e["type"] == "SearchStarted"), default=0)
    trials = [e["trial"] for e in events if e["type"] == "TrialFinished"]
    new = [t for t in trials if t["number"] >= earlier]
    engines = sum(t["proposal"]["fidelity"] == "engine" for t in new)
    evidence = json.loads((folder / f"{stem}.evidence.json").read_text())["evidence"]
    ratio = evidence["latency"]
    speeds = (1 / ratio[name] for name in ("ratio", "ratio_high", "ratio_low"))
    return Found(engines, len(new) - engines, *speeds)


def compared(model: Path, tols: str, words: Sequence[str]) -> list[str]:
    """Lines of the table for one model."""
    each = tols.split(",")
    with tempfile.TemporaryDirectory() as name:
        together, alone = Path(name, "together"), Path(name, "alone")
        together.mkdir()
        seconds, _ = searched(model, tols, words, together)
        shared = [found(together, f"m.tol{t}") for t in each]
        rows, apart = [], 0.0
        for tol in each:
            (alone / tol).mkdir(parents=True)
            apart += searched(model, tol, words, alone / tol)[0]
            rows.append(found(alone / tol, "m"))
    lines = [
        f"| {model.name} | {tol} | {a.engines}+{a.proxies} | {a.shown} | {b.engines}+{b.proxies} "
        f"| {b.shown} |"
        for tol, a, b in zip(each, shared, rows, strict=True)
    ]
    total = [f"{sum(f.engines for f in fs)}+{sum(f.proxies for f in fs)}" for fs in (shared, rows)]
    lines.append(f"| | all | {total[0]} | {seconds:.0f} s | {total[1]} | {apart:.0f} s |")
    return lines


def _main() -> None:
    parser = argparse.ArgumentParser(description="Several tolerances in one command, and apart.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", action="append", required=True)
    parser.add_argument("--tol", default="1e-2,3e-2,1e-1")
    parser.add_argument("--max-builds", default="")
    parser.add_argument("-o", "--output", type=Path)
    given = parser.parse_args()
    words = ["--max-builds", given.max_builds] if given.max_builds else []
    lines = ["| model | bound | together | speed | apart | speed |", "|---|---|---|---|---|---|"]
    for model in given.model:
        lines += compared(given.folder / model, given.tol, words)
        print("\n".join(lines), flush=True)
    if given.output is not None:
        given.output.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    _main()
