"""Drives a strategy over a toy landscape, as `precsearch.search.loop` does over engines."""

from __future__ import annotations

import math
from dataclasses import dataclass

from precsearch.core.exclusions import built
from precsearch.core.space import Assignment
from precsearch.core.strategy import Strategy
from precsearch.core.trial import Fidelity, Proposal, Trial
from tests.strategies.landscapes import FP32, Landscape


@dataclass(frozen=True)
class Found:
    """One run of a strategy."""

    landscape: Landscape
    trials: tuple[Trial, ...]

    @property
    def engines(self) -> list[Trial]:
        return [t for t in self.trials if t.proposal.fidelity is Fidelity.ENGINE]

    @property
    def best(self) -> Trial | None:
        return self.landscape.problem.goal.best(self.engines)

    @property
    def ratio(self) -> float:
        """The noise-free ratio of the engine that the caller would choose."""
        best = self.best
        if best is None:
            return math.inf
        return self.landscape.seconds(best.assignment) / self.landscape.full

    def lowered_insensitive(self) -> float:
        """Share of the groups that are not sensitive and run below FP32."""
        best = self.best
        insensitive = [g.key for g in self.landscape.space.free if g.key not in self.landscape.hot]
        if best is None:
            return 0.0
        return sum(best.assignment[k] is not FP32 for k in insensitive) / len(insensitive)

    def builds_to(self, ratio: float) -> int | None:
        """Engines until one that passes is truly at most this slow."""
        for count, trial in enumerate(self.engines, start=1):
            m = trial.measurement
            if m is None or not self.landscape.problem.goal.passes(m):
                continue
            if self.landscape.seconds(trial.assignment) / self.landscape.full <= ratio:
                return count
        return None


def run(strategy: Strategy, landscape: Landscape, max_builds: int | None = None) -> Found:
    """Drive a strategy as `precsearch.search` does; check that it asks only for what exists."""
    max_builds = max_builds or landscape.problem.budget.max_builds
    memory: dict[tuple[Assignment, Fidelity], Trial] = {}
    trials: list[Trial] = []
    proposals = strategy.propose(landscape.problem)
    try:
        batch = next(proposals)
        while True:
            answers = []
            for proposal in batch:
                canonical = landscape.space.canonical(proposal.assignment)
                key = (canonical, proposal.fidelity)
                if key not in memory:
                    engine = proposal.fidelity is Fidelity.ENGINE
                    if engine and max_builds is not None and built(trials) >= max_builds:
                        proposals.close()
                        return Found(landscape, tuple(trials))
                    asked = Proposal(canonical, proposal.fidelity, proposal.reason)
                    memory[key] = Trial(len(trials), asked, landscape.measure(asked))
                    trials.append(memory[key])
                answers.append(memory[key])
            batch = proposals.send(answers)
    except StopIteration:
        return Found(landscape, tuple(trials))
