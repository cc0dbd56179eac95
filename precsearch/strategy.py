"""The interface of a search strategy: frozen options with one generator."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Protocol, runtime_checkable

from precsearch.goal import Problem
from precsearch.trial import Proposal, Trial

__all__ = ["Estimates", "Proposals", "Strategy"]

Proposals = Generator[Sequence[Proposal], Sequence[Trial], None]
"""Yields a batch, is sent the trials *in the order it proposed them*, ends by returning.

The trials have canonical assignments (`SearchSpace.canonical`); a repeated proposal is answered
with the trial that is known. When the budget is spent the generator is closed.
"""


@runtime_checkable
class Strategy(Protocol):
    """A frozen dataclass of options; all state lives in the generator."""

    def propose(self, problem: Problem, /) -> Proposals:
        """Search ``problem``; deterministic in the problem and the trials that are sent."""
        ...


@runtime_checkable
class Estimates(Strategy, Protocol):
    """A strategy that can say beforehand how many engines it will ask for."""

    def expected_builds(self, problem: Problem, /) -> tuple[int, int, int]:
        """The least, the likely and the most engines, FP32's own included."""
        ...
