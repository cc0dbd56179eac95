from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

import pytest

from precsearch.backends.fake import FakeLowered, fake_lower
from precsearch.core.errors import (
    BuildError,
    EngineError,
    ModelError,
    OptionError,
    OutOfMemory,
    PrecsearchError,
    RunError,
    WorkerCrashed,
    WorkerError,
    WorkerTimeout,
)
from precsearch.core.precision import Precision
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
from precsearch.search.evaluator import Evaluated, Steps, evaluators, pooled, sequential
from precsearch.search.loop import search
from tests.search.loop_toys import (
    FP16,
    INT8,
    Climb,
    finish,
    in_process,
    toy_landscape,
    toy_problem,
    toy_space,
)

SPACE = toy_space()
LOWER = fake_lower(SPACE)
GOOD = Measurement(Accuracy(0.0, 0.0))
ENGINE = Fidelity.ENGINE


def proposal(key: str = "g0", precision: Precision = FP16) -> Proposal:
    return Proposal(Assignment.of({key: precision}))


def raising(error: BaseException, stage: str = "") -> Callable[[object, Fidelity], Measurement]:
    if stage:
        assert isinstance(error, PrecsearchError)
        error.stage = stage

    def measure(_: object, __: Fidelity) -> Measurement:
        raise error

    return measure


def outcome_of(error: BaseException, stage: str = "") -> Outcome:
    return evaluators(LOWER, [raising(error, stage)])[0](proposal()).outcome


@pytest.mark.parametrize(
    ("error", "at", "stage", "kind"),
    [
        (BuildError("no"), "time", "build", "error"),
        (RunError("no"), "build", "run", "error"),
        (RunError("no"), "time", "time", "error"),
        (EngineError("no"), "time", "time", "error"),
        (WorkerCrashed("no"), "run", "run", "crash"),
        (WorkerCrashed("no"), "start", "build", "crash"),
        (WorkerTimeout("no"), "build", "build", "timeout"),
        (OutOfMemory("no"), "time", "time", "memory"),
        (MemoryError(), "", "build", "memory"),
        (ZeroDivisionError("no"), "", "build", "error"),
    ],
)
def test_an_error_is_an_outcome(error: Exception, at: str, stage: str, kind: str) -> None:
    failed = outcome_of(error, at)
    assert isinstance(failed, Failed)
    assert (failed.stage, failed.kind) == (stage, kind)
    assert failed.message


def test_a_message_is_one_short_sentence() -> None:
    failed = outcome_of(BuildError("first\n  second" + "x" * 1000))
    assert isinstance(failed, Failed)
    assert failed.message.startswith("first second")
    assert len(failed.message) <= 300


@pytest.mark.parametrize(
    "error", [OptionError("x"), ModelError("x"), KeyboardInterrupt(), WorkerError("stopped")]
)
def test_an_error_that_no_engine_caused_is_raised(error: BaseException) -> None:
    with pytest.raises(type(error)):
        outcome_of(error)


def test_an_assignment_that_cannot_be_lowered_has_failed_without_a_digest() -> None:
    def lower(_: Assignment) -> FakeLowered:
        raise IndexError("our bug")

    evaluated = evaluators(lower, [raising(AssertionError())])[0](proposal())
    assert evaluated.outcome == Failed("lower", "error", "IndexError: our bug")
    assert evaluated.model_digest == ""


def test_an_input_error_of_the_lowering_is_raised() -> None:
    def lower(_: Assignment) -> FakeLowered:
        raise ModelError("external data is missing")

    with pytest.raises(ModelError):
        evaluators(lower, [raising(AssertionError())])[0](proposal())


class Counting:
    """Measures, slowly if wanted, and counts."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seen: list[str] = []
        self.running = 0
        self.most = 0
        self._seconds = seconds
        self._lock = threading.Lock()

    def __call__(self, lowered: FakeLowered, _: Fidelity) -> Measurement:
        with self._lock:
            self.seen.append(lowered.digest)
            self.running += 1
            self.most = max(self.most, self.running)
        time.sleep(self._seconds)
        with self._lock:
            self.running -= 1
        return GOOD


@pytest.mark.parametrize("workers", [1, 3])
def test_equal_engines_share_one_measurement(workers: int) -> None:
    counting = Counting(0.01)
    each = evaluators(fake_lower(SPACE, inert=frozenset({"g1", "g2"})), [counting] * workers)
    evaluate = sequential(each[0]) if workers == 1 else pooled(each)
    batch = [proposal("g1"), proposal("g1", INT8), Proposal(Assignment()), proposal("g0")]
    found = {i: e for i, e in evaluate(batch) if e is not None}
    assert len(counting.seen) == 2
    assert found[0].outcome is found[1].outcome is found[2].outcome
    assert len({e.model_digest for e in found.values()}) == 2


def test_an_engine_of_an_earlier_run_is_not_measured_again() -> None:
    digest = LOWER(proposal().assignment).digest
    each = evaluators(LOWER, [raising(AssertionError())], {digest: Measured(GOOD)})
    assert each[0](proposal()).outcome == Measured(GOOD)


def test_a_proxy_does_not_count_as_a_measurement_of_an_engine() -> None:
    counting = Counting()
    one = evaluators(LOWER, [counting])[0]
    one(Proposal(Assignment(), Fidelity.PROXY))
    one(Proposal(Assignment(), ENGINE))
    assert len(counting.seen) == 2


def test_callers_that_wait_for_a_stopped_measurement_are_notified() -> None:
    release = threading.Event()

    def measure(_: FakeLowered, __: Fidelity) -> Measurement:
        release.wait(5)
        raise WorkerError("stopped")

    each = evaluators(LOWER, [measure, measure])
    steps = pooled(each, release.set)([proposal(), proposal()])
    assert [next(steps), next(steps)] == [(0, None), (1, None)]
    release.set()
    with pytest.raises(WorkerError):
        list(steps)


def test_sequential_begins_a_trial_only_when_asked() -> None:
    counting = Counting()
    steps = sequential(evaluators(LOWER, [counting])[0])([proposal(), proposal("g1")])
    assert next(steps) == (0, None)
    assert counting.seen == []
    next(steps)
    next(steps)
    assert len(counting.seen) == 1
    steps.close()
    assert len(counting.seen) == 1


def test_a_pool_keeps_all_workers_busy_and_none_twice() -> None:
    counting = [Counting(0.005) for _ in range(3)]
    batch = [proposal(f"g{i % 5}", p) for i in range(5) for p in (FP16, INT8)]
    found = [i for i, e in pooled(evaluators(LOWER, counting))(batch) if e is not None]
    assert sorted(found) == list(range(10))
    assert all(c.most == 1 for c in counting)
    assert sum(len(c.seen) for c in counting) == 10


def test_a_pool_begins_no_trial_before_a_finished_one_was_taken() -> None:
    counting = Counting()
    steps = pooled(evaluators(LOWER, [counting, counting]))([proposal(f"g{i}") for i in range(5)])
    taken = 0
    for _, evaluated in steps:
        taken += evaluated is not None
        time.sleep(0.01)  # others would overtake now
        assert len(counting.seen) <= taken + 2
    assert taken == 5


def test_closing_a_pool_cancels_what_runs() -> None:
    stopped = threading.Event()

    def measure(_: FakeLowered, __: Fidelity) -> Measurement:
        assert stopped.wait(20)
        raise WorkerError("stopped")

    steps = pooled(evaluators(LOWER, [measure, measure]), stopped.set)(
        [proposal("g0"), proposal("g1"), proposal("g3")]
    )
    next(steps), next(steps)
    start = time.monotonic()
    steps.close()
    assert time.monotonic() - start < 5
    assert stopped.is_set()


def test_an_input_error_in_a_pool_ends_it() -> None:
    def bad(_: FakeLowered, __: Fidelity) -> Measurement:
        raise OptionError("the metric needs labels")

    with pytest.raises(OptionError, match="labels"):
        list(pooled(evaluators(LOWER, [bad, bad]))([proposal("g0"), proposal("g1")]))


def test_the_search_goes_on_after_every_kind_of_failure() -> None:
    problem = toy_problem(SPACE)
    good = in_process(SPACE, toy_landscape(SPACE))

    def evaluate(proposals: Sequence[Proposal]) -> Steps:
        for position, evaluated in good(proposals):
            if evaluated is None or len(proposals[position].assignment) % 2 == 0:
                yield position, evaluated
            else:
                yield position, Evaluated(Failed("run", "crash", "planted"), "", 0.0)

    _, trials = finish(search(problem, Climb(), evaluate))
    assert any(isinstance(t.outcome, Failed) for t in trials)
    assert any(isinstance(t.outcome, Measured) for t in trials)
