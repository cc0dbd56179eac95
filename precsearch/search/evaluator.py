"""One proposal → what came out. The only place where an error becomes `Failed`.

`evaluators` composes how to lower and how to measure, `sequential` and `pooled` make of them what
`precsearch.search.loop.search` wants. Both are lazy: a trial begins only when the one before it on
the same worker was taken, so a journal has every finished trial on disk before the next begins.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Generic, Protocol, TypeVar

from precsearch.core.errors import (
    BuildError,
    InputError,
    PrecsearchError,
    ResourceError,
    RunError,
    WorkerCrashed,
    WorkerError,
    WorkerKilled,
    WorkerTimeout,
)
from precsearch.core.space import Assignment
from precsearch.core.trial import KILLED, Failed, Fidelity, Measured, Measurement, Outcome, Proposal
from precsearch.system.interrupts import interruptible

__all__ = [
    "Evaluate",
    "EvaluateOne",
    "Evaluated",
    "Lowered",
    "Steps",
    "evaluators",
    "pooled",
    "sequential",
]

_STAGES = frozenset({"lower", "build", "run", "time"})
_MESSAGE = 300
_AGAIN_S = 0.2
_NONE_KNOWN: Mapping[str, Outcome] = MappingProxyType({})


class Lowered(Protocol):
    """A model that a backend can build."""

    @property
    def model(self) -> bytes:
        """The serialised model."""
        ...

    @property
    def digest(self) -> str:
        """Equal for equal models."""
        ...


L = TypeVar("L", bound=Lowered)


@dataclass(frozen=True, slots=True)
class Evaluated:
    """What came of a proposal.

    Attributes:
        outcome: The measurement or the failure.
        model_digest: Of the lowered model, "" if it could not be or needed not be lowered.
        seconds: Wall time that it took.
        device: What the engine was timed on, "" if that is not known.
    """

    outcome: Outcome
    model_digest: str
    seconds: float
    device: str = ""


EvaluateOne = Callable[[Proposal], Evaluated]
Steps = Generator[tuple[int, Evaluated | None], Sequence[Proposal] | None, None]
"""Positions in the batch: with ``None`` when one begins, with the result when it is done.

Proposals that are sent join the batch behind those that it has.
"""
Evaluate = Callable[[Sequence[Proposal]], Steps]


def evaluators(
    lower: Callable[[Assignment], L],
    measures: Sequence[Callable[[L, Fidelity], Measurement]],
    known: Mapping[str, Outcome] = _NONE_KNOWN,
    probes: Sequence[Callable[[Assignment], Measurement]] = (),
) -> tuple[EvaluateOne, ...]:
    """One evaluator per way to measure (per worker, that is).

    Equal engines share one measurement: an engine whose lowered model has the digest of one that
    was measured, or is being measured by another of these evaluators, is not measured again.

    An evaluator lets `InputError` and `ResourceError` pass, and the plain `WorkerError` of a worker
    that was stopped on purpose; every other error is an outcome. A trial whose worker something
    outside killed is measured once more; if that is killed, too, it is `Failed` of kind ``killed``,
    which a resumed search tries again.

    Args:
        lower: Makes a model of an assignment; never called by two threads at once.
        measures: Runs the lowered model, each in a worker of its own.
        known: Outcomes of engine trials of an earlier run by model digest.
        probes: Score an assignment at proxy fidelity without a lowered model, each in the worker
            of ``measures`` at its place; without them, a proxy is lowered and measured, too.
    """
    engines = _Engines(known)
    lock = threading.Lock()
    nobody: Sequence[Callable[[Assignment], Measurement] | None] = [None] * len(measures)
    paired = zip(measures, probes or nobody, strict=True)
    return tuple(_Evaluator(lower, measure, engines, lock, probe) for measure, probe in paired)


def sequential(evaluate: EvaluateOne) -> Evaluate:
    """Evaluate one proposal after the other."""

    def steps(proposals: Sequence[Proposal]) -> Steps:
        queue = list(proposals)
        for position, proposal in enumerate(queue):  # it grows meanwhile
            queue += (yield position, None) or ()
            queue += (yield position, evaluate(proposal)) or ()

    return steps


def pooled(each: Sequence[EvaluateOne], cancel: Callable[[], None] | None = None) -> Evaluate:
    """Evaluate as many proposals at a time as there are evaluators, a thread for each.

    Args:
        each: Evaluators that do not share a worker.
        cancel: Makes running evaluations return soon (kills their workers); called when the steps
            are closed or fail early, which otherwise waits for them, and again until they have
            returned: one may be about to start a worker.
    """

    def steps(proposals: Sequence[Proposal]) -> Steps:
        idle, queue, begun = list(each), list(proposals), 0
        running: dict[Future[Evaluated], tuple[int, EvaluateOne]] = {}
        threads = ThreadPoolExecutor(len(each), thread_name_prefix="precsearch-trial")
        try:
            while begun < len(queue) or running:
                while begun < len(queue) and idle:
                    position, begun = begun, begun + 1
                    queue += (yield position, None) or ()
                    one = idle.pop()
                    running[threads.submit(one, queue[position])] = position, one
                with interruptible():
                    done, _ = wait(running, return_when=FIRST_COMPLETED)
                # One at a time: whoever takes it may have more to do for the worker it leaves.
                future = min(done, key=lambda f: running[f][0])
                position, one = running.pop(future)
                idle.append(one)
                queue += (yield position, future.result()) or ()
        finally:
            while cancel is not None and wait(running, 0).not_done:
                cancel()
                wait(running, _AGAIN_S)
            threads.shutdown(wait=True, cancel_futures=True)

    return steps


class _Engines:
    """Outcomes by model digest. Whoever asks while one is being measured waits for it."""

    def __init__(self, known: Mapping[str, Outcome]) -> None:
        self._known = known
        self._found: dict[str, Future[Outcome]] = {}
        self._lock = threading.Lock()

    def outcome(self, digest: str, measure: Callable[[], Outcome]) -> Outcome:
        if digest in self._known:
            return self._known[digest]
        with self._lock:
            future = self._found.get(digest)
            mine = future is None
            if future is None:
                future = self._found[digest] = Future()
        if mine:
            try:
                future.set_result(measure())
            except BaseException as error:
                with self._lock:
                    del self._found[digest]
                future.set_exception(error)
                raise
        return future.result()


@dataclass(frozen=True)
class _Evaluator(Generic[L]):
    lower: Callable[[Assignment], L]
    measure: Callable[[L, Fidelity], Measurement]
    engines: _Engines
    lock: threading.Lock
    probe: Callable[[Assignment], Measurement] | None

    def __call__(self, proposal: Proposal) -> Evaluated:
        start = time.perf_counter()
        digest = ""
        if self.probe is not None and proposal.fidelity is Fidelity.PROXY:
            probed = self._measured(partial(self.probe, proposal.assignment))
            return Evaluated(probed, "", time.perf_counter() - start)
        try:
            with self.lock:
                lowered = self.lower(proposal.assignment)
            digest = lowered.digest
        except (InputError, ResourceError):
            raise
        except Exception as error:  # noqa: BLE001 - one bad graph must not end an hour of search
            outcome: Outcome = _failed(error, "lower")
        else:
            outcome = self._outcome(lowered, proposal.fidelity)
        return Evaluated(outcome, digest, time.perf_counter() - start)

    def _outcome(self, lowered: L, fidelity: Fidelity) -> Outcome:
        measured = partial(self._measured, partial(self.measure, lowered, fidelity))
        if fidelity is Fidelity.ENGINE:
            return self.engines.outcome(lowered.digest, measured)
        return measured()

    def _measured(self, measure: Callable[[], Measurement]) -> Outcome:
        with suppress(WorkerKilled):
            return self._measured_once(measure)
        try:
            return self._measured_once(measure)
        except WorkerKilled as error:
            return _failed(error, "build")

    def _measured_once(self, measure: Callable[[], Measurement]) -> Outcome:
        try:
            return Measured(measure())
        except (InputError, WorkerKilled, ResourceError):
            raise
        except WorkerError as error:
            if not isinstance(error, (WorkerCrashed, WorkerTimeout)):
                raise
            return _failed(error, "build")
        except Exception as error:  # noqa: BLE001 - as above
            return _failed(error, "build")


def _failed(error: Exception, default: str) -> Failed:
    """``error`` as an outcome; ``default`` is the stage of an error that no worker raised."""
    stage = error.stage if isinstance(error, PrecsearchError) else default
    if isinstance(error, BuildError):
        stage = "build"
    elif isinstance(error, RunError) and stage != "time":
        stage = "run"
    kind = "error"
    for kinds, name in _KINDS:
        if isinstance(error, kinds):
            kind = name
    return Failed(stage if stage in _STAGES else default, kind, _sentence(error))


_KINDS: tuple[tuple[type[Exception], str], ...] = (
    (WorkerCrashed, "crash"),
    (WorkerKilled, KILLED),
    (WorkerTimeout, "timeout"),
    (MemoryError, "memory"),
)


def _sentence(error: Exception) -> str:
    text = " ".join(str(error).split()) or "no details"
    if isinstance(error, MemoryError):
        text = f"out of memory: {text}"
    elif not isinstance(error, PrecsearchError):
        text = f"{type(error).__name__}: {text}"
    return text if len(text) <= _MESSAGE else text[: _MESSAGE - 1] + "…"
