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
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Generic, Protocol, TypeVar

from precsearch.core.errors import (
    InputError,
    ResourceError,
    WorkerCrashed,
    WorkerError,
    WorkerKilled,
    WorkerMissing,
    WorkerTimeout,
)
from precsearch.core.space import Assignment
from precsearch.core.trial import Fidelity, Measured, Measurement, Outcome, Proposal
from precsearch.search.failures import failure
from precsearch.system.interrupts import interruptible

__all__ = [
    "Evaluate",
    "EvaluateOne",
    "Evaluated",
    "Lane",
    "Lowered",
    "Steps",
    "evaluators",
    "pooled",
    "sequential",
]

_AGAIN_S = 0.2
_NONE_KNOWN: Mapping[str, Outcome] = MappingProxyType({})


class Lowered(Protocol):
    """A model that a backend can build."""

    @property
    def model(self) -> bytes:
        """The serialized model."""
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


@dataclass(frozen=True, slots=True)
class Lane:
    """Where one evaluator works.

    Attributes:
        timed_on: Name of the device that times its engines, "" if nobody told.
        scored_on: Name of the device that runs its proxies.
        lowering: Held while it lowers, so that lowering disturbs no timing.
    """

    timed_on: str = ""
    scored_on: str = ""
    lowering: Callable[[], AbstractContextManager[None]] = nullcontext


def evaluators(
    lower: Callable[[Assignment], L],
    measures: Sequence[Callable[[L, Fidelity], Measurement]],
    known: Mapping[str, Outcome] = _NONE_KNOWN,
    probes: Sequence[Callable[[Assignment], Measurement]] = (),
    lanes: Sequence[Lane] = (),
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
        lanes: Where each of ``measures`` works, if that is known.
    """
    engines = _Engines(known)
    lock = threading.Lock()
    nobody: Sequence[Callable[[Assignment], Measurement] | None] = [None] * len(measures)
    rows = zip(measures, probes or nobody, lanes or [Lane()] * len(measures), strict=True)
    return tuple(_Evaluator(lower, m, engines, lock, probe, lane) for m, probe, lane in rows)


def sequential(evaluate: EvaluateOne) -> Evaluate:
    """Evaluate one proposal after the other."""

    def steps(proposals: Sequence[Proposal]) -> Steps:
        queue = list(proposals)
        for position, proposal in enumerate(queue):  # it grows meanwhile
            queue += (yield position, None) or ()
            queue += (yield position, evaluate(proposal)) or ()

    return steps


def pooled(
    each: Sequence[EvaluateOne],
    cancel: Callable[[], None] | None = None,
    lost: Callable[[WorkerMissing], None] = lambda _: None,
) -> Evaluate:
    """Evaluate as many proposals at a time as there are evaluators, a thread for each.

    An evaluator whose device is lost (`WorkerMissing`) is not asked again, and another one takes
    its proposal. The last one's error passes.

    Args:
        each: Evaluators that do not share a worker.
        cancel: Makes running evaluations return soon (kills their workers); called when the steps
            are closed or fail early, which otherwise waits for them, and again until they have
            returned: one may be about to start a worker.
        lost: Told of a device that was lost while others go on.
    """

    def steps(proposals: Sequence[Proposal]) -> Steps:
        idle, queue, begun = list(each), list(proposals), 0
        again: list[int] = []  # positions whose device was lost
        running: dict[Future[Evaluated], tuple[int, EvaluateOne]] = {}
        threads = ThreadPoolExecutor(len(each), thread_name_prefix="precsearch-trial")
        try:
            while again or begun < len(queue) or running:
                while idle and (again or begun < len(queue)):
                    position = again.pop(0) if again else begun
                    begun = max(begun, position + 1)
                    queue += (yield position, None) or ()
                    one = idle.pop()
                    running[threads.submit(one, queue[position])] = position, one
                with interruptible():
                    done, _ = wait(running, return_when=FIRST_COMPLETED)
                # One at a time: whoever takes it may have more to do for the worker it leaves.
                future = min(done, key=lambda f: running[f][0])
                position, one = running.pop(future)
                missing = future.exception()
                if isinstance(missing, WorkerMissing) and (running or idle):
                    lost(missing)
                    again.append(position)
                    continue
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
        while True:
            with self._lock:
                future = self._found.get(digest)
                mine = future is None
                if future is None:
                    future = self._found[digest] = Future()
            if mine:
                return self._mine(digest, future, measure)
            with suppress(WorkerMissing):  # the device of another evaluator was lost, not ours
                return future.result()

    def _mine(
        self, digest: str, future: Future[Outcome], measure: Callable[[], Outcome]
    ) -> Outcome:
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
    lane: Lane

    def __call__(self, proposal: Proposal) -> Evaluated:
        start = time.perf_counter()
        digest = ""
        if self.probe is not None and proposal.fidelity is Fidelity.PROXY:
            probed = self._measured(partial(self.probe, proposal.assignment))
            return Evaluated(probed, "", time.perf_counter() - start, self.lane.scored_on)
        try:
            with self.lock, self.lane.lowering():
                lowered = self.lower(proposal.assignment)
            digest = lowered.digest
        except (InputError, ResourceError):
            raise
        except Exception as error:  # noqa: BLE001 - one bad graph must not end an hour of search
            outcome: Outcome = failure(error, "lower")
        else:
            outcome = self._outcome(lowered, proposal.fidelity)
        engine = proposal.fidelity is Fidelity.ENGINE
        device = self.lane.timed_on if engine else self.lane.scored_on
        return Evaluated(outcome, digest, time.perf_counter() - start, device)

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
            return failure(error, "build")

    def _measured_once(self, measure: Callable[[], Measurement]) -> Outcome:
        try:
            return Measured(measure())
        except (InputError, WorkerKilled, ResourceError):
            raise
        except WorkerError as error:
            if not isinstance(error, (WorkerCrashed, WorkerTimeout)):
                raise
            return failure(error, "build")
        except Exception as error:  # noqa: BLE001 - as above
            return failure(error, "build")
