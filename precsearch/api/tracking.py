"""A run in MLflow: what was asked, every engine as it is measured, and what ships."""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping
from contextlib import suppress
from dataclasses import replace
from types import ModuleType

from precsearch.core.errors import OptionError
from precsearch.core.events import Event, SearchFinished, SearchStarted, TrialFinished
from precsearch.core.trial import Fidelity
from precsearch.plan.plan import Plan, evidence_path
from precsearch.setup.config import OptimizeConfig, OptimizeResult

__all__ = ["tracked"]

_MOST_CHARACTERS = 500
"""Of a parameter, which is what MLflow takes."""


def tracked(
    config: OptimizeConfig, events: Generator[Event, None, OptimizeResult]
) -> Generator[Event, None, OptimizeResult]:
    """The same events and result, logged as they pass.

    Runs go where MLflow's own settings say (``MLFLOW_TRACKING_URI``, ``MLFLOW_EXPERIMENT_NAME``):
    into the run that is active, or into one of their own. What MLflow does not take after the
    beginning ends no search; the result's summary says so.

    Args:
        config: What is asked for.
        events: Of the search.

    Raises:
        OptionError: MLflow is not installed, or does not take the run.
    """
    log = _Tracking(config)
    interrupt: KeyboardInterrupt | None = None
    try:
        while True:
            try:
                event = next(events) if interrupt is None else events.throw(interrupt)
            except StopIteration as end:
                return log.finished(end.value)
            interrupt = None
            log.take(event)
            try:
                yield event
            except KeyboardInterrupt as error:
                interrupt = error
    finally:
        events.close()
        log.end("FAILED")


class _Tracking:
    """Logs one run.

    Args:
        config: What is asked for.

    Raises:
        OptionError: MLflow is not installed, or does not take the run.
    """

    def __init__(self, config: OptimizeConfig) -> None:
        self._mlflow = _mlflow()
        self._refusals = (self._mlflow.exceptions.MlflowException, OSError)
        self._own = False
        self._lost = ""
        try:
            if self._mlflow.active_run() is None:
                self._mlflow.start_run(run_name=config.model.stem)
                self._own = True
            self._mlflow.log_params(_params(config))
        except self._refusals as error:
            self.end("FAILED")
            raise OptionError(
                f"MLflow does not take the run: {error}; check MLFLOW_TRACKING_URI, or drop "
                "--mlflow"
            ) from error

    def take(self, event: Event) -> None:
        """Log an event: engines with their number as the step."""
        match event:
            case SearchStarted():
                self._log("set_tag", "precsearch.device", event.device)
                self._metrics({"noise": event.noise, "groups": event.groups})
            case TrialFinished() if event.trial.proposal.fidelity is Fidelity.ENGINE:
                measurement = event.trial.measurement
                if measurement is not None and measurement.latency is not None:
                    row = {
                        "engine.loss": measurement.accuracy.loss,
                        "engine.ratio": measurement.latency.ratio,
                    }
                    self._metrics(row, event.trial.number)
            case SearchFinished():
                self._log("set_tag", "precsearch.stopped", event.reason)
            case _:
                pass

    def finished(self, result: OptimizeResult) -> OptimizeResult:
        """Log what ships, with its files, and end the run if it is its own."""
        if result.plan is not None and result.plan_path is not None:
            self._metrics(_outcome(result.plan))
            self._log("set_tag", "precsearch.digest", result.plan.digest)
            files = (result.plan_path, evidence_path(result.plan_path), result.artifact_path)
            for path in files:
                if path is not None and path.is_file():
                    self._log("log_artifact", str(path))
        self._log("set_tag", "precsearch.met", str(result.met).lower())
        self.end("FINISHED" if result.met else "FAILED")
        messages = (f"MLflow did not take all of this run: {self._lost}",) if self._lost else ()
        return replace(result, summary=(*result.summary, *messages))

    def end(self, status: str) -> None:
        """End the run, if it is its own and has not ended."""
        if self._own:
            self._own = False
            with suppress(*self._refusals):
                self._mlflow.end_run(status=status)

    def _metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        self._log("log_metrics", {k: v for k, v in metrics.items() if math.isfinite(v)}, step=step)

    def _log(self, name: str, *given: object, **more: object) -> None:
        if not self._lost:  # a server that is gone is not asked again
            try:
                getattr(self._mlflow, name)(*given, **more)
            except self._refusals as error:
                self._lost = str(error) or type(error).__name__


def _mlflow() -> ModuleType:
    try:
        import mlflow
    except ImportError as error:
        raise OptionError(
            "--mlflow needs MLflow, which is not installed; run: pip install mlflow-skinny"
        ) from error
    module: ModuleType = mlflow
    return module


def _params(config: OptimizeConfig) -> dict[str, str]:
    """The options that say what was searched."""
    given = {
        "model": config.model.name,
        "data": "random" if config.data is None else config.data.name,
        "tol": f"{config.tol:g}",
        "metric": config.metric,
        "objective": config.objective.value,
        "backend": config.backend,
        "precisions": "all"
        if config.precisions is None
        else ",".join(p.value for p in config.precisions),
        "strategy": config.strategy,
        "granularity": config.granularity,
        "seed": str(config.seed),
        "threads": str(config.threads),
        "max_builds": str(config.max_builds or ""),
        "time_budget": str(config.time_budget or ""),
        **{f"max_{name}": f"{value:g}" for name, value in config.limits.given.items()},
    }
    return {name: value[:_MOST_CHARACTERS] for name, value in given.items() if value}


def _outcome(plan: Plan) -> dict[str, float]:
    """The numbers of what ships."""
    evidence = plan.evidence
    metrics = {
        "speedup": 1 / evidence.latency.ratio,
        "latency_ms": evidence.latency.seconds * 1e3,
        "fp32_latency_ms": evidence.baseline.seconds * 1e3,
        "loss": evidence.accuracy.loss,
        "size_bytes": float(evidence.size),
        "engines": float(sum(t.fidelity == Fidelity.ENGINE.value for t in evidence.trials)),
    }
    if evidence.holdout is not None:
        metrics["holdout_loss"] = evidence.holdout.loss
    return metrics
