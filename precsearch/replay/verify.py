"""`verify`: a plan's model, materialised and measured again on this machine."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from precsearch.core.backend import Fingerprint, fp32_words
from precsearch.core.errors import EngineError, InputError, ReplayError
from precsearch.core.mismatch import sentences
from precsearch.core.space import Assignment
from precsearch.core.trial import Accuracy, Latency
from precsearch.executors.candidates import candidate, measurement_config
from precsearch.executors.open import worker_here
from precsearch.executors.references import check_comparable, reference_of
from precsearch.measurement.artifact_store import Artifact
from precsearch.measurement.build_service import Engine
from precsearch.measurement.timing.apart import together
from precsearch.metrics import code_digest
from precsearch.plan.plan import Plan, read_plan
from precsearch.replay.artifact import built_otherwise, is_engine, other_place, tactics_here
from precsearch.replay.judging import broken_limits, expect_digest, metric_of
from precsearch.replay.materialize import Materialised, materialise
from precsearch.replay.model_file import model_beside
from precsearch.replay.portable import portable_files, portable_suffixes
from precsearch.replay.weights import placed
from precsearch.setup.config import DataConfig
from precsearch.setup.inputs import Inputs, open_inputs
from precsearch.setup.shapes import shape_sets
from precsearch.system.regular_file import read_regular

__all__ = ["VerifyReport", "verify"]

_REBUILDS = 3
_NOT_HERE = (
    "{path!r} cannot be measured here: {error}; build it on this machine with 'precsearch build'"
)
_MOST_BYTES = 1 << 36
"""Of an engine; those of large language models have some 10 GB."""


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
        slower: Whether it is slower than FP32 beyond the noise.
        engine: What was measured, where that was a file, and how its kernels compare with the
            plan's; else empty.
        digest: Of the plan: of its recipe and its criteria.
        artifact_bytes: Size of what would be shipped.
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
    metric: str | None = None,
    expect: str | None = None,
    max_latency: float | None = None,
    max_size: int | None = None,
) -> VerifyReport:
    """Materialise a plan's model and measure it on this machine.

    Two builds of one plan can have other kernels, where the backend chooses these by timing. Who
    ships an engine measures that very file.

    Args:
        plan: The plan file.
        model: The original model; ``None`` looks for ``<stem>.onnx`` beside the plan.
        data: Samples, all of them are used; ``None`` is random data.
        tol: Another bound than the plan's.
        threads: Another number of threads than the plan's.
        artifact: What `build` or `optimize` wrote, to be measured instead of a new build.
        metric: The user's own metric that the plan is judged by, as ``module:function`` or
            ``file.py:function``. A plan names no code to run: without this, none is.
        expect: The digest that the plan must have, as 64 hexadecimal digits.
        max_latency: Most seconds of one inference here, by the median.
        max_size: Most bytes of what would be shipped.

    Raises:
        InputError: Plan, model, data or artifact cannot be read; the plan is judged by a metric
            that is not named, or by another than the one that is.
        ReplayError: The plan has another digest, or its metric has; the model is another one, or
            the result differs from what the plan promises; the artifact is another model, or an
            engine that does not run here.
        EngineError: The engine does not run here.
    """
    source = model_beside(Path(plan), None if model is None else Path(model))
    found = read_plan(Path(plan))
    expect_digest(found, expect)
    judged = metric_of(found.criteria, metric)
    made = materialise(found, source, threads)
    config = _config(found, None if data is None else Path(data), tol, judged)
    inputs = open_inputs(config, made.target.graph, _timed_at(found))
    given = None if artifact is None else Path(artifact)
    engine = None if given is None else _engine(made, given)
    try:
        seen = _measured(made, config, inputs, engine)
    except EngineError as error:
        if engine is None:
            raise
        raise ReplayError(_NOT_HERE.format(path=str(given), error=error)) from error
    slower = seen.latency.ratio_low > 1 + seen.noise
    over = broken_limits(seen.latency, seen.size, max_latency, max_size)
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
        lines=tuple(_lines(found, inputs, seen)),
        digest=found.digest,
        artifact_bytes=seen.size,
        over=over,
        engine="" if given is None or engine is None else _kernels(found, given, seen.engine),
    )


def _expect_files(promised: Mapping[Path, bytes]) -> None:
    """Compare a model in the backend's own format with the plan's.

    Raises:
        ReplayError: A file is missing or another.
    """
    for path, content in promised.items():
        try:
            same = read_regular(path, _MOST_BYTES) == content
        except OSError:
            same = False
        if not same:
            raise ReplayError(
                f"{str(path)!r} is not what the plan gives with the engine installed here; build "
                "it again with 'precsearch build'"
            )


def _engine(made: Materialised, path: Path) -> bytes | None:
    """The bytes of an engine; ``None`` for a file that is the plan's model, which is built."""
    try:
        found = read_regular(path, _MOST_BYTES)
    except OSError as error:
        raise InputError(
            f"{str(path)!r} cannot be read ({error.strerror}); name what 'precsearch build' wrote"
        ) from error
    if is_engine(made.target, path):
        return found
    if portable_suffixes(made.target.backend, path):
        _expect_files(portable_files(made.target, path, made.lowered))
        return None
    promised = placed(made.target.source, made.lowered.model)
    if found != promised.model:
        raise ReplayError(
            f"{str(path)!r} is not the plan's model byte for byte; build it again with "
            "'precsearch build'"
        )
    if not promised.is_beside(path):
        raise ReplayError(
            f"the weights {promised.weights!r} beside {str(path)!r} are missing or others; build "
            "it again with 'precsearch build'"
        )
    return None


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


def _config(plan: Plan, data: Path | None, tol: float | None, metric: str) -> DataConfig:
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


def _measured(
    made: Materialised, config: DataConfig, inputs: Inputs, artifact: bytes | None
) -> _Seen:
    """The plan's engine on all of the data; of its rebuilds, the one with the median ratio."""
    target = made.target
    baseline = made.lowering.lower(Assignment())
    engine = candidate(made.lowered)
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
        worker.hold(tactics_here(made.plan, where))
        if artifact is not None:
            worker.keep(engine, Artifact(artifact))
        noise = worker.calibrate_noise()
        accuracy = worker.score(engine, scored)
        rows = worker.confirm([engine], _REBUILDS)[0]
        shown = worker.engine(engine)
    latency = together(rows, noise)
    size = len(shown.artifact if artifact is None else artifact)
    return _Seen(where, noise, accuracy, latency, shown, notes, size)
