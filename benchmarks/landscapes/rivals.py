"""What `benchmarks/landscapes/report.py` compares with: random search and greedy sensitivity."""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import pairwise

from precsearch.core.precision import Precision
from precsearch.core.problem import Problem
from precsearch.core.space import Assignment
from precsearch.core.strategy import Proposals
from precsearch.core.trial import Fidelity, Proposal

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
    """Sensitivity of each group and precision by proxy, then the most harmful one out each time."""

    def propose(self, problem: Problem, /) -> Proposals:
        """FP32, all at the lowest precision, one step up at a time until the bound holds."""
        space = problem.space
        yield [Proposal(problem.all_fp32())]
        steps = [(g.key, p, up) for g in space.free for up, p in pairwise(g.choices)]
        alone = [space.canonical(Assignment.of({k: p})) for k, p, _ in steps]
        trials = yield [Proposal(a, Fidelity.PROXY) for a in alone]
        harm = [t.measurement.accuracy.loss if t.measurement else 0.0 for t in trials]
        order = sorted(range(len(alone)), key=lambda i: -harm[i])
        asked = {g.key: g.choices[-1] for g in space.free}
        # A group's own steps come from below, even where the middle one does more harm alone.
        for i in order:
            (trial,) = yield [Proposal(space.canonical(Assignment.of(asked)))]
            if trial.measurement is not None and problem.goal.passes(trial.measurement):
                return
            key = steps[i][0]
            asked[key] = next(up for k, p, up in steps if k == key and p is asked[key])
