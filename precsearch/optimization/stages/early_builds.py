"""Engines that are built while the reference runs: FP32's, and those that a search asks for first.

Outputs, ranges and corrections of INT8 take the CPU for up to a minute, in which the device that
builds engines would have nothing to do.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress

from precsearch.core.errors import EngineError, WorkerError
from precsearch.core.precision import Encoding, Precision
from precsearch.core.problem import Bound, Goal, Prior, Problem
from precsearch.core.space import Assignment, SearchSpace
from precsearch.executors.client import MeasurementClient
from precsearch.measurement.build_service import Engine
from precsearch.measurement.service import Candidate

__all__ = ["EarlyBuilds", "built_beside", "wanted_early"]


class EarlyBuilds:
    """Engines that a worker builds one after the other, in a thread of this process.

    Attributes:
        baseline: The FP32 engine.
    """

    def __init__(
        self, worker: MeasurementClient, baseline: Candidate, thread: ThreadPoolExecutor
    ) -> None:
        self._worker, self._thread = worker, thread
        self.baseline: Future[Engine] = thread.submit(worker.engine, baseline)
        self._others: list[Future[None]] = []

    def build(self, candidate: Candidate) -> None:
        """Build another engine behind those that were asked for; the worker keeps it."""
        self._others.append(self._thread.submit(self._built, candidate))

    def begun(self) -> bool:
        """Drop the engines that are not begun; whether another is still being built."""
        for other in self._others:
            other.cancel()
        return any(not other.done() for other in self._others)

    @property
    def idle(self) -> bool:
        """Whether the worker has nothing to do."""
        return self.baseline.done() and all(other.done() for other in self._others)

    def finish(self) -> None:
        """Wait for the engine that is being built."""
        for other in self._others:
            if not other.cancelled():
                other.result()

    def _built(self, candidate: Candidate) -> None:
        # What fails here fails again as a trial of the search, where it is told.
        with suppress(EngineError, WorkerError):
            self._worker.engine(candidate)


@contextmanager
def built_beside(worker: MeasurementClient, baseline: Candidate) -> Iterator[EarlyBuilds]:
    """Build engines while the caller does something else; who leaves early ends them."""
    with ThreadPoolExecutor(1) as thread:
        builds = EarlyBuilds(worker, baseline, thread)
        try:
            yield builds
        finally:
            builds.begun()
            if not builds.idle:
                worker.close()


def wanted_early(space: SearchSpace, priors: tuple[Prior, ...]) -> tuple[Assignment, ...]:
    """What strategy ``auto`` asks for first beside FP32 and does not need INT8's ranges.

    Args:
        space: The groups of the model.
        priors: Hazards that the search starts from.

    Returns:
        For each float format below FP32, everything at it but where a hazard advises against it;
        nothing for a format that no group is left at.
    """
    problem = Problem(space, Goal(Bound(0.0)), priors=priors)
    casts = (p for p in space.precisions if p.spec.encoding is Encoding.CAST)
    asked = (space.canonical(Assignment.of(problem.lowest_choices(p))) for p in casts)
    plain = (a for a in dict.fromkeys(asked) if len(a))
    return tuple(a for a in plain if not a.keys_at(Precision.INT8))
