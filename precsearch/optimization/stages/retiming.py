"""Engines timed again, each time in a new process: as they will be deployed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from precsearch.core.errors import EngineError, WorkerError
from precsearch.core.problem import Problem
from precsearch.core.trial import Latency, Measurement
from precsearch.executors.client import MeasurementClient
from precsearch.measurement.service import Candidate
from precsearch.measurement.timing.apart import agree, together

__all__ = ["Fresh", "Retiming"]

Fresh = Callable[[], MeasurementClient]
"""Starts a worker in a new process, which is closed after use."""

_QUIET = 0.01
"""Noise up to which one new process will do where it agrees with the search."""

_NO_TIME = "its timings disagree, and there was no time for another"


class Retiming:
    """Times engines side by side, with FP32 beside them.

    Args:
        worker: Times the engines where no new process can be had.
        fresh: Starts a new process. It finds the engines in the artifact store of the device.
        candidates: The engines.
        problem: What was searched; its noise says what a disagreement is.
    """

    def __init__(
        self,
        worker: MeasurementClient,
        fresh: Fresh,
        candidates: Sequence[Candidate],
        problem: Problem,
    ) -> None:
        self._worker = worker
        self._fresh = fresh
        self._candidates = list(candidates)
        self._noise = problem.goal.noise

    def run(
        self, before: Sequence[Measurement], processes: int, more: bool = True
    ) -> list[Latency]:
        """What all timings of each engine say together.

        If timings are not noisy, and the first process agrees with the search on every engine, it
        is the only one. Where processes disagree with each other, or with what was measured before,
        on any of the engines, all are timed in one more process than planned. Earlier timings that
        disagree count, too.

        Args:
            before: The measurements of the search.
            processes: New processes planned, at least 1.
            more: Whether there is time for one more.

        Raises:
            EngineError: An engine failed.
            WorkerError: An engine crashed or hung.
        """
        self._worker.pin([c.digest for c in self._candidates])
        earlier = [m.latency for m in before]
        rows = [self._once()]
        settled = self._noise <= _QUIET and not any(map(self._disagree, earlier, zip(rows[0])))
        if settled:
            return [_held(*pair) for pair in zip(earlier, rows[0], strict=True)]
        rows += [self._once() for _ in range(processes - 1)]
        odd = [self._disagree(first, [row[i] for row in rows]) for i, first in enumerate(earlier)]
        if any(odd) and more:
            rows.append(self._once())
        latencies = []
        for i, first in enumerate(earlier):
            timings = [row[i] for row in rows]
            if odd[i] and first is not None:
                timings.insert(0, first)
            latency = together(timings, self._noise)
            if odd[i] and not more:
                latency = replace(latency, unsure=(*latency.unsure, _NO_TIME))
            latencies.append(latency)
        return latencies

    def _disagree(self, first: Latency | None, timings: Sequence[Latency]) -> bool:
        seen = [*timings] if first is None else [first, *timings]
        return any(not agree(a, b, self._noise) for i, a in enumerate(seen) for b in seen[:i])

    def _once(self) -> list[Latency]:
        """A timing of each engine, in a new process; in the old one if none can be had."""
        try:
            with self._fresh() as fresh:
                rows = fresh.confirm(self._candidates, 1)
        except (EngineError, WorkerError):
            rows = self._worker.confirm(self._candidates, 1)
        return [row[0] for row in rows]


def _held(first: Latency | None, new: Latency) -> Latency:
    """A timing in a new process, its interval holding what the search measured."""
    seen = new.ratio if first is None else first.ratio
    low, high = min(new.ratio_low, seen), max(new.ratio_high, seen)
    return replace(new, ratio_low=low, ratio_high=high, apart=(new.ratio,))
