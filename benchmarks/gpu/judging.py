"""One story of `stories`: searched as a user would, judged head to head, and printed."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from precsearch.api import OptimizeConfig, OptimizeResult, optimize_events
from precsearch.core.errors import EngineError
from precsearch.core.events import SearchFinished, SearchStarted, StageStarted, TrialFinished
from precsearch.core.precision import Precision
from precsearch.core.space import Assignment
from precsearch.core.trial import Failed, Fidelity, Latency, Measurement
from precsearch.executors.candidates import candidate, measurement_config
from precsearch.executors.open import worker_here
from precsearch.executors.references import reference_of
from precsearch.graph.reading.read import read_model
from precsearch.measurement.config import Candidate
from precsearch.measurement.place import Place
from precsearch.measurement.service import MeasurementService
from precsearch.optimization.stages.calibrate import calibrated
from precsearch.plan.plan import Plan
from precsearch.setup.inputs import open_inputs
from precsearch.setup.target import open_target


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
    in_engine = in_proxies = begun = ended = 0.0
    events = optimize_events(config)
    while True:
        try:
            event = next(events)
        except StopIteration as stop:
            result: OptimizeResult = stop.value
            break
        now = time.monotonic() - start
        if isinstance(event, SearchStarted):
            begun = now
        elif isinstance(event, SearchFinished):
            ended = now
        elif isinstance(event, StageStarted):
            stages.append((event.stage, now))
            print(f"  {now:7.1f} s {event.stage} {event.detail}", file=sys.stderr)
        elif isinstance(event, TrialFinished):
            row = described(event)
            trials.append(row)
            if row["fidelity"] == "engine":
                in_engine += event.trial.seconds
                print(f"  {now:7.1f} s engine {row}", file=sys.stderr)
            else:
                in_proxies += event.trial.seconds
    wall = time.monotonic() - start
    # From "reference" on the FP32 engine is built; without a "build" it was ready the sooner.
    at = dict(stages)
    before = at["reference"] if "build" in at else at.get("baseline", begun)
    facts: dict[str, Any] = {"wall": wall, "in engines": in_engine, "stages": stages}
    facts |= {"before": before, "in proxies": in_proxies, "strategy": ended - begun - in_engine}
    facts["outside"] = before + ended - begun - in_engine
    shares = {k: round(v, 1) for k, v in facts.items() if isinstance(v, float)}
    print(f"  seconds {shares}, outside {facts['outside'] / wall:.1%}", file=sys.stderr)
    return result, {**facts, "trials": trials}


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
        row |= {"warnings": list(found.warnings)[:3], "ran": ran(found)}
        if found.latency is not None:
            row |= {"ms": found.latency.seconds * 1e3, "ratio": found.latency.ratio}
    return row


def ran(found: Measurement) -> str:
    """Groups per achieved precision."""
    values = [p.value for p in found.achieved.values()]
    return " ".join(f"{values.count(v)} {v}" for v in ("int8", "fp16", "fp32") if v in values)


def judged(story: str, config: OptimizeConfig, plan: Plan, facts: dict[str, Any]) -> list[Row]:
    """The INT8 engines of a search, then FP32, FP16 everywhere and the plan's head to head."""
    source = read_model(config.model)
    target = open_target(source, "tensorrt", None, "group", 0, build=config.build_options)
    inputs = open_inputs(config, target.graph)
    with worker_here(target.source, target.facts) as runner:
        scored = reference_of(target, inputs.parts.search, runner)
        target, lowering, _ = calibrated(target, inputs, "minmax", runner, config.run_path)
    rows = list(_in_the_search(story, plan, inputs.bound, facts))
    wanted = {
        "FP32": Assignment(),
        "FP16 everywhere": target.space.uniform(Precision.FP16),
        **({} if rows else {"INT8 everywhere": target.space.uniform(Precision.INT8)}),
        "precsearch": plan.recipe.assignment,
    }
    plain = lowering.lower(Assignment())
    setup = measurement_config(config, target, plain, scored, inputs.loads, inputs.shapes)
    bench = MeasurementService(Place(), setup, lambda _: None)
    noise = bench.calibrate_noise()
    engines = {n: candidate(lowering.lower(a)) for n, a in wanted.items()}
    found = {n: _measured(bench, n, engine, facts) for n, engine in engines.items()}
    measured = {n: m for n, m in found.items() if m is not None}
    timed = bench.confirm([engines[n] for n in measured], 1)
    for (name, one), (latency,) in zip(measured.items(), timed, strict=True):
        row = as_row(story, name, one, latency, inputs.bound)
        row.notes = {"noise": noise, "build": one.build_seconds}
        rows.append(row)
    searching = [t for t in plan.evidence.trials if t.fidelity == "engine"]
    rows[-1].builds, rows[-1].wall = str(len(searching)), f"{plan.evidence.seconds:.0f}"
    rows[-1].notes |= facts
    return rows


def _measured(
    bench: MeasurementService, name: str, engine: Candidate, facts: dict[str, Any]
) -> Measurement | None:
    try:
        return bench.measure(engine, Fidelity.ENGINE)
    except (EngineError, MemoryError) as error:
        print(f"  {name} fails: {error}", file=sys.stderr)
        facts[f"{name} fails"] = str(error)
        return None


def as_row(story: str, name: str, found: Measurement, latency: Latency, bound: float) -> Row:
    """One engine that was timed with others."""
    low, ms, high = (1e3 * s for s in (latency.low, latency.seconds, latency.high))
    ratio, loss = 1.0 if name == "FP32" else latency.ratio, found.accuracy.loss
    return Row(story, name, ms, low, high, ratio, loss, loss <= bound, ran(found))


def _in_the_search(story: str, plan: Plan, bound: float, facts: dict[str, Any]) -> Iterator[Row]:
    """Its engines with INT8: these need not be built again."""
    whole = 1e3 * plan.evidence.baseline.seconds
    achieved = {t["why"]: t.get("ran", "") for t in facts.get("trials", ())}
    for t in plan.evidence.trials:
        if t.fidelity == "engine" and t.counts.get("int8") and t.ratio and t.loss is not None:
            ms = t.ratio * whole
            cells = (ms, ms, ms, t.ratio, t.loss, t.loss <= bound, achieved.get(t.why, ""))
            yield Row(story, f"in the search: {t.why}", *cells)


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
