"""Searches of a folder of models at several bounds, through the command line, as a table.

    python -m benchmarks.searches FOLDER --bound 3e-2 --bound 1e-2 [--model NAME …] \
        [--time-budget 240s] [--max-builds 8] [--repeat N] [--beside N] [-o TABLE.md]

Each model is ``FOLDER/NAME/{model.onnx,data.npz,holdout.npz}``. ``--beside N`` keeps N busy
processes beside every search. ``--repeat`` runs each search several times. Rows are kept in
``WORK/rows.jsonl``, so that a run that was stopped goes on where it was.

*after* counts the engines that were built after the first one within 2 % of the search's best.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Row:
    """One search.

    Attributes:
        model, bound, number: Which.
        exit: Exit code of the command.
        speed, low, high: FP32's time over the plan's, with its interval.
        loss, holdout: Of the plan, on the search samples and on the holdout.
        uniform: Loss and speed of INT8 everywhere as it was measured in the search.
        engines, mixed, proxies, after: Counts; mixed engines are not uniform.
        seconds: Wall time of the command.
        stopped: Why the search ended.
        said: The plan's warnings and the summary.
    """

    model: str
    bound: str
    number: int
    exit: int
    speed: float
    low: float
    high: float
    loss: float
    holdout: float | None
    uniform: tuple[float, float] | None
    engines: int
    mixed: int
    proxies: int
    after: int
    seconds: float
    stopped: str
    said: tuple[str, ...]


def _spin() -> None:
    while True:
        pass


@contextmanager
def busy(count: int) -> Iterator[None]:
    """Keep ``count`` processes busy."""
    others = [multiprocessing.Process(target=_spin, daemon=True) for _ in range(count)]
    for other in others:
        other.start()
    try:
        yield
    finally:
        for other in others:
            other.kill()


def search(name: str, bound: str, number: int, args: argparse.Namespace) -> Row:
    """Run the command and read what it wrote."""
    home, stem = args.folder / name, f"{name}-{bound}-{number}"
    plan = args.work / f"{stem}.plan.json"
    command = [
        *(sys.executable, "-m", "precsearch.cli.main", "optimize", str(home / "model.onnx")),
        *("--data", str(home / "data.npz"), "--holdout", str(home / "holdout.npz")),
        *("--tol", bound, "--backend", "onnxruntime", "--threads", str(args.threads)),
        *("-o", str(plan), "--run-dir", str(args.work / f"{stem}.precsearch")),
        *("--force", "--json", *args.words),
    ]
    if args.time_budget:
        command += ["--time-budget", args.time_budget]
    if args.max_builds:
        command += ["--max-builds", str(args.max_builds)]
    start = time.monotonic()
    with busy(args.beside), (args.work / f"{stem}.log").open("w") as log:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=log, text=True, check=False)
    seconds = time.monotonic() - start
    result = json.loads((done.stdout.splitlines() or ["{}"])[-1])
    return row(name, bound, number, result, plan, done.returncode, seconds)


def row(
    name: str,
    bound: str,
    number: int,
    result: dict[str, Any],
    plan: Path,
    status: int,
    seconds: float,
) -> Row:
    """What a search found and cost."""
    beside = plan.with_name(plan.name.replace(".plan.json", ".evidence.json"))
    evidence = json.loads(beside.read_text())["evidence"] if beside.exists() else {}
    trials = evidence.get("trials", [])
    engines = [t for t in trials if t["fidelity"] == "engine"]
    groups = max((sum(t["counts"].values()) for t in trials), default=0)
    uniform = next(
        ((t["loss"], 1 / t["ratio"]) for t in engines if t["ratio"] and _uniform(t, groups)), None
    )
    timed = [
        (i, t["ratio"]) for i, t in enumerate(engines) if t["ratio"] and _within(t, float(bound))
    ]
    best = min((ratio for _, ratio in timed), default=1.0)
    near = next((i for i, ratio in timed if ratio <= 1.02 * best), 0)
    return Row(
        name,
        bound,
        number,
        status,
        1 / result.get("ratio", 1.0),
        1 / result.get("ratio_high", 1.0),
        1 / result.get("ratio_low", 1.0),
        result.get("loss", float("nan")),
        result.get("holdout_loss"),
        uniform,
        len(engines),
        sum(bool(t["counts"]) and not _uniform(t, groups) for t in engines),
        len(trials) - len(engines),
        len(engines) - 1 - near,
        seconds,
        evidence.get("stopped", "no plan"),
        (*evidence.get("warnings", ()), *result.get("summary", ())),
    )


def _uniform(trial: dict[str, Any], groups: int) -> bool:
    return len(trial["counts"]) == 1 and sum(trial["counts"].values()) == groups


def _within(trial: dict[str, Any], bound: float) -> bool:
    return trial["loss"] is not None and bool(trial["loss"] <= bound)


def table(rows: Sequence[Row]) -> str:
    """Markdown."""
    lines = [
        "| model | bound | all INT8: error, speed | plan: speed | error, on the holdout "
        "| engines, of them mixed | after | proxies | s | ended |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        uniform = "-" if r.uniform is None else f"{r.uniform[0]:.3g}, {r.uniform[1]:.2f}x"
        held = "-" if r.holdout is None else f"{r.holdout:.3g}"
        lines.append(
            f"| {r.model} | {r.bound} | {uniform} | {r.speed:.2f}x ({r.low:.2f} to {r.high:.2f}) "
            f"| {r.loss:.3g}, {held} | {r.engines}, {r.mixed} | {r.after} | {r.proxies} "
            f"| {r.seconds:.0f} | {r.stopped} |"
        )
    return "\n".join(lines)


def slower_when_wider(rows: Sequence[Row]) -> list[str]:
    """Where a wider bound gave a slower plan, beyond both intervals."""
    found = []
    for a in rows:
        for b in rows:
            same = (a.model, a.number) == (b.model, b.number)
            if same and float(a.bound) < float(b.bound) and b.high < a.low:
                found.append(f"{a.model}: {b.speed:.2f}x at {b.bound}, {a.speed:.2f}x at {a.bound}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", action="append", dest="models")
    parser.add_argument("--bound", action="append", dest="bounds", required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--time-budget")
    parser.add_argument("--max-builds", type=int)
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--beside", type=int, default=0)
    parser.add_argument("--work", type=Path, default=Path("benchmark-runs/searches"))
    parser.add_argument("-o", "--output", type=Path)
    given = sys.argv[1:]
    end = given.index("--") if "--" in given else len(given)
    args = parser.parse_args(given[:end])
    args.words = given[end + 1 :]  # further options of optimize
    args.work.mkdir(parents=True, exist_ok=True)
    log = args.work / "rows.jsonl"
    rows = [Row(**json.loads(s)) for s in log.read_text().splitlines()] if log.exists() else []
    seen = {(r.model, r.bound, r.number) for r in rows}
    for name in args.models or sorted(p.parent.name for p in args.folder.glob("*/model.onnx")):
        for bound in args.bounds:
            for number in range(args.repeat):
                if (name, bound, number) in seen:
                    continue
                rows.append(search(name, bound, number, args))
                with log.open("a") as file:
                    file.write(json.dumps(asdict(rows[-1])) + "\n")
                print(table(rows[-1:]).splitlines()[-1], flush=True)
    text = "\n".join([table(rows), "", *slower_when_wider(rows)]) + "\n"
    print(text)
    if args.output:
        args.output.write_text(text)


if __name__ == "__main__":
    main()
