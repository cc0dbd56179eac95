"""What the budget of a search still allows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from precsearch.core.problem import Budget
from precsearch.core.trial import Fidelity, Proposal, Trial

__all__ = ["Allowance", "Reserve", "no_reserve"]

Reserve = Callable[[Sequence[Trial]], float]


def no_reserve(_: Sequence[Trial]) -> float:
    """Keeps no time for what comes after the search."""
    return 0.0


@dataclass(frozen=True)
class Allowance:
    """A budget and the clock that it is measured by.

    Attributes:
        budget: When to stop.
        started: When the search began, by the clock, in seconds.
        clock: Seconds, from anywhere.
        reserve: Seconds to keep for what comes after the search, from the trials so far.
    """

    budget: Budget
    started: float
    clock: Callable[[], float]
    reserve: Reserve

    @property
    def elapsed(self) -> float:
        """Seconds so far."""
        return self.clock() - self.started

    def late(self, trials: Iterable[Trial]) -> bool:
        """Whether no trial may begin any more."""
        limit = self.budget.seconds
        return limit is not None and self.elapsed + self.reserve(tuple(trials)) >= limit

    def affordable(self, proposals: Sequence[Proposal], builds: int) -> list[Proposal]:
        """``proposals`` up to the first one that would be an engine too many.

        Args:
            proposals: New proposals.
            builds: Engines so far that count, and those that are being built.
        """
        limit = self.budget.max_builds
        for position, proposal in enumerate(proposals):
            if limit is not None and builds >= limit:
                return list(proposals[:position])
            builds += proposal.fidelity is Fidelity.ENGINE
        return list(proposals)
