"""FP32, BF16, uniform INT8 and the plan on OpenVINO, or on several engines, for a folder of models.

    python -m benchmarks.openvino FOLDER --model NAME … --bound 1e-2 3e-2 --state rows.jsonl
    python -m benchmarks.openvino --state rows.jsonl                      # the table alone

Each model is ``FOLDER/NAME/{model.onnx,data.npz,holdout.npz}``. A row is one search, one thread.
Rows are added to the state file as they are done, so that a long list can be measured in parts.
Speeds are relative to the FP32 engine of the same search. The uniform engines are those that the
search itself builds: one precision wherever no rule forbids it. Those within the bound are timed
again beside the plan, in the same rounds, at the end of the search. The plan is within the bound on
the holdout, which the search sees for its last check alone.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from precsearch.api import OptimizeConfig, OptimizeResult, optimize_events
from precsearch.core.errors import PrecsearchError
from precsearch.core.events import (
    Event,
    FinalistsTimed,
    RunStarted,
    SearchStarted,
    TrialFinished,
)
from precsearch.core.space import Assignment


@dataclass
class Row:
    """One search."""

    model: str
    bound: str
    backend: str
    fp32_ms: float = 0.0
    uniform: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Precision → loss and speed of its uniform engine; the backend's name first if several run."""
    speed: float = 0.0
    loss: float = 0.0
    holdout: float | None = None
    counts: dict[str, int] = field(default_factory=dict)
    builds: int = 0
    seconds: float = 0.0
    day: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    engines: list[dict[str, Any]] = field(default_factory=list)
    failed: str = ""


def search(config: OptimizeConfig, row: Row) -> OptimizeResult:
    """Run a search and note its uniform engines."""
    result: list[OptimizeResult] = []

    def whole() -> Iterator[Event]:
        result.append((yield from optimize_events(config)))

    engine, uniform, names = "", dict[Assignment, str](), dict[int, str]()
    for event in whole():
        if isinstance(event, RunStarted):
            engine, names = event.identity["backend"], {}
        elif isinstance(event, SearchStarted):
            several = f"{engine} " if "," in config.backend else ""
            uniform = {u.assignment: f"{several}{u.precision.value}" for u in event.uniform}
        elif isinstance(event, FinalistsTimed):
            for each in event.times:
                if name := names.get(each.number):
                    row.uniform[name] = row.uniform[name][0], 1 / each.ratio
        elif isinstance(event, TrialFinished):
            row.builds, trial = event.builds, event.trial
            found, name = trial.measurement, uniform.get(trial.assignment, "")
            if found and found.latency and name and name not in names.values():
                names[trial.number] = name
                row.uniform[name] = found.accuracy.loss, 1 / found.latency.ratio
    return result[0]


def measure(folder: Path, name: str, bound: str, backend: str, seconds: float) -> Row:
    """One row; a search that fails is a row that says why."""
    metric, _, tolerance = bound.rpartition(":")
    row = Row(name, bound, backend, day=date.today().isoformat())
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        config = OptimizeConfig(
            folder / name / "model.onnx",
            folder / name / "data.npz",
            holdout=folder / name / "holdout.npz",
            tol=float(tolerance),
            metric=metric or "rel-l2",
            backend=backend,
            threads=1,
            time_budget=seconds,
            output=Path(scratch) / "plan.json",
        )
        try:
            result = search(config, row)
        except PrecsearchError as error:
            row.failed = str(error)
            return row
    row.seconds = time.monotonic() - begun
    row.engines = [asdict(each) for each in result.engines]
    if result.plan is None:
        row.failed = " ".join(result.summary)
        return row
    evidence = result.plan.evidence
    row.fp32_ms = evidence.baseline.seconds * 1e3
    row.speed, row.loss = 1 / evidence.latency.ratio, evidence.accuracy.loss
    row.holdout = None if evidence.holdout is None else evidence.holdout.loss
    row.versions = dict(evidence.fingerprint.versions)
    for group in result.plan.recipe.groups:
        label = group.precision.value
        row.counts[label] = row.counts.get(label, 0) + 1
    return row


def table(rows: list[dict[str, Any]]) -> list[str]:
    """Markdown."""
    lines = [
        "| model | bound | FP32 ms | BF16: loss, speed | INT8: loss, speed "
        "| plan: holdout loss, speed | groups | engines | s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        if row["failed"]:
            lines.append(f"| {row['model']} | {row['bound']} | {row['failed']} ||||||")
            continue
        if row["engines"]:
            lines += _across(row)
            continue
        uniform = [_uniform(row["uniform"].get(name)) for name in ("bf16", "int8")]
        shown = row["loss"] if row["holdout"] is None else row["holdout"]
        groups = ", ".join(f"{n} {p}" for p, n in sorted(row["counts"].items()))
        lines.append(
            f"| {row['model']} | {row['bound']} | {row['fp32_ms']:.3g} | {' | '.join(uniform)} "
            f"| {shown:.2g}, **{row['speed']:.2f}x** | {groups} | {row['builds']} "
            f"| {row['seconds']:.0f} |"
        )
    return lines


def _across(row: dict[str, Any]) -> list[str]:
    """A line an engine: speeds relative to the fastest FP32 engine of all."""
    lines = []
    for each in row["engines"]:
        plain = each["fp32"] or 0.0
        name = each["backend"]
        found = [row["uniform"].get(f"{name} {p}") for p in ("bf16", "int8")]
        cells = [_uniform(x and (x[0], x[1] * plain)) for x in found]
        loss = "-" if each["loss"] is None else f"{each['loss']:.2g}"
        lines.append(
            f"| {row['model']} | {row['bound']}, {name} | {plain:.2f}x | {' | '.join(cells)} "
            f"| {loss}, **{each['plan'] or 0.0:.2f}x** | | {each['engines']} "
            f"| {row['seconds']:.0f} |"
        )
    return lines


def _uniform(found: tuple[float, float] | None) -> str:
    return "-" if found is None else f"{found[0]:.2g}, {found[1]:.2f}x"


def main() -> None:
    """Measure what was named, then print every row of the state file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--model", nargs="*", default=[])
    parser.add_argument("--bound", nargs="*", default=["1e-2"])
    parser.add_argument("--backend", default="openvino")
    parser.add_argument("--seconds", type=float, default=120.0, help="time budget of a search")
    parser.add_argument("--state", type=Path, required=True)
    args = parser.parse_args()
    for name in args.model:
        for bound in args.bound:
            row = measure(args.folder, name, bound, args.backend, args.seconds)
            with args.state.open("a") as file:
                file.write(json.dumps(asdict(row)) + "\n")
            print("\n".join(table([asdict(row)])[2:]), flush=True)
    rows = [json.loads(line) for line in args.state.read_text().splitlines()]
    print("\n".join(table(rows)))


if __name__ == "__main__":
    main()
