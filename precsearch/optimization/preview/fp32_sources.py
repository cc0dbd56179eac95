"""The FP32 time of a model's groups from a run that was kept, or from profiles made now."""

from __future__ import annotations

from pathlib import Path

from precsearch.core.errors import InputError, OptionError
from precsearch.core.events import RunStarted, SearchStarted, TrialFinished
from precsearch.core.space import Assignment
from precsearch.core.trial import Fidelity, Latency, Measurement
from precsearch.data import Dataset
from precsearch.executors.candidates import measurement_config
from precsearch.executors.open import worker_here
from precsearch.executors.references import reference_of
from precsearch.lowering.lower import Lowering
from precsearch.lowering.qdq.scales import RangeScales
from precsearch.optimization.preview.fp32_time import Fp32Time
from precsearch.optimization.stages.prepare import baseline_errors
from precsearch.search.journal import read
from precsearch.setup.config import DataConfig
from precsearch.setup.target import Target

__all__ = ["from_run", "profiled"]

_SAMPLES = 8
"""Enough to time; the engine's outputs are compared on them in passing."""
_PROFILES = 3
_SKIPPED = (
    "BatchProposed",
    "TrialStarted",
    "StageStarted",
    "Warned",
    "FinalistsTimed",
    "FinalistJudged",
)


def from_run(target: Target, run: Path) -> Fp32Time:
    """The time from a run's journal.

    Args:
        target: The model, grouped for a backend.
        run: The run directory, or its journal.

    Raises:
        InputError: The journal cannot be read, is damaged, or does not tell the time.
        OptionError: It is of another model, backend or grouping.
    """
    search: SearchStarted | None = None
    for event in read(run, skip=_SKIPPED):
        match event:
            case RunStarted():
                _check_same(target, event, run)
            case SearchStarted():
                search = event
            case TrialFinished(trial=trial) if _plain(trial.assignment, trial.proposal.fidelity):
                measurement = trial.measurement
                if (
                    search is not None
                    and measurement is not None
                    and measurement.latency is not None
                ):
                    return _told(measurement, measurement.latency, search, run)
            case _:
                pass
    raise _no_profile(run)


def _plain(assignment: Assignment, fidelity: Fidelity) -> bool:
    return not assignment and fidelity is Fidelity.ENGINE


def _told(measurement: Measurement, latency: Latency, search: SearchStarted, run: Path) -> Fp32Time:
    if not sum(measurement.group_seconds.values()) > 0:
        raise _no_profile(run)
    return Fp32Time(latency, (measurement.group_seconds,), search.noise, str(run), search.device)


def _no_profile(run: Path) -> InputError:
    return InputError(
        f"the run {str(run)!r} holds no profile of its FP32 engine; name another, or time the "
        "engine now with --profile"
    )


def _check_same(target: Target, started: RunStarted, run: Path) -> None:
    kept = started.identity
    for what, name, here in (
        ("model", "model", target.source.digest),
        ("backend", "backend", target.backend.name),
        ("grouping of layers", "space", target.space.digest),
    ):
        if kept.get(name, "") != here:
            raise OptionError(
                f"the run {str(run)!r} is of another {what}; name a run of this model with the "
                "same --backend and --granularity"
            )


def profiled(target: Target, data: Dataset) -> Fp32Time:
    """Time and profile the FP32 engine now.

    Args:
        target: The model.
        data: Samples; the first are run, the first feed is timed.

    Raises:
        ModelError: ONNX Runtime refuses the model, or the engine fails.
        OptionError: The backend gives no times by layer.
        WorkerError: A worker crashed or hung.
    """
    scales = RangeScales({}, target.scheme)
    plain = Lowering(target.graph, target.space, target.scheme, scales, target.form)
    part = data.take(range(min(_SAMPLES, len(data))))
    with worker_here(target.source, target.facts) as first:
        scored = reference_of(target, part, first)
        setup = measurement_config(DataConfig(), target, plain.lower(Assignment()), scored)
        worker = first.measuring(setup)
        with baseline_errors():
            device = worker.fingerprint().device
            noise = worker.calibrate_noise()
            rows = [worker.measure_baseline(setup.baseline) for _ in range(_PROFILES)]
    latency, profiles = rows[0].latency, tuple(row.group_seconds for row in rows)
    if latency is None or not all(sum(p.values()) > 0 for p in profiles):
        raise OptionError(
            f"the {target.backend.name} backend gives no times by layer, so --profile has nothing "
            "to show; leave it out"
        )
    return Fp32Time(latency, profiles, noise, "", device)
