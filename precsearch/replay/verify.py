"""`verify`: a plan's model, materialized and measured again on this machine."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from precsearch.core.backend import Fingerprint, fp32_words
from precsearch.core.errors import EngineError, ReplayError
from precsearch.core.mismatch import sentences
from precsearch.core.objective import Limits, Objective
from precsearch.core.space import Assignment
from precsearch.core.trial import Accuracy, Latency
from precsearch.executors.candidates import candidate, measurement_config
from precsearch.executors.open import worker_here
from precsearch.executors.references import check_comparable, reference_of
from precsearch.measurement.artifact_store import Artifact
from precsearch.measurement.build_service import Engine
from precsearch.measurement.config import Candidate, MeasurementConfig
from precsearch.measurement.sizes import shipped_bytes
from precsearch.measurement.timing.apart import together
from precsearch.metrics import code_digest
from precsearch.plan.plan import Criteria, Plan, read_plan
from precsearch.replay.achieved import asked_and_ran
from precsearch.replay.ahead import handed_over
from precsearch.replay.artifact import built_otherwise, other_place, tactics_here
from precsearch.replay.given_artifact import given_engine
from precsearch.replay.judging import expect_digest, metric_of
from precsearch.replay.materialize import Materialized, materialize
from precsearch.replay.model_file import model_beside
from precsearch.setup.config import DataConfig
from precsearch.setup.inputs import Inputs, open_inputs
from precsearch.setup.shapes import shape_sets
from precsearch.setup.target import Target

__all__ = ["VerifyReport", "verify"]

_REBUILDS = 3
_NOT_HERE = (
    "{path!r} cannot be measured here: {error}; build it on this machine with 'precsearch build'"
)


@dataclass(frozen=True)
class VerifyReport:
    """What `verify` measured.

    Attributes:
        passed: Within the tolerance and the caller's limits, and not slower than FP32 beyond the
            noise.
        verdict: ``identical``: the model is byte for byte what the plan promises.
        metric: Name of the loss.
        tolerance: The bound on it, in the metric's terms.
        loss: On the data given.
        accuracy: With samples and outputs.
        latency: Relative to FP32 on this machine.
        noise: Relative floor of latency on this machine.
        slower: Whether it is slower than FP32 beyond the noise, which counts unless the plan is
            the smallest engine, or has a limit on size or memory that FP32 may break.
        engine: What was measured, where that was a file, and how its kernels compare with the
            plan's; else empty.
        digest: Of the plan: of its recipe and its criteria.
        artifact_bytes: Size of what would be shipped.
        memory_bytes: Host memory that it takes in a new process; 0 where memory is not limited.
        objective: What the plan minimizes; see `precsearch.core.objective.Objective`.
        over: Limits of the caller that it breaks, half a sentence each.
        lines: Sentences for people: what differs from the plan's evidence, warnings.
    """

    passed: bool
    verdict: str
    metric: str
    tolerance: float
    loss: float
    accuracy: Accuracy
    latency: Latency
    noise: float
    slower: bool
    lines: tuple[str, ...]
    engine: str = ""
    digest: str = ""
    artifact_bytes: int = 0
    memory_bytes: int = 0
    objective: str = "latency"
    over: tuple[str, ...] = ()

    @property
    def ratio(self) -> float:
        """Latency relative to FP32."""
        return self.latency.ratio


def verify(
    plan: str | Path,
    model: str | Path | None = None,
    data: str | Path | None = None,
    *,
    tol: float | None = None,
    threads: int | None = None,
    artifact: str | Path | None = None,
    backend: str | None = None,
    metric: str | None = None,
    expect: str | None = None,
    max_latency: float | None = None,
    max_size: int | None = None,
    max_memory: int | None = None,
) -> VerifyReport:
    """Materialize a plan's model and measure it on this machine.

    Two builds of one plan can have other kernels, where the backend chooses these by timing. Who
    ships an engine measures that very file.

    Args:
        plan: The plan file.
        model: The original model; ``None`` looks for ``<stem>.onnx`` beside the plan.
        data: Samples, all of them are used; ``None`` is random data.
        tol: Another bound than the plan's.
        threads: Another number of threads than the plan's.
        artifact: What `build` or `optimize` wrote, to be measured instead of a new build.
        backend: Another backend than the plan's that takes its kind of graph, see `build`.
        metric: The user's own metric that the plan is judged by, as ``module:function`` or
            ``file.py:function``. A plan names no code to run: without this, none is.
        expect: The digest that the plan must have, as 64 hexadecimal digits.
        max_latency: Most seconds of one inference here, by the number that the plan's objective
            names: the median, unless it is another; ``None`` is the plan's limit.
        max_size: Most bytes of what would be shipped; ``None`` is the plan's limit.
        max_memory: Most bytes of host memory that a new process takes to open the engine and to run
            it; ``None`` is the plan's limit.

    Raises:
        InputError: Plan, model, data or artifact cannot be read; the plan is judged by a metric
            that is not named, or by another than the one that is.
        ReplayError: The plan has another digest, or its metric has; the model is another one, or
            the result differs from what the plan promises; the artifact is another model, or an
            engine that does not run here.
        EngineError: The engine does not run here.
    """
    source = model_beside(Path(plan), None if model is None else Path(model))
    read = read_plan(Path(plan))
    expect_digest(read, expect)
    judged = metric_of(read.criteria, metric)
    materialized = materialize(read, source, threads)
    place = handed_over(read, materialized.target, backend)
    materialized = replace(materialized, target=place)
    limits = Limits(max_latency, max_size, max_memory).over(read.criteria.limits)
    config = _config(read, None if data is None else Path(data), tol, judged, limits)
    inputs = open_inputs(config, materialized.target.graph, _timed_at(read))
    given = None if artifact is None else Path(artifact)
    engine = None if given is None else given_engine(materialized, given)
    try:
        seen = _measured(materialized, config, inputs, engine)
    except EngineError as error:
        if engine is None:
            raise
        raise ReplayError(_NOT_HERE.format(path=str(given), error=error)) from error
    slower = _fast(read.criteria) and seen.latency.ratio_low > 1 + seen.noise
    over = limits.broken(seen.latency.seconds, seen.size, seen.memory or None)
    return VerifyReport(
        passed=seen.accuracy.loss <= inputs.bound and not slower and not over,
        verdict="identical",
        metric=inputs.metric.name,
        tolerance=config.tol,
        loss=seen.accuracy.loss,
        accuracy=seen.accuracy,
        latency=seen.latency,
        noise=seen.noise,
        slower=slower,
        lines=(
            *_lines(read, inputs, seen),
            *asked_and_ran(materialized.lowered, seen.engine.ran),
        ),
        digest=read.digest,
        artifact_bytes=seen.size,
        memory_bytes=seen.memory,
        objective=config.objective.value,
        over=over,
        engine="" if given is None or engine is None else _kernels(read, given, seen.engine),
    )


def _fast(criteria: Criteria) -> bool:
    """Whether the plan must not be slower than FP32, which may break a limit on size or memory."""
    unlimited = criteria.max_size is None and criteria.max_memory is None
    return unlimited and criteria.objective != Objective.SIZE.value


def _lines(plan: Plan, inputs: Inputs, seen: _Seen) -> Iterator[str]:
    """What else there is to know of a measurement, a sentence each."""
    if inputs.data.random:
        yield "no --data was given: the loss is measured on random numbers"
    yield from (*plan.notes, *inputs.data.notes, *inputs.notes, *seen.notes)
    yield from (*sentences(seen.accuracy.mismatches), *map(str, seen.accuracy.lost))
    if plan.has_evidence and (mode := plan.evidence.fp32_mode):
        yield f"speeds are relative to {fp32_words(mode)}, as the plan's are"
    where = seen.fingerprint
    yield from other_place(plan, where.device, dict(where.versions), where.features)


def _kernels(plan: Plan, path: Path, engine: Engine) -> str:
    other = built_otherwise(plan, engine)
    return f"{path.name}, {other or 'made of the kernels that the plan was measured with'}"


def _timed_at(plan: Plan) -> Mapping[str, tuple[int, ...]]:
    """The input shapes that the plan's latency is of, empty where it does not tell."""
    timed = plan.evidence.latency.by_shape if plan.has_evidence else ()
    return timed[0].shapes if timed else {}


def _config(
    plan: Plan, data: Path | None, tol: float | None, metric: str, limits: Limits
) -> DataConfig:
    """What the plan was searched with, on this data."""
    criteria, recipe = plan.criteria, plan.recipe
    shapes = recipe.shapes[0] if recipe.shapes else {}
    batch = next((s[0] for s in shapes.values() if s), 1)
    sets = shape_sets(criteria)
    media = data is not None and data.is_dir()
    return DataConfig(
        data,
        criteria.tolerance if tol is None else tol,
        metric,
        batch=1 if sets else max(1, batch),
        shapes=sets,
        seed=criteria.seed,
        preprocess=str(criteria.data.get("preprocess", "")) if media else "",
        objective=Objective.named(criteria.objective),
        limits=limits,
    )


@dataclass(frozen=True)
class _Seen:
    """What was measured, and where."""

    fingerprint: Fingerprint
    noise: float
    accuracy: Accuracy
    latency: Latency
    engine: Engine
    notes: tuple[str, ...]
    size: int
    memory: int


def _measured(
    materialized: Materialized, config: DataConfig, inputs: Inputs, artifact: bytes | None
) -> _Seen:
    """The plan's engine on all of the data; of its rebuilds, the one with the median ratio."""
    target = materialized.target
    baseline = materialized.lowering.lower(Assignment())
    engine = candidate(materialized.lowered)
    if artifact is not None:
        # Its own name: of a plan that is FP32 throughout, FP32's engine is another one.
        engine = replace(engine, digest=hashlib.sha256(artifact).hexdigest())
    with worker_here(target.source, target.facts) as first:
        scored = reference_of(target, inputs.data, first, inputs.beside(inputs.data))
        notes = check_comparable(scored)
        digest = code_digest(inputs.metric)
        setup = measurement_config(
            config, target, baseline, scored, inputs.loads, inputs.shapes, digest
        )
        worker = first.measuring(setup)
        where = worker.fingerprint()
        worker.hold(tactics_here(materialized.plan, where))
        if artifact is not None:
            worker.keep(engine, Artifact(artifact))
        noise = worker.calibrate_noise()
        accuracy = worker.score(engine, scored)
        rows = worker.confirm([engine], _REBUILDS)[0]
        shown = worker.engine(engine)
    latency = together(rows, noise)
    shipped = shown.artifact if artifact is None else artifact
    is_model = target.facts.artifact_is_model
    size = shipped_bytes(shipped, materialized.lowered.model, artifact_is_model=is_model)
    memory = 0
    if config.limits.memory is not None:
        memory = _memory(target, setup, engine, artifact)
    return _Seen(where, noise, accuracy, latency, shown, notes, size, memory)


def _memory(
    target: Target, setup: MeasurementConfig, engine: Candidate, artifact: bytes | None
) -> int:
    """What the engine takes in a new process, in bytes."""
    with worker_here(target.source, target.facts) as first:
        worker = first.measuring(setup.to_time())
        if artifact is not None:
            worker.keep(engine, Artifact(artifact))
        return worker.memory(engine)
