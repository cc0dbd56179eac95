"""What a search sends to a measurement service: engines, what they compete with, and its config."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from precsearch.core.backend import CPU_USE, DeclaresUse
from precsearch.core.problem import Problem
from precsearch.core.space import Assignment
from precsearch.core.trial import Measurement, Trial, hardness
from precsearch.lowering.lower import Lowered
from precsearch.measurement.service import Candidate, MeasurementConfig, ReferenceSplit, Rival
from precsearch.measurement.timing.latency import Load, TimingOptions
from precsearch.measurement.timing.rounds import BUSY
from precsearch.setup.config import DataConfig
from precsearch.setup.shapes import ShapeTable
from precsearch.setup.target import Target

__all__ = ["busy", "candidate", "measurement_config", "rival", "usual_timing"]

_PATIENT = TimingOptions(round_seconds=0.02, warmup=15)
"""A GPU that was idle takes some tenths of a second to clock up."""


def usual_timing() -> TimingOptions:
    """How long an engine is timed whose device needs no time to clock up."""
    return TimingOptions()


def candidate(lowered: Lowered) -> Candidate:
    """What is sent to a measurement service."""
    return Candidate(
        lowered.content, lowered.digest, lowered.asked, lowered.owners, lowered.products
    )


def rival(problem: Problem, trials: Sequence[Trial], lowered: Lowered) -> Rival:
    """What an engine is up against.

    Args:
        problem: What is searched.
        trials: Its trials so far.
        lowered: The engine's model.
    """
    best = problem.goal.best(trials)
    latency = None if best is None or best.measurement is None else best.measurement.latency
    ratio = 1.0 if latency is None else min(1.0, latency.ratio)
    digest = "" if best is None else best.model_digest
    trivial = _trivial(problem, lowered)
    return Rival(problem.goal, ratio, trivial, hardness(trials), digest)


def busy(measurement: Measurement | None) -> str:
    """What a person should know of the machine if a timing stayed in doubt because of it; or ""."""
    if measurement is None or measurement.latency is None:
        return ""
    if not any(reason.startswith(BUSY) for reason in measurement.latency.unsure):
        return ""
    return f"{BUSY}: disturbed timings are made again, and what stays in doubt is marked as unsure"


def _trivial(problem: Problem, lowered: Lowered) -> bool:
    """Whether a model is a uniform one, by the groups that compute."""
    asked = {lowered.owners[node]: p for node, p in lowered.asked.items() if node in lowered.owners}
    computing = {g.key for g in problem.space.free if not g.passive}
    computed = {k: p for k, p in asked.items() if k in computing}
    uniform = (Assignment(), *problem.uniforms)
    return any({k: p for k, p in u.entries if k in computing} == computed for u in uniform)


def measurement_config(
    config: DataConfig,
    target: Target,
    baseline: Lowered,
    search: ReferenceSplit,
    loads: tuple[Load, ...] = (),
    shapes: ShapeTable = (),
    metric_sha256: str = "",
    also: tuple[tuple[str, str], ...] = (),
) -> MeasurementConfig:
    """What a measurement service starts from, on any host.

    Args:
        config: Names the metric.
        target: The model and its backend.
        baseline: The FP32 engine's model.
        search: What engines are scored on.
        loads: What is timed; nothing is the samples of ``search``.
        shapes: Sets of input shapes that engines are built for.
        metric_sha256: Digest of the user's own metric, "" for a built-in one.
        also: Other metrics, with the digests of those that are the user's.
    """
    return MeasurementConfig(
        backend=target.factory,
        options=replace(target.options, shapes=shapes, model_folder="", cache="", scratch=""),
        baseline=candidate(baseline),
        search=search,
        metric=config.metric,
        timing=replace(
            _PATIENT if target.facts.clock_ramps_up else usual_timing(),
            timing=config.objective.timing,
        ),
        loads=loads,
        metric_sha256=metric_sha256,
        also=also,
        use=target.backend.use if isinstance(target.backend, DeclaresUse) else CPU_USE,
        sizes=config.weighs_groups,
    )
