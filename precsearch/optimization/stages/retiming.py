"""Engines timed again, each time in a new process: as they will be deployed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from precsearch.core.errors import EngineError, WorkerError
from precsearch.core.problem import Problem
from precsearch.core.trial import Latency, Measurement
from precsearch.executors.process import Worker
from precsearch.measurement.apart import agree, together
from precsearch.measurement.service import BenchSetup, Candidate

__all__ = ["Retiming"]

_NO_TIME = "its timings disagree, and there was no time for another"


class Retiming:
    """Times engines side by side, with FP32 beside them.

    Args:
        worker: Holds a `precsearch.measurement.service.Bench`; its engines are used where these
            were built.
        candidates: The engines.
        problem: What was searched; its noise says what a disagreement is.
    """

    def __init__(self, worker: Worker, candidates: Sequence[Candidate], problem: Problem) -> None:
        self._worker = worker
        self._candidates = list(candidates)
        self._noise = problem.goal.noise
        self._given: tuple[BenchSetup, tuple[tuple[Candidate, bytes], ...]] | None = None

    def run(
        self, before: Sequence[Measurement], processes: int, more: bool = True
    ) -> list[Latency]:
        """What all timings of each engine say together.

        Where the processes disagree with each other, or with what was measured before, on any of
        the engines, all are timed in one more process. Earlier timings that disagree count, too.

        Args:
            before: The measurements of the search.
            processes: New processes, at least 1.
            more: Whether there is time for one more.

        Raises:
            EngineError: An engine failed.
            WorkerError: Likewise, by a crash or a hang.
        """
        rows = [self._once() for _ in range(processes)]
        earlier = [m.latency for m in before]
        odd = [self._disagree(first, [row[i] for row in rows]) for i, first in enumerate(earlier)]
        if any(odd) and more:
            rows.append(self._once())
        found = []
        for i, first in enumerate(earlier):
            timings = [row[i] for row in rows]
            if odd[i] and first is not None:
                timings.insert(0, first)
            latency = together(timings, self._noise)
            if odd[i] and not more:
                latency = replace(latency, unsure=(*latency.unsure, _NO_TIME))
            found.append(latency)
        return found

    def _disagree(self, first: Latency | None, timings: Sequence[Latency]) -> bool:
        seen = [*timings] if first is None else [first, *timings]
        return any(not agree(a, b, self._noise) for i, a in enumerate(seen) for b in seen[:i])

    def _once(self) -> list[Latency]:
        """A timing of each engine, in a new process; in the old one if none can be had."""
        try:
            if self._given is None:
                self._given = self._worker.call("shipped", self._candidates)
            setup, built = self._given
            with self._worker.another(setup) as fresh:
                for made, artifact in built:
                    fresh.call("keep", made, artifact)
                rows = fresh.call("confirm", self._candidates, 1)
        except (EngineError, WorkerError):
            rows = self._worker.call("confirm", self._candidates, 1)
        return [row[0] for row in rows]
