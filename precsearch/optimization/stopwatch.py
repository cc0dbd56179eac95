"""The time of a run: what it has taken since its start, and what its budget leaves."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from precsearch.core.problem import Problem
from precsearch.core.trial import Fidelity, Trial
from precsearch.optimization.stages.select import confirm_seconds

__all__ = ["Stopwatch", "confirmation"]

_SHARE = 0.25
"""Of a time budget, the confirmation gets at most this much kept for it; it is cut to fit."""


@dataclass(frozen=True)
class Stopwatch:
    """Everything from the start of the run counts, and what it took before a resume.

    Attributes:
        started: When, by the clock.
        before: Seconds that the run took before it was resumed.
        limit: The time budget in seconds; ``None`` is no limit.
        clock: Seconds, from anywhere.
    """

    started: float
    before: float = 0.0
    limit: float | None = None
    clock: Callable[[], float] = time.monotonic

    @property
    def run(self) -> float:
        """Seconds since this run started."""
        return self.clock() - self.started

    @property
    def elapsed(self) -> float:
        """Seconds in all."""
        return self.before + self.run

    @property
    def left(self) -> float | None:
        """Seconds of the budget that are left, at least 0; ``None`` without a budget."""
        return None if self.limit is None else max(self.limit - self.elapsed, 0.0)


def confirmation(problem: Problem, trials: Sequence[Trial]) -> float:
    """Seconds of the time budget to keep for the confirmation, from what engines have taken.

    Args:
        problem: What is searched.
        trials: What is known so far.

    Returns:
        0 without a budget or an engine.
    """
    limit = problem.budget.seconds
    took = [t.seconds for t in trials if t.proposal.fidelity is Fidelity.ENGINE]
    if limit is None or not took:
        return 0.0
    # One engine more is opened for the holdout.
    return min(confirm_seconds(problem, trials) + median(took), _SHARE * limit)
