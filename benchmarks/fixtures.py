"""FP32, all-INT8, greedy sensitivity and precsearch on a folder of models, as a Markdown table.

    python -m benchmarks.fixtures FOLDER --model NAME … -o docs/benchmarks/fixtures.md

Each model is ``FOLDER/NAME/{model.onnx,data.npz,holdout.npz}``. *greedy* is what tools do that ask
each group's error alone and give the worst back to FP32, one engine at a time, until the bound
holds; it is searched through the same loop, with as many engines at most. After the searches the
engines are opened anew and timed interleaved in one process, and scored on the holdout, which a
search uses for its last check alone. Ratios are to FP32; below 1 is faster.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

import precsearch
from benchmarks.fixtures_table import Row, Told, summary, table, verdict
from precsearch.core.errors import DataError, OptionError
from precsearch.core.precision import Precision
from precsearch.core.space import Assignment
from precsearch.executors.client import bench_setup, candidate, reference_of
from precsearch.executors.process.open import bench_worker
from precsearch.graph.read import read_model
from precsearch.optimization.stages.calibrate import calibrated
from precsearch.setup.config import OptimizeConfig
from precsearch.setup.inputs import open_inputs
from precsearch.setup.target import open_target

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


def offer_greedy(folder: Path) -> None:
    """Declare the strategy ``greedy`` as a package beside precsearch would."""
    info = folder / "site" / "rivals-0.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: rivals\nVersion: 0\n")
    where = "greedy = benchmarks.landscapes_rivals:Greedy"
    (info / "entry_points.txt").write_text(f"[precsearch.strategies]\n{where}\n")
    sys.path.append(str(info.parent))


@dataclass(frozen=True)
class Case:
    """A model, a batch and a bound."""

    folder: Path
    model: str
    batch: int
    metric: str
    tol: float

    @property
    def key(self) -> tuple[str, int, str, float]:
        """What its rows have in common."""
        return self.model, self.batch, self.metric, self.tol


def search(
    case: Case, strategy: str, out: Path, args: argparse.Namespace
) -> tuple[precsearch.Plan, float]:
    """One search; returns the plan and its wall time."""
    stem = f"{case.model}-{case.metric}-{case.tol:g}-{case.batch}-{strategy}"
    start = time.monotonic()
    plan = precsearch.optimize(
        case.folder / case.model / "model.onnx",
        data=case.folder / case.model / "data.npz",
        holdout=case.folder / case.model / "holdout.npz",
        tol=case.tol,
        metric=case.metric,
        strategy=strategy,
        threads=args.threads,
        batch=case.batch,
        max_builds=args.max_builds,
        seed=args.seed,
        output=out / f"{stem}.plan.json",
        run_dir=out / f"{stem}.run",
        force=True,
    )
    return plan, time.monotonic() - start


def judge(
    case: Case, plans: Mapping[str, tuple[precsearch.Plan, float]], args: argparse.Namespace
) -> Iterable[Row]:
    """FP32, all-INT8 and the plans' engines, timed together and scored on the holdout."""
    home = case.folder / case.model
    config = OptimizeConfig(
        home / "model.onnx",
        home / "data.npz",
        case.tol,
        case.metric,
        threads=args.threads,
        batch=case.batch,
        seed=args.seed,
        holdout=home / "holdout.npz",
        run_dir=args.work / f"{case.model}-{case.batch}.judged",
    )
    config.run_path.mkdir(exist_ok=True)
    target = open_target(read_model(config.model), "onnxruntime", None, "group", args.threads)
    inputs = open_inputs(config, target.graph)
    assert inputs.parts.holdout is not None
    with bench_worker() as runner:
        held = reference_of(target, inputs.parts.holdout, runner)
        target, lowering, _ = calibrated(target, inputs, "minmax", runner, config.run_path)
    asked = {"FP32": Assignment(), "all INT8": target.space.uniform(Precision.INT8)}
    asked |= {name: plan.recipe.assignment for name, (plan, _) in plans.items()}
    lowered = {name: lowering.lower(a) for name, a in asked.items()}
    for name, (plan, _) in plans.items():
        assert lowered[name].sha256 == plan.recipe.materialised_sha256
    engines = [candidate(one) for one in lowered.values()]
    with bench_worker() as worker:
        worker.restart_with(bench_setup(config, target, lowered["FP32"], held))
        noise = worker.call("calibrate_noise")
        accuracies = [worker.call("score", e, held) for e in engines]
        timed = worker.call("confirm", engines, REBUILDS)
    for (name, assignment), accuracy, rows in zip(asked.items(), accuracies, timed, strict=True):
        middle = sorted(rows, key=lambda r: r.ratio)[len(rows) // 2]
        ratios = [1.0 if name == "FP32" else r.ratio for r in rows]
        yield Row(
            *case.key,
            engine=name,
            loss=accuracy.loss,
            worst=accuracy.worst,
            passes=accuracy.loss <= inputs.bound,
            seconds=middle.seconds,
            ratio=sorted(ratios)[len(ratios) // 2],
            low=min(ratios),
            high=max(ratios),
            noise=noise,
            asked=len(assignment),
            **asdict(told(*plans[name], inputs.bound) if name in plans else Told()),
        )


def told(plan: precsearch.Plan, wall: float, bound: float) -> Told:
    """What a search cost."""
    engines = [t for t in plan.evidence.trials if t.fidelity == "engine"]
    good = (t.loss is not None and t.loss <= bound and bool(t.counts) for t in engines)
    first = next((number for number, found in enumerate(good, 1) if found), 0)
    passing = [
        (number, t.ratio)
        for number, t in enumerate(engines, 1)
        if t.loss is not None and t.loss <= bound and t.ratio is not None
    ]
    best = min(ratio for _, ratio in passing)
    near = next(number for number, ratio in passing if ratio <= 1.02 * best)
    ran = {g.key: g.achieved for g in plan.evidence.groups}
    achieved = sum(ran.get(k) is Precision.INT8 for k in plan.recipe.assignment)
    proxies = len(plan.evidence.trials) - len(engines)
    return Told(achieved, len(engines), proxies, first, near, wall)


def arguments() -> argparse.Namespace:
    """What is asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", action="append", dest="models")
    parser.add_argument("--bound", action="append", dest="bounds")
    parser.add_argument("--strategy", action="append", dest="strategies")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--max-builds", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, default=Path("benchmark-runs"))
    parser.add_argument("-o", "--output", type=Path)
    return parser.parse_args()


def main() -> None:
    """Run all searches; rows are kept as JSON lines so that a stopped run goes on."""
    args = arguments()
    args.work.mkdir(parents=True, exist_ok=True)
    offer_greedy(args.work)
    log = args.work / "rows.jsonl"
    rows = [Row(**json.loads(s)) for s in log.read_text().splitlines()] if log.exists() else []
    seen = {r.case for r in rows}
    for name in args.models or MODELS:
        for bound in args.bounds or BOUNDS:
            metric, _, tol = bound.partition(":")
            case = Case(args.folder, name, args.batch, metric, float(tol))
            if case.key in seen:
                continue
            try:
                plans = {
                    {"auto": "precsearch"}.get(s, s): search(case, s, args.work, args)
                    for s in args.strategies or ("greedy", "auto")
                }
            except (DataError, OptionError) as error:
                print(f"{name} {bound}: {error}", flush=True)  # no labels, or a fixed batch
                continue
            fresh = list(judge(case, plans, args))
            rows += fresh
            with log.open("a") as file:
                file.writelines(json.dumps(asdict(r)) + "\n" for r in fresh)
            print(table(fresh), flush=True)
    text = (
        f"Made by `python -m benchmarks.fixtures` on {date.today()}, {platform.machine()}, "
        f"{args.threads} thread(s), at most {args.max_builds} engines a search.\n\n"
        + "\n".join([summary(rows), "", table(rows), "", *(f"- {s}" for s in verdict(rows))])
        + "\n"
    )
    print(text)
    if args.output:
        args.output.parent.mkdir(parents=True, exist_ok=True)
        args.output.write_text(text)


if __name__ == "__main__":
    main()
