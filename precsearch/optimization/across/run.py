"""The search on several engines: one reference, one bound, and the fastest of all is shipped."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from precsearch.backends.auto import backend_name
from precsearch.core.errors import EngineError, OptionError, WorkerError
from precsearch.core.events import PlanWritten, StageStarted, Warned
from precsearch.graph.reading.read import read_model
from precsearch.optimization.across.compared import EngineTimes, compared, recorded
from precsearch.optimization.across.entrant import Entrant, Stream, entrant
from precsearch.optimization.across.racing import next_share, opening_share
from precsearch.optimization.across.table_file import EngineTable, write_table
from precsearch.optimization.finished import write_plan
from precsearch.optimization.run import optimize_events
from precsearch.plan.plan import evidence_path, read_plan
from precsearch.registry import backend_factory
from precsearch.replay.materialize import build
from precsearch.replay.portable import artifact_paths, portable_suffixes
from precsearch.setup.config import EngineRow, OptimizeConfig, OptimizeResult
from precsearch.setup.files import check_free
from precsearch.setup.outputs import Outputs, reserved
from precsearch.setup.ownership import check_same_model

__all__ = ["across_events", "engine_row", "several"]

_ENGINES_EACH = 60
_LEAST_S = 5.0


def several(backend: str) -> bool:
    """Whether an option names several backends."""
    return "," in backend


def across_events(config: OptimizeConfig) -> Stream:
    """Search on every backend that ``config`` names, and ship the fastest plan.

    Each search has its own plan and run directory in that of the whole. See `optimize_events`.

    Raises:
        InputError: Something that the user gave is wrong; the message says what to change.
        ResourceError: The machine lacks room, memory, handles or processes.
    """
    names = tuple(dict.fromkeys(backend_name(n.strip()) for n in config.backend.split(",")))
    if len(names) < 2:
        raise OptionError(f"--backend {config.backend} names one backend: name it once")
    entrants = [entrant(config, name) for name in names]
    paths = [config.plan_path, evidence_path(config.plan_path)]
    for name in names:
        paths += [p for p in artifact_paths(name, config.artifact) if p not in paths]
    read = (config.model, config.data, config.calibration, config.holdout)
    with reserved(paths):
        check_same_model(config, read_model(config.model))
        check_free(paths, force=config.force or config.resume, inputs=read)
        config.run_path.mkdir(parents=True, exist_ok=True)
        outputs = Outputs(config.run_path, force=config.force, resumed=config.resume)
        outputs.check(paths)
        yield from _race(config, entrants)
        return (yield from _shipped(config, entrants, outputs))


def _race(config: OptimizeConfig, entrants: Sequence[Entrant]) -> Stream:
    """Give every search a share of the budget, and the rest to those that may still win."""
    began, budget = time.monotonic(), config.max_builds
    first = opening_share(budget, len(entrants))
    total = budget if budget is not None else _ENGINES_EACH * len(entrants)
    for one in entrants:
        slice_s = None if config.time_budget is None else config.time_budget / (2 * len(entrants))
        result = yield from one.run(
            optimize_events(replace(one.config, max_builds=first, time_budget=slice_s))
        )
        if result.interrupted:
            return result
    while True:
        standings = [one.standing for one in entrants]
        left_s = _left(config, began)
        share = next_share(standings, total - sum(s.built for s in standings))
        if share is None or (left_s is not None and left_s < _LEAST_S):
            return result
        one = next(e for e in entrants if e.backend == share[0])
        before = one.built
        given = replace(
            one.config,
            resume=True,
            force=False,
            max_builds=one.built + share[1],
            time_budget=None if left_s is None else one.seconds + left_s / 2,
        )
        result = yield from one.run(optimize_events(given))
        one.ended = one.ended or one.built == before
        if result.interrupted:
            return result


def _left(config: OptimizeConfig, began: float) -> float | None:
    if config.time_budget is None:
        return None
    return config.time_budget - (time.monotonic() - began)


def _ship(
    config: OptimizeConfig, outputs: Outputs, backend: str, plan: Path, artifact: Path
) -> None:
    """Build what a plan ships, and put it where the user wants it."""
    shipped = config.run_path / f"shipped{artifact.suffix}"
    build(plan, config.model, shipped, force=True)
    places = artifact_paths(backend, artifact)
    for source, place in zip(artifact_paths(backend, shipped), places, strict=True):
        outputs.write(place, source.read_bytes())


def _shipped(config: OptimizeConfig, entrants: Sequence[Entrant], outputs: Outputs) -> Stream:
    """Compare the plans, and write the fastest one."""
    ready = [e for e in entrants if e.result is not None and e.result.plan is not None]
    interrupted = any(e.result is None or e.result.interrupted for e in entrants)
    if not ready:
        return _without_plan(entrants, interrupted=interrupted)
    times = recorded(ready)
    if not interrupted:
        yield StageStarted("compare", f"the plans of {len(ready)} engines, in the same rounds")
        try:
            times = compared(config, ready)
        except (EngineError, WorkerError) as error:
            yield Warned(f"plans are compared by times of different processes: {error}")
    rows = tuple(engine_row(e, times) for e in entrants)
    met = [e for e in ready if e.result is not None and e.result.met] or ready
    best = min(met, key=lambda e: (times.plan[e.backend], e.backend))
    assert best.result is not None
    assert best.result.plan_path is not None
    plan = read_plan(best.result.plan_path)
    write_plan(config, outputs, plan)
    write_table(config.run_path, EngineTable(best.backend, rows))
    artifact = None if interrupted else _writable(config.artifact, best, entrants)
    if artifact is not None:
        _ship(config, outputs, best.backend, best.result.plan_path, artifact)
    elif config.artifact is not None:
        yield Warned(
            f"no {config.artifact.suffix} is written for {best.backend}, which is the fastest: "
            "'precsearch build' makes its model or engine from the plan"
        )
    ratio, loss = plan.evidence.latency.ratio, plan.evidence.accuracy.loss
    yield PlanWritten(str(config.plan_path), ratio, loss)
    return OptimizeResult(
        plan,
        config.plan_path,
        artifact,
        met=best.result.met,
        interrupted=interrupted,
        summary=(f"{best.backend} is the fastest of {len(ready)} engines", *best.result.summary),
        engines=rows,
    )


def _without_plan(entrants: Sequence[Entrant], *, interrupted: bool) -> OptimizeResult:
    """The result of a search that no engine has a plan of, with what each of them says."""
    said = tuple(f"{e.backend}: {s}" for e in entrants if e.result for s in e.result.summary)
    return OptimizeResult(None, None, None, met=False, interrupted=interrupted, summary=said)


def _writable(artifact: Path | None, best: Entrant, entrants: Sequence[Entrant]) -> Path | None:
    """The artifact, unless its name asks for the format of another engine of the race."""
    if artifact is None:
        return None
    theirs = [e for e in entrants if portable_suffixes(backend_factory(e.backend), artifact)]
    return artifact if not theirs or best in theirs else None


def engine_row(one: Entrant, times: EngineTimes) -> EngineRow:
    """An entrant's part of the table, in speeds relative to the fastest FP32 engine."""
    fp32, plan = times.fp32.get(one.backend), times.plan.get(one.backend)
    uniform = one.best_uniform()
    found = one.result.plan if one.result is not None else None
    if found is not None and fp32 is not None and not len(found.recipe.assignment):
        plan = fp32  # One engine has one time, however often it was opened.
    speed = None
    if uniform is not None and found is not None and plan is not None:
        # Both ratios are of the same rounds at the end of that engine's search.
        speed = times.fastest / plan * found.evidence.latency.ratio / uniform.ratio
    return EngineRow(
        backend=one.backend,
        fp32=None if fp32 is None else times.fastest / fp32,
        uniform="" if uniform is None else uniform.precision.value,
        uniform_speed=speed,
        plan=None if plan is None else times.fastest / plan,
        loss=None if found is None else found.evidence.accuracy.loss,
        engines=one.built,
        together=times.together,
    )
