"""FP32, all-INT8 and precsearch on a folder of models, as a Markdown table.

    python benchmarks/fixtures.py FOLDER --model NAME … -o docs/benchmarks/fixtures.md

Each model is ``FOLDER/NAME/{model.onnx,data.npz,holdout.npz}``. After a search the three engines
are opened anew and timed interleaved in one process, and scored on the holdout, which the search
used for its last check alone. Ratios are to FP32; below 1 is faster.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

import precsearch
from precsearch.api.calibrate import calibrated
from precsearch.api.config import OptimizeConfig
from precsearch.api.measuring import bench_setup, bench_worker, candidate, reference_of
from precsearch.api.setup import open_inputs, open_target
from precsearch.errors import DataError, OptionError
from precsearch.onnxio.read import read_model
from precsearch.space import Assignment, Precision

MODELS = (
    "resnet20_cifar10",
    "mlperf_tiny_resnet8",
    "squeezenet_imagenet",
    "minilm_l6_banking77",
    "swin_digits",
    "timesformer_digits",
    "rescat_digits_imbalanced",
    "ultraface_rfb320",
)
BOUNDS = ("rel-l2:1e-2", "rel-l2:3e-2", "rel-l2:1e-1", "top1:0.01")
REBUILDS = 5


@dataclass(frozen=True)
class Row:
    """One engine of one search."""

    model: str
    batch: int
    metric: str
    tol: float
    engine: str
    loss: float
    worst: float
    passes: bool
    seconds: float
    ratio: float
    low: float
    high: float
    noise: float
    asked: int
    achieved: int
    builds: int
    proxies: int
    wall: float


def search(
    folder: Path, name: str, metric: str, tol: float, out: Path, args: argparse.Namespace
) -> tuple[precsearch.Plan, float]:
    """One search; returns the plan and its wall time."""
    stem = f"{name}-{metric}-{tol:g}-{args.batch}"
    start = time.monotonic()
    plan = precsearch.optimize(
        folder / name / "model.onnx",
        data=folder / name / "data.npz",
        holdout=folder / name / "holdout.npz",
        tol=tol,
        metric=metric,
        threads=args.threads,
        batch=args.batch,
        max_builds=args.max_builds,
        seed=args.seed,
        output=out / f"{stem}.plan.json",
        run_dir=out / f"{stem}.run",
        force=True,
    )
    return plan, time.monotonic() - start


def judge(
    folder: Path,
    name: str,
    metric: str,
    tol: float,
    out: Path,
    args: argparse.Namespace,
    plan: precsearch.Plan,
    wall: float,
) -> Iterable[Row]:
    """FP32, all-INT8 and the plan's engine, timed together and scored on the holdout."""
    config = OptimizeConfig(
        folder / name / "model.onnx",
        folder / name / "data.npz",
        tol,
        metric,
        threads=args.threads,
        batch=args.batch,
        seed=args.seed,
        holdout=folder / name / "holdout.npz",
        run_dir=out / f"{name}-{metric}-{tol:g}-{args.batch}.run",
    )
    target = open_target(read_model(config.model), "onnxruntime", None, "group", args.threads)
    inputs = open_inputs(config, target.graph)
    assert inputs.parts.holdout is not None
    with bench_worker() as runner:
        held = reference_of(target, inputs.parts.holdout, runner)
        target, lowering, _ = calibrated(target, inputs, "minmax", runner, config.run_path)
    int8 = target.space.uniform(Precision.INT8)
    chosen = plan.recipe.assignment
    lowered = [lowering.lower(a) for a in (Assignment(), int8, chosen)]
    engines = [candidate(one) for one in lowered]
    assert lowered[2].sha256 == plan.recipe.materialised_sha256
    with bench_worker() as worker:
        worker.restart_with(bench_setup(config, target, lowered[0], held))
        noise = worker.call("calibrate_noise")
        accuracies = [worker.call("score", e, held) for e in engines]
        timed = worker.call("confirm", engines, REBUILDS)
    trials = plan.evidence.trials
    builds = sum(t.fidelity == "engine" for t in trials)
    ran = {g.key: g.achieved for g in plan.evidence.groups}
    for label, assignment, accuracy, rows in zip(
        ("FP32", "all INT8", "precsearch"),
        (Assignment(), int8, chosen),
        accuracies,
        timed,
        strict=True,
    ):
        middle = sorted(rows, key=lambda r: r.ratio)[len(rows) // 2]
        plain = label == "FP32"
        yield Row(
            name,
            args.batch,
            metric,
            tol,
            label,
            accuracy.loss,
            accuracy.worst,
            accuracy.loss <= inputs.bound,
            middle.seconds,
            1.0 if plain else middle.ratio,
            min(r.ratio for r in rows) if not plain else 1.0,
            max(r.ratio for r in rows) if not plain else 1.0,
            noise,
            len(assignment),
            sum(ran.get(k) is Precision.INT8 for k in assignment) if label == "precsearch" else -1,
            builds if label == "precsearch" else 1,
            len(trials) - builds if label == "precsearch" else 0,
            wall if label == "precsearch" else 0.0,
        )


def table(rows: list[Row]) -> str:
    """Markdown, one line an engine."""
    head = (
        "| model, batch | bound | engine | loss | worst sample | within | ms | ratio to FP32 "
        "[all rebuilds] | INT8 groups asked, achieved | engines, proxies | search s |"
    )
    lines = [head, "|" + "---|" * 11]
    for r in rows:
        groups = f"{r.asked}" if r.achieved < 0 else f"{r.asked}, {r.achieved}"
        mine = r.engine == "precsearch"
        lines.append(
            f"| {r.model}, {r.batch} | {r.metric} {r.tol:g} | {r.engine} | {r.loss:.2e} | "
            f"{r.worst:.2e} | {'yes' if r.passes else 'NO'} | {r.seconds * 1e3:.3f} | "
            f"{r.ratio:.3f} [{r.low:.3f}, {r.high:.3f}] | {groups} | "
            f"{f'{r.builds}, {r.proxies}' if mine else ''} | {f'{r.wall:.0f}' if mine else ''} |"
        )
    return "\n".join(lines)


def verdict(rows: list[Row]) -> list[str]:
    """What the table must show, counted."""
    said = []
    for i in range(0, len(rows), 3):
        plain, int8, ours = rows[i : i + 3]
        rival = min([plain.ratio] + ([int8.ratio] if int8.passes else []))
        noise = max(ours.noise, 0.01)
        where = f"{ours.model}, batch {ours.batch}, {ours.metric} {ours.tol:g}"
        if not ours.passes:
            said.append(f"MISSES its bound on the holdout: {where}")
        if ours.ratio > rival * (1 + noise):
            said.append(f"SLOWER than the best passing uniform engine: {where}")
        if ours.high < 1 - noise:
            said.append(f"beats FP32 beyond the noise: {where} ({1 / ours.ratio:.2f}x)")
    return said


def main() -> None:
    """Run all searches; rows are kept as JSON lines so that a stopped run goes on."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", action="append", dest="models")
    parser.add_argument("--bound", action="append", dest="bounds")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--max-builds", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, default=Path("benchmark-runs"))
    parser.add_argument("-o", "--output", type=Path)
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    log = args.work / "rows.jsonl"
    done = [Row(**json.loads(s)) for s in log.read_text().splitlines()] if log.exists() else []
    seen = {(r.model, r.batch, r.metric, r.tol) for r in done}
    rows = list(done)
    for name in args.models or MODELS:
        for bound in args.bounds or BOUNDS:
            metric, _, tol = bound.partition(":")
            if (name, args.batch, metric, float(tol)) in seen:
                continue
            try:
                plan, wall = search(args.folder, name, metric, float(tol), args.work, args)
            except (DataError, OptionError) as error:
                print(f"{name} {bound}: {error}", flush=True)  # no labels, or a fixed batch
                continue
            fresh = list(judge(args.folder, name, metric, float(tol), args.work, args, plan, wall))
            rows += fresh
            with log.open("a") as file:
                file.writelines(json.dumps(asdict(r)) + "\n" for r in fresh)
            print(table(fresh), flush=True)
    text = (
        f"Made by `python benchmarks/fixtures.py` on {date.today()}, {platform.machine()}, "
        f"{args.threads} thread(s), at most {args.max_builds} engines a search.\n\n"
        + table(rows)
        + "\n\n"
        + "\n".join(f"- {s}" for s in verdict(rows))
        + "\n"
    )
    print(text)
    if args.output:
        args.output.parent.mkdir(parents=True, exist_ok=True)
        args.output.write_text(text)


if __name__ == "__main__":
    main()
