"""One engine's search in a race: its options, and what its events tell of how far it is."""

from __future__ import annotations

import math
import time
from collections.abc import Generator
from dataclasses import dataclass, field, replace

from precsearch.core.backend import BackendOptions
from precsearch.core.events import Event, SearchFinished, SearchStarted, TrialFinished
from precsearch.core.precision import Precision
from precsearch.core.problem import Goal
from precsearch.core.trial import Fidelity, Trial
from precsearch.optimization.across.racing import Standing
from precsearch.registry import backend_factory
from precsearch.setup.config import OptimizeConfig, OptimizeResult

__all__ = ["Entrant", "Stream", "entrant"]

Stream = Generator[Event, None, OptimizeResult]

_CUT_SHORT = ("builds", "time", "limit", "interrupted")


@dataclass
class Entrant:
    """The search on one backend.

    Attributes:
        config: Its options; outputs lie in the run directory of the whole.
        seconds: What its runs took.
        result: Of its last run.
        built: Engines built and timed.
        ended: Whether its search ended by itself.
    """

    config: OptimizeConfig
    seconds: float = 0.0
    result: OptimizeResult | None = None
    built: int = 0
    ended: bool = False
    _goal: Goal | None = field(default=None, repr=False)
    _groups: int = field(default=0, repr=False)
    _trials: dict[int, Trial] = field(default_factory=dict, repr=False)

    @property
    def backend(self) -> str:
        """Name of the backend."""
        return self.config.backend

    def run(self, events: Stream) -> Stream:
        """Pass the events of a run on, and note what they tell."""
        start = time.monotonic()
        thrown: KeyboardInterrupt | None = None
        while True:
            try:
                event = next(events) if thrown is None else events.throw(thrown)
            except StopIteration as stop:
                found: OptimizeResult = stop.value
                break
            thrown = None
            self._note(event)
            try:
                yield event
            except KeyboardInterrupt as interrupt:
                thrown = interrupt
            except GeneratorExit:
                events.close()
                raise
        self.seconds += time.monotonic() - start
        self.result = found
        self.ended = self.ended or found.plan is None
        return found

    def _note(self, event: Event) -> None:
        match event:
            case SearchStarted():
                self._goal, self._groups = event.goal, event.groups
            case TrialFinished():
                self._trials[event.trial.number] = event.trial
            case SearchFinished():
                self.built = event.builds
                self.ended = event.reason not in _CUT_SHORT
            case _:
                pass

    @property
    def standing(self) -> Standing:
        """How far the search is."""
        timed = self._timed()
        return Standing(
            self.backend,
            self.built,
            min((s for s, _, within in timed if within), default=math.inf),
            min((s for s, _, _ in timed), default=math.inf),
            self.ended,
        )

    def _timed(self) -> list[tuple[float, Trial, bool]]:
        """Seconds of each engine, and whether it is within the bound."""
        rows = []
        for trial in self._trials.values():
            found = trial.measurement
            if trial.proposal.fidelity is Fidelity.ENGINE and found is not None and found.latency:
                within = self._goal is not None and self._goal.admits(found)
                rows.append((found.latency.seconds, trial, within))
        return rows

    def best_uniform(self) -> tuple[Precision, float] | None:
        """The fastest engine within the bound with all of its lowered groups in one precision.

        Returns:
            Its precision and its latency relative to FP32, ``None`` if there is none. Of engines
            with one lower precision only the one that lowers most groups counts, and only if these
            are more than half: a search builds others, with many groups in FP32.
        """
        single: dict[Precision, list[tuple[int, float, bool]]] = {}
        for _, trial, within in self._timed():
            used = {p for _, p in trial.assignment.entries}
            if len(used) == 1 and trial.measurement and trial.measurement.latency:
                row = (len(trial.assignment), trial.measurement.latency.ratio, within)
                single.setdefault(used.pop(), []).append(row)
        found = []
        for precision, rows in single.items():
            count, ratio, within = max(rows)
            found += [(ratio, precision)] if within and 2 * count > self._groups else []
        if not found:
            return None
        ratio, precision = min(found)
        return precision, ratio


def entrant(config: OptimizeConfig, backend: str) -> Entrant:
    """The search of ``config`` on one backend, with its outputs in the run directory.

    Raises:
        OptionError: The backend is unknown, or a build option is.
    """
    folder = config.run_path
    wanted = config.precisions
    if wanted is not None:
        runs = backend_factory(backend)(BackendOptions()).precisions
        wanted = tuple(p for p in wanted if p in runs or p is Precision.FP32) or (Precision.FP32,)
    return Entrant(
        replace(
            config,
            backend=backend,
            precisions=wanted,
            output=folder / f"{backend}.plan.json",
            run_dir=folder / backend,
            artifact=None,
        )
    )
