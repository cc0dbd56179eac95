"""One engine's search in a race: its options, and what its events tell of how far it is."""

from __future__ import annotations

import math
import time
from collections.abc import Generator
from dataclasses import dataclass, field, replace

from precsearch.core.backend import BackendOptions
from precsearch.core.events import (
    Event,
    FinalistJudged,
    FinalistsTimed,
    SearchFinished,
    SearchStarted,
    TrialFinished,
)
from precsearch.core.precision import Precision
from precsearch.core.problem import Goal
from precsearch.core.space import Assignment
from precsearch.core.trial import Fidelity, Latency, Trial
from precsearch.optimization.across.racing import Standing
from precsearch.registry import backend_factory
from precsearch.setup.config import OptimizeConfig, OptimizeResult

__all__ = ["BestUniform", "Entrant", "Stream", "entrant"]

Stream = Generator[Event, None, OptimizeResult]

_CUT_SHORT = ("builds", "time", "limit", "interrupted")


@dataclass(frozen=True, slots=True)
class BestUniform:
    """A uniform engine of a search.

    Attributes:
        precision: See `precsearch.core.events.UniformEngine`.
        ratio: Its latency relative to FP32's, timed beside the plan if the search came to that.
    """

    precision: Precision
    ratio: float


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
    _uniform: dict[Assignment, Precision] = field(default_factory=dict, repr=False)
    _trials: dict[int, Trial] = field(default_factory=dict, repr=False)
    _again: dict[int, float] = field(default_factory=dict, repr=False)
    _missed: set[int] = field(default_factory=set, repr=False)

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
                self._goal = event.goal
                self._uniform = {u.assignment: u.precision for u in event.uniform}
            case TrialFinished():
                self._trials[event.trial.number] = event.trial
            case FinalistsTimed():
                self._again = {row.number: row.ratio for row in event.times}
            case FinalistJudged(passed=False):
                self._missed.add(event.number)
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
            min((x.seconds for x, _, within in timed if within), default=math.inf),
            min((x.seconds for x, _, _ in timed), default=math.inf),
            self.ended,
        )

    def _timed(self) -> list[tuple[Latency, Trial, bool]]:
        """Latency of each engine, and whether it is within the bound."""
        rows = []
        for trial in self._trials.values():
            found = trial.measurement
            if trial.proposal.fidelity is Fidelity.ENGINE and found is not None and found.latency:
                within = self._goal is not None and self._goal.admits(found)
                rows.append((found.latency, trial, within))
        return rows

    def best_uniform(self) -> BestUniform | None:
        """The fastest uniform engine within the bound; ``None`` if the search built none.

        One that missed the bound on the holdout is none.
        """
        found = [
            BestUniform(
                self._uniform[trial.assignment],
                self._again.get(trial.number, latency.ratio),
            )
            for latency, trial, within in self._timed()
            if within and trial.assignment in self._uniform and trial.number not in self._missed
        ]
        return min(found, key=lambda row: row.ratio, default=None)


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
