"""A worker that is killed from outside is no evidence against its trial."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from precsearch.backends.fake import fake_lower
from precsearch.core.errors import ModelError, ResourceError, WorkerCrashed, WorkerKilled
from precsearch.core.events import TrialFinished
from precsearch.core.space import Assignment
from precsearch.core.trial import (
    Accuracy,
    Failed,
    Fidelity,
    Measured,
    Measurement,
    Outcome,
    Proposal,
)
from precsearch.executors.process import Worker
from precsearch.optimization.stages.prepare import baseline_errors
from precsearch.search.evaluator import Evaluate, Steps, evaluators
from precsearch.search.journal import Journal, read
from precsearch.search.loop import search
from precsearch.system.faults import machine_fault
from tests.search.loop_toys import (
    FP16,
    IDENTITY,
    Climb,
    finish,
    in_process,
    journaled,
    timeless,
    toy_landscape,
    toy_problem,
    toy_space,
)
from tests.search.test_journal import STARTED, trial

SPACE = toy_space(4)
GOOD = Measurement(Accuracy(0.0, 0.0))
LOST = Failed("run", "killed", "something outside killed the worker")
ASKED = Proposal(Assignment.of({"g0": FP16}))


class Mortal:
    """Dies by a signal so many times, counted in a file, then answers."""

    def __init__(self, count: str, announce: Callable[[str], None]) -> None:
        self._count = Path(count)
        self._said: list[str] = []
        self._announce = announce

    def die(self, times: int, number: int) -> str:
        self._announce("run")
        lived = int(self._count.read_text()) if self._count.exists() else 0
        if lived < times:
            self._count.write_text(str(lived + 1))
            os.kill(os.getpid(), number)
        return "alive"

    def say(self, word: str) -> None:
        self._said.append(word)

    def said(self) -> list[str]:
        return self._said


def mortal(folder: Path) -> Worker[Mortal]:
    return Worker(Mortal, (str(folder / "count"),), limit_s=60, preload=())


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_a_call_survives_two_kills(tmp_path: Path, number: int) -> None:
    with mortal(tmp_path) as worker:
        assert worker.call(Mortal.die, 2, number) == "alive"


def test_three_kills_are_reported_as_coming_from_outside(tmp_path: Path) -> None:
    with mortal(tmp_path) as worker:
        with pytest.raises(WorkerKilled, match=r"outside killed .* \(SIGKILL\) at stage 'r"):
            worker.call(Mortal.die, 3, signal.SIGKILL)
        assert worker.call(Mortal.die, 3, signal.SIGKILL) == "alive"


def test_a_call_that_crashed_by_itself_is_not_repeated(tmp_path: Path) -> None:
    with mortal(tmp_path) as worker:
        with pytest.raises(WorkerCrashed) as caught:
            worker.call(Mortal.die, 1, signal.SIGABRT)
        assert not isinstance(caught.value, WorkerKilled)


def test_the_caller_may_repeat_a_call(tmp_path: Path) -> None:
    with mortal(tmp_path) as worker:
        with pytest.raises(WorkerKilled):
            worker.once(Mortal.die, 1, signal.SIGKILL)
        assert worker.once(Mortal.die, 1, signal.SIGKILL) == "alive"


def test_a_worker_that_is_killed_while_idle_is_replaced(tmp_path: Path) -> None:
    with mortal(tmp_path) as worker:
        worker.prepare()
        os.kill(worker.pid, signal.SIGKILL)
        assert worker.call(Mortal.said) == []


def test_settings_hold_in_the_next_child(tmp_path: Path) -> None:
    with mortal(tmp_path) as worker:
        worker.settle(Mortal.say, "one")
        worker.call(Mortal.say, "lost")
        worker.settle(Mortal.say, "two")
        assert worker.call(Mortal.die, 1, signal.SIGKILL) == "alive"
        assert worker.call(Mortal.said) == ["one", "two"]
        worker.serve(str(tmp_path / "count"))
        assert worker.call(Mortal.said) == []


def evaluated(*errors: Exception | None) -> tuple[Outcome, int]:
    """What becomes of a trial that meets these errors in turn, and how often it was tried."""
    left = list(errors)

    def measure(_: object, __: Fidelity) -> Measurement:
        error = left.pop(0)
        if error is not None:
            raise error
        return GOOD

    outcome = evaluators(fake_lower(SPACE), [measure])[0](ASKED).outcome
    return outcome, len(errors) - len(left)


def test_a_trial_is_tried_once_more_and_then_is_killed() -> None:
    killed = WorkerKilled("something outside killed the worker")
    assert evaluated(killed, None) == (Measured(GOOD), 2)
    outcome, tries = evaluated(killed, killed)
    assert (outcome, tries) == (Failed("build", "killed", str(killed)), 2)
    outcome, tries = evaluated(WorkerCrashed("died of SIGSEGV"), None)
    assert (isinstance(outcome, Failed) and outcome.kind, tries) == ("crash", 1)


def test_a_missing_resource_of_the_machine_is_not_an_outcome() -> None:
    with pytest.raises(ResourceError, match="no profile"):
        evaluated(ResourceError("no profile can be written"))


def test_a_killed_worker_is_not_blamed_on_the_model() -> None:
    with pytest.raises(ResourceError), baseline_errors():
        raise WorkerKilled("something outside killed the worker")
    with pytest.raises(ModelError, match="own FP32 engine fails"), baseline_errors():
        raise WorkerCrashed("died of SIGSEGV")


def test_resume_tries_killed_trials_again_and_nothing_else(run_dir: Path) -> None:
    killed: list[Proposal] = []
    measured: list[Proposal] = []

    def evaluating(kill: bool) -> Callable[[Mapping[str, Outcome]], Evaluate]:
        def with_known(known: Mapping[str, Outcome]) -> Evaluate:
            inner = in_process(SPACE, toy_landscape(SPACE, 3), known=known)

            def steps(proposals: Sequence[Proposal]) -> Steps:
                for position, done in inner(proposals):
                    if done is None:
                        yield position, None
                        continue
                    asked = proposals[position]
                    measured.append(asked)
                    lost = kill and len(measured) % 3 == 0
                    killed.extend([asked] * lost)
                    yield position, replace(done, outcome=LOST) if lost else done

            return steps

        return with_known

    assert journaled(run_dir, toy_problem(SPACE), evaluating(True), stop_after=10) is None
    first, measured[:] = list(measured), []
    trials = journaled(run_dir, toy_problem(SPACE), evaluating(False), resume=True)
    assert trials is not None
    _, whole = finish(
        search(toy_problem(SPACE), Climb(), in_process(SPACE, toy_landscape(SPACE, 3)))
    )
    assert timeless(trials) == timeless(whole)
    assert killed
    assert set(measured) & set(first) <= set(killed)
    last = {e.trial.number: e.trial for e in read(run_dir) if isinstance(e, TrialFinished)}
    assert timeless(sorted(last.values(), key=lambda t: t.number)) == timeless(whole)


def test_a_kill_does_not_hide_what_was_measured_before(run_dir: Path) -> None:
    lost = replace(trial(0, digest="d"), outcome=LOST)
    with Journal.open(run_dir, IDENTITY) as journal:
        for event in (STARTED, TrialFinished(lost, 1, 1.0), TrialFinished(trial(1), 2, 2.0)):
            journal.append(event)
    with Journal.open(run_dir, IDENTITY, resume=True) as journal:
        assert list(journal.memo) == [trial(1).proposal]
        assert journal.memo.engines == {}
        assert journal.memo.seconds == 2.0


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), "out of memory"),
        (OSError(28, "No space left on device", "/tmp/x"), "'/tmp/x': no room"),
        (OSError(24, "Too many open files"), "ulimit -n"),
        (ImportError("libx.so: cannot open shared object file: Too many open files"), "ulimit -n"),
        (RuntimeError("can't start new thread"), "ulimit -u"),
        (FileNotFoundError(2, "No usable temporary directory found in ['/tmp']"), "no room"),
        (FileNotFoundError(2, "No such file or directory"), ""),
        (ImportError("No module named 'x'"), ""),
        (ValueError("Too many open files"), ""),
    ],
)
def test_missing_resources_of_the_machine_are_distinguished_from_bugs(
    error: Exception, said: str
) -> None:
    found = machine_fault(error)
    assert said in found
    assert bool(found) == bool(said)
    wrapped = RuntimeError("elsewhere")
    wrapped.__cause__ = error
    assert machine_fault(wrapped) == found
