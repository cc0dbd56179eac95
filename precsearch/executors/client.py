"""What a run measures with: workers, the bench in them, and the outputs that are wanted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from precsearch.core.problem import Problem
from precsearch.core.space import SearchSpace
from precsearch.core.trial import Measurement, Trial, hardness
from precsearch.executors.references import reference_of
from precsearch.lowering.lower import Lowered
from precsearch.measurement.latency import Load, TimingOptions
from precsearch.measurement.rounds import BUSY
from precsearch.measurement.service import BenchSetup, Candidate, Rival, Scored
from precsearch.setup.config import OptimizeConfig
from precsearch.setup.shapes import ShapeTable
from precsearch.setup.target import Target

__all__ = ["bench_setup", "busy", "candidate", "reference_of", "rival"]

_BUILD_CACHE = "build.cache"
_PATIENT = TimingOptions(round_seconds=0.02, warmup=15)
"""A GPU that was idle takes some tenths of a second to clock up."""


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
