"""The stories that TensorRT users come with, each from the model to a plan on a real GPU.

    python benchmarks/gpu_stories.py vit8 vit32 resnet swin noise --generators DIR -o OUT
    python benchmarks/gpu_stories.py fixtures --fixtures DIR -o OUT

``vit``: a transformer whose LayerNorms overflow in FP16 (batch 8, batch 32). ``resnet``: a
residual CNN whose INT8 pays only with Q/DQ on the shortcuts. ``swin``: windows of 49 tokens, where
INT8 is slower than FP16. ``fixtures``: four trained models at batch 32. ``noise``: one engine timed
ten times, one plan built three times. DIR holds ``gen_gpu_vit.py``, ``gen_gpu_resnet.py`` and
``gen_swin.py``, or the folders of trained models. Prints one table; OUT gets every number as JSON.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnx

from precsearch.api import OptimizeConfig, OptimizeResult, optimize_events
from precsearch.api.calibrate import calibrated
from precsearch.api.measuring import bench_setup, bench_worker, candidate, reference_of
from precsearch.api.setup import open_inputs, open_target
from precsearch.bench import Bench
from precsearch.errors import EngineError, PrecsearchError
from precsearch.events import StageStarted, TrialFinished
from precsearch.onnxio.read import read_model
from precsearch.space import Assignment, Precision
from precsearch.trial import Failed, Fidelity, Measurement

FOLDER_OF = {
    "timesformer": "timesformer_digits",
    "swin": "swin_digits",
    "resnet20": "resnet20_cifar10",
    "minilm": "minilm_l6_banking77",
}


@dataclass
class Row:
    """One engine of one story."""

    story: str
    engine: str
    ms: float
    low: float
    high: float
    ratio: float
    loss: float
    passes: bool
    achieved: str = ""
    builds: str = ""
    wall: str = ""
    notes: dict[str, Any] = field(default_factory=dict)


def searched(config: OptimizeConfig) -> tuple[OptimizeResult, dict[str, Any]]:
    """A search as a user runs it, with where its time went."""
    start = time.monotonic()
    stages: list[tuple[str, float]] = []
    trials: list[dict[str, Any]] = []
    in_engine = 0.0
    events = optimize_events(config)
    while True:
        try:
            event = next(events)
        except StopIteration as stop:
            result: OptimizeResult = stop.value
            break
        now = time.monotonic() - start
        if isinstance(event, StageStarted):
            stages.append((event.stage, now))
            print(f"  {now:7.1f} s {event.stage} {event.detail}", file=sys.stderr)
        elif isinstance(event, TrialFinished):
            row = described(event)
            trials.append(row)
            if row["fidelity"] == "engine":
                in_engine += event.trial.seconds
                print(f"  {now:7.1f} s engine {row}", file=sys.stderr)
    wall = time.monotonic() - start
    return result, {"wall": wall, "in_engines": in_engine, "stages": stages, "trials": trials}


def described(event: TrialFinished) -> dict[str, Any]:
    """A trial in a few numbers."""
    trial, found = event.trial, event.trial.measurement
    counts = {p.value: len(trial.assignment.keys_at(p)) for p in (Precision.FP16, Precision.INT8)}
    row: dict[str, Any] = {
        "fidelity": trial.proposal.fidelity.value,
        "why": trial.proposal.reason,
        "asked": counts,
        "seconds": round(trial.seconds, 2),
    }
    if isinstance(trial.outcome, Failed):
        row["failed"] = trial.outcome.message
    if found is not None:
        row |= {"loss": found.accuracy.loss, "build": round(found.build_seconds, 2)}
        row |= {"remarks": list(found.remarks)[:3], "ran": ran(found)}
        if found.latency is not None:
            row |= {"ms": found.latency.seconds * 1e3, "ratio": found.latency.ratio}
    return row


def ran(found: Measurement) -> str:
    """Groups per achieved precision."""
    values = [p.value for p in found.achieved.values()]
    return " ".join(f"{values.count(v)} {v}" for v in ("int8", "fp16", "fp32") if v in values)


def judged(
    story: str, config: OptimizeConfig, result: OptimizeResult, facts: dict[str, Any]
) -> Iterator[Row]:
    """FP32, FP16 and INT8 everywhere, and the plan's engine, timed head to head."""
    assert result.plan is not None
    source = read_model(config.model)
    target = open_target(source, "tensorrt", None, "group", 0, build=config.build_options)
    inputs = open_inputs(config, target.graph)
    with bench_worker() as runner:
        scored = reference_of(target, inputs.parts.search, runner)
        target, lowering, _ = calibrated(target, inputs, "minmax", runner, config.run_path)
    chosen = result.plan.recipe.assignment
    wanted = {
        "FP32": Assignment(),
        "FP16 everywhere": target.space.uniform(Precision.FP16),
        "INT8 everywhere": target.space.uniform(Precision.INT8),
        "precsearch": chosen,
    }
    tried = [t for t in facts["trials"] if t["asked"]["int8"] and "ms" in t]
    if tried:  # no need to build one again
        del wanted["INT8 everywhere"]
    for trial in tried:
        name = trial["why"]
        cells = (trial["ms"], trial["ms"], trial["ms"], trial["ratio"], trial["loss"])
        within = trial["loss"] <= inputs.bound
        yield Row(story, f"in the search: {name}", *cells, within, trial["ran"])
    plain = lowering.lower(Assignment())
    setup = bench_setup(config, target, plain, scored, inputs.loads, inputs.shapes)
    bench = Bench(setup, lambda _: None)
    noise = bench.calibrate_noise()
    engines, measured = {}, {}
    for name, assignment in wanted.items():
        engines[name] = candidate(lowering.lower(assignment))
        try:
            measured[name] = bench.measure(engines[name], Fidelity.ENGINE)
        except (EngineError, MemoryError) as error:
            print(f"  {name} fails: {error}", file=sys.stderr)
            facts[f"{name} fails"] = str(error)
            del engines[name]
    rows = bench.confirm(list(engines.values()), 1)
    for name, (latency,) in zip(engines, rows, strict=True):
        found = measured[name]
        mine = name == "precsearch"
        builds = sum(t["fidelity"] == "engine" for t in facts["trials"])
        yield Row(
            story,
            name,
            latency.seconds * 1e3,
            latency.low * 1e3,
            latency.high * 1e3,
            1.0 if name == "FP32" else latency.ratio,
            found.accuracy.loss,
            found.accuracy.loss <= inputs.bound,
            ran(found),
            f"{builds}" if mine else "",
            f"{facts['wall']:.0f}" if mine else "",
            facts if mine else {"noise": noise, "build": found.build_seconds},
        )


def told(
    story: str,
    model: Path,
    data: Path | None,
    args: argparse.Namespace,
    **options: Any,  # noqa: ANN401 - those of OptimizeConfig
) -> list[Row]:
    """Search, then judge."""
    print(f"{story}: {options}", file=sys.stderr)
    config = OptimizeConfig(
        model,
        data,
        backend="tensorrt",
        output=args.output / f"{story}.plan.json",
        run_dir=args.work / f"{story}.run",
        max_builds=options.pop("max_builds", args.max_builds),
        force=True,
        **options,
    )
    result, facts = searched(config)
    if result.plan is None:
        print(f"  no plan: {result.summary}", file=sys.stderr)
        return []
    return list(judged(story, config, result, facts))


def samples(path: Path, name: str, shape: tuple[int, ...], seed: int = 1) -> Path:
    """Standard normal samples of a model's input."""
    drawn: Any = {name: np.random.default_rng(seed).standard_normal(shape).astype(np.float32)}
    np.savez(path, **drawn)
    return path


def vit(batch: int) -> Callable[[argparse.Namespace], list[Row]]:
    """The TimeSformer story."""

    def tell(args: argparse.Namespace) -> list[Row]:
        module = importlib.import_module("gen_gpu_vit")
        model = args.work / f"vit{batch}.onnx"
        onnx.save(module.vit(batch=batch, outlier=8000.0), model)
        data = samples(args.work / f"vit{batch}.npz", "x", (8 * batch, 196, 768))
        return told(f"vit{batch}", model, data, args, tol=1e-2)

    return tell


def resnet(args: argparse.Namespace) -> list[Row]:
    """The residual story; the bound is what INT8 can reach there."""
    module = importlib.import_module("gen_gpu_resnet")
    model = args.work / "resnet.onnx"
    onnx.save(module.cnn(B=32), model)
    data = samples(args.work / "resnet.npz", "x", (64, 3, 224, 224))
    return told("resnet", model, data, args, tol=3e-2)


def swin(batch: int) -> Callable[[argparse.Namespace], list[Row]]:
    """The Swin story at a size that keeps a GPU busy."""

    def tell(args: argparse.Namespace) -> list[Row]:
        module = importlib.import_module("gen_swin")
        size = {**module.CFG, "IMG": 56, "D": 96, "H": 3}
        model = args.work / "swin.onnx"
        onnx.save(module.build(module.random_params(0, size), size), model)
        data = samples(args.work / f"swin{batch}.npz", "image", (max(16, batch), 1, 56, 56))
        return told(f"swin{batch}", model, data, args, tol=1e-2, batch=batch)

    return tell


def fixture(name: str) -> Callable[[argparse.Namespace], list[Row]]:
    """A trained model at batch 32."""

    def tell(args: argparse.Namespace) -> list[Row]:
        folder = args.fixtures / FOLDER_OF[name]
        return told(name, folder / "model.onnx", folder / "data.npz", args, tol=1e-2, batch=32)

    return tell


def noise(args: argparse.Namespace) -> list[Row]:
    """One engine timed ten times, one plan built three times: how far the numbers carry."""
    module = importlib.import_module("gen_gpu_resnet")
    model = args.work / "resnet.onnx"
    onnx.save(module.cnn(B=32), model)
    data = samples(args.work / "resnet.npz", "x", (64, 3, 224, 224))
    config = OptimizeConfig(model, data, 3e-2, backend="tensorrt", run_dir=args.work / "resnet.run")
    target = open_target(read_model(model), "tensorrt", None, "group", 0)
    inputs = open_inputs(config, target.graph)
    with bench_worker() as runner:
        scored = reference_of(target, inputs.parts.search, runner)
        target, lowering, _ = calibrated(target, inputs, "minmax", runner, config.run_path)
    setup = bench_setup(
        config, target, lowering.lower(Assignment()), scored, inputs.loads, inputs.shapes
    )
    half = candidate(lowering.lower(target.space.uniform(Precision.FP16)))
    again = Bench(setup, lambda _: None).confirm([half], 10)[0]
    rebuilt = [Bench(setup, lambda _: None).confirm([half], 1)[0][0] for _ in range(3)]
    found = []
    for name, rows in (("one engine, 10 times", again), ("one plan, built 3 times", rebuilt)):
        values = [r.seconds * 1e3 for r in rows]
        ratios = [r.ratio for r in rows]
        facts = {"ms": values, "ratios": ratios}
        middle = median(values)
        found.append(
            Row(
                "noise",
                name,
                middle,
                min(values),
                max(values),
                median(ratios),
                0.0,
                True,
                notes=facts,
            )
        )
    return found


STORIES: dict[str, Callable[[argparse.Namespace], list[Row]]] = {
    "vit8": vit(8),
    "vit32": vit(32),
    "resnet": resnet,
    "swin1": swin(1),
    "swin16": swin(16),
    "swin64": swin(64),
    **{name: fixture(name) for name in FOLDER_OF},
    "noise": noise,
}


def table(rows: list[Row]) -> str:
    """Markdown, one line an engine."""
    head = "| story | engine | ms | ratio to FP32 | loss | within | ran | engines | wall s |"
    lines = [head, "|" + "---|" * 9]
    lines += [
        f"| {r.story} | {r.engine} | {r.ms:.3f} [{r.low:.3f}, {r.high:.3f}] | {r.ratio:.3f} | "
        f"{r.loss:.1e} | {'yes' if r.passes else 'no'} | {r.achieved} | {r.builds} | {r.wall} |"
        for r in rows
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("stories", nargs="+", choices=[*STORIES, "fixtures"])
    parser.add_argument("--generators", type=Path, default=Path())
    parser.add_argument("--fixtures", type=Path, default=Path())
    parser.add_argument("--work", type=Path, default=Path("benchmark-runs"))
    parser.add_argument("--max-builds", type=int, default=12)
    parser.add_argument("-o", "--output", type=Path, required=True)
    args = parser.parse_args()
    sys.path.insert(0, str(args.generators.resolve()))
    args.output.mkdir(parents=True, exist_ok=True)
    args.work.mkdir(parents=True, exist_ok=True)
    names = [n for s in args.stories for n in (FOLDER_OF if s == "fixtures" else [s])]
    rows: list[Row] = []
    for name in names:
        try:
            rows += STORIES[name](args)
        except (PrecsearchError, MemoryError) as error:
            print(f"{name}: {type(error).__name__}: {error}", file=sys.stderr)
        text = json.dumps([asdict(r) for r in rows], indent=1, default=str)
        (args.output / f"stories-{args.stories[0]}.json").write_text(text)
        print(table(rows), flush=True)


if __name__ == "__main__":
    main()
