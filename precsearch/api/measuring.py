"""What a run measures with: workers, the bench in them, and the outputs that are wanted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from precsearch.api.config import OptimizeConfig
from precsearch.api.references import reference_of
from precsearch.api.setup import Target
from precsearch.api.shapes import ShapeTable
from precsearch.bench import BenchSetup, Candidate, Rival, Scored, open_bench
from precsearch.goal import Problem
from precsearch.measure import Load, TimingOptions
from precsearch.onnxio.lower import Lowered
from precsearch.rounds import BUSY
from precsearch.space import SearchSpace
from precsearch.trial import Measurement, Trial, hardness
from precsearch.workers import Worker

__all__ = ["bench_setup", "bench_worker", "busy", "candidate", "reference_of", "rival"]

_BUILD_CACHE = "build.cache"
_PATIENT = TimingOptions(round_seconds=0.02, warmup=15)
"""A GPU that was idle takes some tenths of a second to clock up."""


def bench_worker(limit_s: float = 3600.0) -> Worker:
    """A worker for reference outputs and calibration; `Worker.restart_with` a setup to measure."""
    return Worker(open_bench, (None,), limit_s=limit_s)


def candidate(lowered: Lowered) -> Candidate:
    """What is sent to a bench."""
    return Candidate(lowered.model, lowered.digest, lowered.asked, lowered.owners)


def rival(problem: Problem, trials: Sequence[Trial], lowered: Lowered) -> Rival:
    """What an engine is up against.

    Args:
        problem: What is searched.
        trials: Its trials so far.
        lowered: The engine's model.
    """
    best = problem.goal.best(trials)
    found = None if best is None or best.measurement is None else best.measurement.latency
    ratio = 1.0 if found is None else min(1.0, found.ratio)
    return Rival(problem.goal, ratio, _trivial(problem.space, lowered), hardness(trials))


def busy(found: Measurement | None) -> str:
    """What a person should know of the machine if a timing stayed in doubt because of it; or ""."""
    if found is None or found.latency is None:
        return ""
    if not any(reason.startswith(BUSY) for reason in found.latency.unsure):
        return ""
    return f"{BUSY}: disturbed timings are made again, and what stays in doubt is marked as unsure"


def _trivial(space: SearchSpace, lowered: Lowered) -> bool:
    """Whether a model computes all groups in one precision, as far as they can."""
    asked = {lowered.owners[node]: p for node, p in lowered.asked.items() if node in lowered.owners}
    computing = {g.key for g in space.free if not g.passive}
    found = {k: p for k, p in asked.items() if k in computing}
    uniform = [dict(space.uniform(p).entries) for p in space.precisions]
    return any({k: p for k, p in u.items() if k in computing} == found for u in uniform)


def bench_setup(
    config: OptimizeConfig,
    target: Target,
    baseline: Lowered,
    search: Scored,
    loads: tuple[Load, ...] = (),
    shapes: ShapeTable = (),
    metric_sha256: str = "",
) -> BenchSetup:
    """What a bench starts from."""
    return BenchSetup(
        backend=target.factory,
        options=replace(
            target.options, shapes=shapes, cache=str(config.run_path.resolve() / _BUILD_CACHE)
        ),
        baseline=candidate(baseline),
        search=search,
        metric=config.metric,
        timing=_PATIENT if target.backend.compiles else TimingOptions(),
        loads=loads,
        metric_sha256=metric_sha256,
    )
