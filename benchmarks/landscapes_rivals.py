"""What `landscapes_report.py` compares with: random search and greedy sensitivity."""

from __future__ import annotations

import random
from dataclasses import dataclass

from precsearch.goal import Problem
from precsearch.space import Assignment, Precision
from precsearch.strategy import Proposals
from precsearch.trial import Fidelity, Proposal

__all__ = ["Greedy", "Random"]


@dataclass(frozen=True)
class Random:
    """The uniform engine, then assignments at random."""

    def propose(self, problem: Problem, /) -> Proposals:
        """FP32, all INT8, then whatever the seed gives."""
        rng = random.Random(problem.seed)
        yield [Proposal(problem.all_fp32())]
        yield [Proposal(problem.space.uniform(Precision.INT8))]
        while True:
            asked = {g.key: rng.choice(g.choices) for g in problem.space.free}
            yield [Proposal(problem.space.canonical(Assignment.of(asked)))]


@dataclass(frozen=True)
class Greedy:
    """Per-group sensitivity by proxy, then the most harmful group out, one engine each."""

    def propose(self, problem: Problem, /) -> Proposals:
        """FP32, all INT8, one group less at a time until the bound holds."""
        space = problem.space
        yield [Proposal(problem.all_fp32())]
        alone = [space.canonical(Assignment.of({g.key: Precision.INT8})) for g in space.free]
        trials = yield [Proposal(a, Fidelity.PROXY) for a in alone]
        harm = [t.measurement.accuracy.loss if t.measurement else 0.0 for t in trials]
        order = sorted(range(len(alone)), key=lambda i: -harm[i])
        left = [space.free[i].key for i in order]
        while left:
            asked = space.canonical(Assignment.of(dict.fromkeys(left, Precision.INT8)))
            (trial,) = yield [Proposal(asked)]
            if trial.measurement is not None and problem.goal.passes(trial.measurement):
                return
            left = left[1:]
