"""A run that is logged to MLflow, with a module in its place that records the calls."""

from __future__ import annotations

import sys
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import pytest

from precsearch.api.tracking import tracked
from precsearch.core.errors import OptionError
from precsearch.core.events import Event, SearchFinished, SearchStarted, TrialFinished
from precsearch.core.problem import Bound, Budget
from precsearch.core.space import Assignment
from precsearch.core.trial import (
    Accuracy,
    Failed,
    Fidelity,
    Latency,
    Measured,
    Measurement,
    Proposal,
    Trial,
)
from precsearch.plan.plan import evidence_path
from precsearch.setup.config import OptimizeConfig, OptimizeResult
from tests.cli.runs import plan

LATENCY = Latency(5e-4, 5e-4, 5e-4, 0.5, 0.5, 0.5)
STARTED = SearchStarted("a CPU", "auto", 3, 9, Bound(0.1), Budget(), 0.01)


class RefusedError(Exception):
    """As MLflow's own."""


@dataclass
class Recorder:
    """Stands in for MLflow."""

    calls: list[tuple[str, tuple[object, ...], dict[str, object]]] = field(default_factory=list)
    running: bool = False
    refuses: frozenset[str] = frozenset()

    def module(self) -> ModuleType:
        made = ModuleType("mlflow")
        made.exceptions = ModuleType("mlflow.exceptions")  # type: ignore[attr-defined]
        made.exceptions.MlflowException = RefusedError
        for name in ("start_run", "end_run", "log_params", "log_metrics", "log_artifact"):
            setattr(made, name, self._noting(name))
        made.set_tag = self._noting("set_tag")  # type: ignore[attr-defined]
        made.active_run = lambda: object() if self.running else None  # type: ignore[attr-defined]
        return made

    def _noting(self, name: str) -> object:
        def note(*given: object, **more: object) -> None:
            if name in self.refuses:
                raise RefusedError(f"no {name}")
            self.calls.append((name, given, more))

        return note

    def named(self, name: str) -> list[tuple[tuple[object, ...], dict[str, object]]]:
        return [(given, more) for called, given, more in self.calls if called == name]


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    found = Recorder()
    monkeypatch.setitem(sys.modules, "mlflow", found.module())
    return found


def engine(number: int, *, failed: bool = False, fidelity: Fidelity = Fidelity.ENGINE) -> Event:
    found = Measured(Measurement(Accuracy(0.05, 0.05), LATENCY))
    outcome = Failed("build", "error", "no") if failed else found
    return TrialFinished(Trial(number, Proposal(Assignment(), fidelity), outcome), 1, 1.0)


def run(result: OptimizeResult) -> Generator[Event, None, OptimizeResult]:
    yield STARTED
    yield engine(0)
    yield engine(1, failed=True)
    yield engine(2, fidelity=Fidelity.PROXY)
    yield engine(3)
    yield SearchFinished("converged", 3, 1.0)
    return result


def followed(stream: Generator[Event, None, OptimizeResult]) -> tuple[list[Event], OptimizeResult]:
    results = []

    def kept() -> Generator[Event, None, None]:
        results.append((yield from stream))

    return list(kept()), results[0]


def unmet() -> OptimizeResult:
    return OptimizeResult(None, None, None, met=False, interrupted=False, summary=("no",))


def config() -> OptimizeConfig:
    return OptimizeConfig(Path("net.onnx"), Path("secret/data.npz"), tol=0.1)


def test_options_engines_and_the_plan_are_logged_and_events_pass_unchanged(
    recorder: Recorder, tmp_path: Path
) -> None:
    path = tmp_path / "net.plan.json"
    made = plan()
    path.write_text(made.without_evidence())
    evidence_path(path).write_text(made.evidence_json())
    result = OptimizeResult(made, path, None, met=True, interrupted=False)
    events, found = followed(tracked(config(), run(result)))
    assert events == list(run(result))
    assert found == result
    ((params,),) = [given for given, _ in recorder.named("log_params")]
    assert isinstance(params, dict)
    assert params["tol"] == "0.1"
    assert params["data"] == "data.npz"
    steps = [
        more["step"]
        for (row,), more in recorder.named("log_metrics")
        if isinstance(row, dict) and "engine.loss" in row
    ]
    assert steps == [0, 3]
    last = recorder.named("log_metrics")[-1][0][0]
    assert isinstance(last, dict)
    assert last["speedup"] == pytest.approx(1 / made.evidence.latency.ratio)
    files = [given[0] for given, _ in recorder.named("log_artifact")]
    assert files == [str(path), str(evidence_path(path))]
    assert (("precsearch.stopped", "converged"), {}) in recorder.named("set_tag")
    assert recorder.named("end_run") == [((), {"status": "FINISHED"})]


def test_a_run_that_is_active_is_used_and_left_open(recorder: Recorder) -> None:
    recorder.running = True
    followed(tracked(config(), run(unmet())))
    assert recorder.named("start_run") == recorder.named("end_run") == []
    assert recorder.named("log_params")


def test_an_error_that_ends_a_search_marks_the_tracked_run_as_failed(recorder: Recorder) -> None:
    stream = tracked(config(), run(unmet()))
    next(stream)
    with pytest.raises(KeyboardInterrupt):
        stream.throw(KeyboardInterrupt())
    assert recorder.named("end_run") == [((), {"status": "FAILED"})]


def test_a_server_that_fails_during_a_search_does_not_end_it_and_is_reported_at_the_end(
    recorder: Recorder,
) -> None:
    recorder.refuses = frozenset({"log_metrics"})
    events, found = followed(tracked(config(), run(unmet())))
    assert len(events) == len(list(run(unmet())))
    assert found.summary == ("no", "MLflow did not take all of this run: no log_metrics")


def test_a_server_that_refuses_runs_or_a_missing_package_is_an_error_before_the_search(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder.refuses = frozenset({"log_params"})
    with pytest.raises(OptionError, match="MLflow does not take the run: no log_params"):
        next(tracked(config(), run(unmet())))
    assert recorder.named("end_run") == [((), {"status": "FAILED"})]
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(OptionError, match="pip install mlflow-skinny"):
        next(tracked(config(), run(unmet())))
