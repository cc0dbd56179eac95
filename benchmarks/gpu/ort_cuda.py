"""ONNX Runtime on a GPU: searches, engines head to head, noise, and a peer on the same models.

    python -m benchmarks.gpu.ort_cuda vit minilm … noise -o OUT [--carry .carry] [--limit 460]
    python -m benchmarks.gpu.ort_cuda peers -o OUT --plans DIR

``stories`` are the models of `benchmarks.gpu.ort_models`; each is searched as a user would, then
FP32, TF32, FP16 and BF16 everywhere and the plan are timed in the same rounds. ``noise`` times
engines ten times. ``layouts`` times FP16 everywhere with other build options. ``peers`` runs
onnxconverter-common on the same models, samples and bounds, and times what it makes beside the
plans in DIR. OUT gets a line of JSON a result as it comes, the plans, and the tables.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnx

from benchmarks.gpu.judging import searched
from benchmarks.gpu.ort_engines import (
    STRICT,
    TF32,
    Prepared,
    config_of,
    measured,
    paired,
    prepared,
    whole,
)
from benchmarks.gpu.ort_models import STORIES, Story
from benchmarks.gpu.ort_tables import tables
from precsearch.core.backend import BackendOptions
from precsearch.core.precision import Precision
from precsearch.core.space import Assignment
from precsearch.measurement.timing.latency import TimingOptions
from precsearch.plan.plan import Plan, read_plan
from precsearch.registry import backend_factory

ALL = (Precision.FP32, Precision.FP16, Precision.BF16)
NOISY = ("vit",)
CONVOLVED = ("resnet", "unet", "detector")
LAYOUTS: dict[str, Mapping[str, str]] = {
    "FP16 everywhere": TF32,
    "prefer_nhwc": {**TF32, "prefer_nhwc": "true"},
    "cudnn_conv_algo_search=heuristic": {**TF32, "cudnn_conv_algo_search": "heuristic"},
    "both": {**TF32, "prefer_nhwc": "true", "cudnn_conv_algo_search": "heuristic"},
}
PEERS = ("planted256", "vit", "minilm", "planted", "resnet", "timesformer", "swin", "unet")
PEER_S = 40.0
MAX_BUILDS = 6
TIMES = 10


@dataclass
class Bench:
    """Where things are, and how much time is left."""

    args: argparse.Namespace
    backend: str
    start: float
    rows: list[dict[str, Any]]
    timing: TimingOptions

    @property
    def left(self) -> float:
        """Seconds."""
        return float(self.args.limit) - (time.monotonic() - self.start)

    def put(self, kind: str, story: str, **row: Any) -> None:  # noqa: ANN401 - numbers and texts
        """Keep a result at once."""
        made = {"kind": kind, "story": story, "at": time.monotonic() - self.start, **row}
        self.rows.append(made)
        with (self.args.output / "ort_cuda.jsonl").open("a") as file:
            file.write(json.dumps(made, default=str) + "\n")

    def story(self, name: str) -> Story:
        """A model."""
        return STORIES[name](self.args.carry, self.args.work)


def options_of(plan: Plan) -> dict[str, str]:
    """A plan's build options."""
    return {k: str(v) for k, v in plan.recipe.options.items() if k != "threads"}


def tell(bench: Bench, name: str) -> None:
    """Search a model, then time what there is head to head."""
    story = bench.story(name)
    config = config_of(story, bench.backend, bench.args.output, max_builds=MAX_BUILDS)
    result, facts = searched(config)
    trials = facts.pop("trials")
    bench.put("search", story.name, summary=result.summary, tol=story.tol, **facts)
    for trial in trials:
        bench.put("trial", story.name, **trial)
    ready = prepared(config_of(story, bench.backend, bench.args.work), ALL)
    wanted: dict[str, tuple[Assignment | bytes, Mapping[str, str]]] = {
        "FP32": (Assignment(), STRICT),
        "TF32": (Assignment(), TF32),
        "FP16 everywhere": (ready.uniform(Precision.FP16), TF32),
        "BF16 everywhere": (ready.uniform(Precision.BF16), TF32),
    }
    if result.plan is not None:
        wanted["precsearch"] = (result.plan.recipe.assignment, options_of(result.plan))
    engines = {e.name: e for e in measured(ready, bench.backend, wanted, bench.timing)}
    half = engines["FP16 everywhere"]
    for engine in engines.values():
        row = engine.row(story.tol)
        if engine.latency is not None and half.latency is not None:
            row["of FP16"] = paired(engine, half)
        bench.put("engine", story.name, **row)
    if result.plan is not None:
        used = result.plan.recipe.assignment
        model = ready.lowered(used).model
        digest = hashlib.sha256(model).hexdigest()
        held = {p.value: len(used.keys_at(p)) for p in ALL[1:]}
        groups = len(ready.target.space.groups)
        bench.put("plan", story.name, typed=digest, held=held, groups=groups)
        bench.put("ran", story.name, achieved=achieved(bench, ready, used, options_of(result.plan)))


def achieved(
    bench: Bench, ready: Prepared, assignment: Assignment, build: Mapping[str, str]
) -> str:
    """Kernels by what they computed in."""
    made: Any = backend_factory(bench.backend)(BackendOptions(build=dict(build)))
    session = made.open(ready.lowered(assignment).model, profiled=True)
    kernels = session.profile(ready.loads[0].feeds[0], 1)
    session.close()
    made._profiles.close()
    found = [str(k.precision or "none") for k in kernels]
    return ", ".join(f"{found.count(p)} {p}" for p in sorted(set(found)))


def noise(bench: Bench) -> None:
    """One engine timed ten times, newly opened each time, by each clock, with and without graph."""
    for name in NOISY if not bench.args.stand_in else ("resnet20",):
        story = bench.story(name)
        ready = prepared(config_of(story, bench.backend, bench.args.work), ALL)
        model = ready.lowered(ready.uniform(Precision.FP16)).model
        feed = ready.loads[0].feeds[0]
        for clock in ("events", "host"):
            for graph in ("true", "false"):
                build = {"clock": clock, "enable_cuda_graph": graph}
                made = backend_factory(bench.backend)(BackendOptions(build=build))
                values = []
                for _ in range(TIMES):
                    session = made.open(made.build(model))
                    session.time(feed, 50)
                    values.append(median(session.time(feed, 50)) * 1e3)
                    session.close()
                bench.put("noise", story.name, clock=clock, graph=graph, ms=values)


def layouts(bench: Bench) -> None:
    """FP16 everywhere in models with convolutions, with each build option that concerns them."""
    for name in CONVOLVED if not bench.args.stand_in else ("resnet20",):
        story = bench.story(name)
        ready = prepared(config_of(story, bench.backend, bench.args.work), ALL)
        half = ready.uniform(Precision.FP16)
        wanted = {label: (half, build) for label, build in LAYOUTS.items()}
        engines = measured(ready, bench.backend, wanted, bench.timing)
        for engine in engines:
            row = engine.row(story.tol)
            if engine.latency is not None and engines[0].latency is not None:
                row["of FP16"] = paired(engine, engines[0])
            bench.put("layout", story.name, **row)


def peers(bench: Bench) -> None:
    """The converter on each model, for as long as there is time."""
    names = PEERS if not bench.args.stand_in else ("planted256",)
    for name in names:
        story = bench.story(name)
        ready = prepared(config_of(story, bench.backend, bench.args.work), ALL)
        wanted: dict[str, tuple[Assignment | bytes, Mapping[str, str]]] = {
            "FP32": (Assignment(), STRICT),
            "FP16 everywhere": (ready.uniform(Precision.FP16), TF32),
        }
        providers = ["CPUExecutionProvider" if bench.args.stand_in else "CUDAExecutionProvider"]
        providers += ["default"] * name.startswith("planted")
        for provider in providers:
            if bench.left < 30:
                return
            answer = converted(bench, story, ready, provider)
            label = "converter, default" if provider == "default" else "converter"
            bench.put("peer", story.name, engine=label, provider=provider, **answer)
            made = bench.args.work / f"{provider}.onnx"
            if answer.get("done"):
                wanted[label] = (onnx.load(str(made)).SerializeToString(), TF32)
        plan = plan_of(bench, story)
        if plan is not None:
            wanted["precsearch"] = (plan.recipe.assignment, options_of(plan))
        engines = measured(ready, bench.backend, wanted, bench.timing)
        for engine in engines:
            row = engine.row(story.tol)
            if engine.latency is not None and engines[1].latency is not None:
                row["of FP16"] = paired(engine, engines[1])
            bench.put("beside", story.name, **row)


def plan_of(bench: Bench, story: Story) -> Plan | None:
    """The plan that an earlier run made of a model."""
    if bench.args.plans is None:
        return None
    output = config_of(story, bench.backend, bench.args.work).output
    assert output is not None
    path: Path = bench.args.plans / output.name
    return read_plan(path) if path.exists() else None


def converted(bench: Bench, story: Story, ready: Prepared, provider: str) -> dict[str, Any]:
    """Run the converter; what it said last, and whether it was done in time."""
    work: Path = bench.args.work
    feed: Any = whole(story, ready)
    np.savez(work / "feed.npz", **feed)
    output = work / f"{provider}.onnx"
    output.unlink(missing_ok=True)
    job = {
        "model": str(story.model.resolve()),
        "feed": str(work / "feed.npz"),
        "tol": story.tol,
        "provider": provider,
        "output": str(output.resolve()),
    }
    (work / "job.json").write_text(json.dumps(job))
    known = os.environ.get("PYTHONPATH", "")
    path = os.pathsep.join([str((bench.args.carry / "peer").resolve()), str(Path.cwd()), known])
    limit = min(PEER_S, bench.left - 15)
    try:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-m", "benchmarks.gpu.ort_peer", work / "job.json"],
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            timeout=limit,
            check=False,
        )
        out, tail = done.stdout, done.stderr[-400:].decode(errors="replace")
    except subprocess.TimeoutExpired as error:
        out, tail = error.stdout or b"", f"not done after {limit:.0f} s"
    lines = [json.loads(line) for line in out.splitlines() if line.startswith(b"{")]
    last = lines[-1] if lines else {}
    return {**last, "said": "" if last.get("done") else tail}


PARTS: dict[str, Callable[[Bench], None]] = {"noise": noise, "layouts": layouts, "peers": peers}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="+", choices=[*STORIES, *PARTS])
    parser.add_argument("--carry", type=Path, default=Path(".carry"))
    parser.add_argument("--work", type=Path, default=Path("benchmark-runs"))
    parser.add_argument("--plans", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=Path(os.environ.get("OUT", "out")))
    parser.add_argument("--limit", type=float, default=460.0, help="seconds; then nothing begins")
    parser.add_argument("--stand-in", action="store_true", help="on the CPU, to try the script")
    args = parser.parse_args()
    for folder in (args.output, args.work):
        folder.mkdir(parents=True, exist_ok=True)
    backend, timing = "onnxruntime-cuda", TimingOptions(rounds=40, round_seconds=0.02, warmup=10)
    if args.stand_in:
        from tests.backends.ort_cuda.stand_in import installed

        backend, timing = installed(), TimingOptions(rounds=10, seconds=2.0)
    bench = Bench(args, backend, time.monotonic(), [], timing)
    for part in args.parts:
        if bench.left < 30:
            print(f"no time for {part}")
            continue
        print(f"{time.monotonic() - bench.start:.0f} s: {part}", flush=True)
        try:
            PARTS[part](bench) if part in PARTS else tell(bench, part)
        except BaseException as error:  # noqa: BLE001 - the next part is still worth while
            bench.put("failed", part, error=f"{type(error).__name__}: {error}")
            print(traceback.format_exc(), flush=True)
    text = tables(bench.rows)
    (args.output / "ort_cuda.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
