"""How many engines it takes to find what does not build, on planted sets of choices.

    python -m benchmarks.unbuildable --seeds 10

A simulation: a chain of groups, FP32, FP16 or INT8 each. An engine with all choices of a planted
set fails to build; a set is one group in INT8 or two of them, neighbours in the chain in three of
four cases. FP16 always builds. INT8 everywhere, less the planted sets, is within the bound and the
fastest (``--bound`` asks for less). Losses (5 %), timings (0.5 %) and profiles (10 %) are noisy.
Counted are the engines that are built to locate the sets, failed and not, per set.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.large_spaces import Floats, bell
from precsearch.core.events import TrialFinished
from precsearch.core.exclusions import built, exclusions
from precsearch.core.precision import Precision
from precsearch.core.problem import Bound, Budget, Goal, Problem
from precsearch.core.space import Assignment, LayerGroup, SearchSpace
from precsearch.core.strategy import Strategy
from precsearch.core.trial import (
    Accuracy,
    Failed,
    Fidelity,
    Latency,
    Measured,
    Measurement,
    Outcome,
    Proposal,
    Trial,
)
from precsearch.search.evaluator import Evaluated, Steps
from precsearch.search.loop import search
from precsearch_strategies import Auto

FP32, FP16, INT8 = Precision.FP32, Precision.FP16, Precision.INT8
NOISE = 0.01
LOCATING = "what makes an engine fail"  # how the reasons begin


@dataclass(frozen=True)
class Unbuildable:
    """A simulated model.

    Attributes:
        space: Its groups.
        losses: (n, 3) of each group alone, by precision.
        times: (n, 3) of each group.
        culprits: Sets of group keys that do not build in INT8 together.
        border: Time of an edge between unequal precisions.
        slow: Seconds that an engine that runs takes to build.
        cheap: Seconds that one that fails takes.
    """

    space: SearchSpace
    losses: Floats
    times: Floats
    culprits: tuple[frozenset[str], ...]
    border: float
    slow: float = 0.0
    cheap: float = 0.0

    @classmethod
    def draw(cls, n: int, sets: int, size: int, bound: float, seed: int) -> Unbuildable:
        """``bound`` is what INT8 everywhere uses of the bound."""
        rng = np.random.default_rng([n, sets, size, seed])
        keys = [f"g{i:04d}" for i in range(n)]
        groups = tuple(LayerGroup(k, "conv", (k,), (FP32, FP16, INT8)) for k in keys)
        full = rng.lognormal(0, 0.6, n)
        shares = np.stack([np.ones(n), rng.uniform(0.5, 0.6, n), rng.uniform(0.25, 0.4, n)], axis=1)
        losses = rng.lognormal(0, 0.7, n)
        losses *= bound / math.sqrt(float((losses**2).sum()))
        culprits: list[frozenset[str]] = []
        while len(culprits) < sets:
            first = int(rng.integers(0, n - 1))
            other = first + 1 if rng.random() < 0.75 else int(rng.integers(0, n))
            one = frozenset({keys[first], keys[other]} if size > 1 else {keys[first]})
            if len(one) == size and not any(one & c for c in culprits):
                culprits.append(one)
        return cls(
            SearchSpace(groups, tuple((i, i + 1) for i in range(n - 1))),
            np.stack([np.zeros(n), 0.05 * losses, losses], axis=1),
            full[:, None] * shares,
            tuple(culprits),
            0.03 * float(full.mean()),
        )

    def labels(self, a: Assignment) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
        order = (FP32, FP16, INT8)
        return np.array([order.index(a[g.key]) for g in self.space.groups], dtype=np.intp)

    def seconds(self, a: Assignment) -> float:
        """Without noise, over FP32's."""
        x = self.labels(a)
        own = self.times[np.arange(len(x)), x].sum() + self.border * (x[1:] != x[:-1]).sum()
        return float(own / self.times[:, 0].sum())

    def builds(self, a: Assignment) -> bool:
        return not any(culprit <= a.keys_at(INT8) for culprit in self.culprits)

    @property
    def least(self) -> float:
        """The ratio of INT8 everywhere, the cheaper half of each planted set in FP16."""
        saved = dict(zip((g.key for g in self.space.groups), self.times[:, 0], strict=True))
        given = [min(sorted(c), key=lambda k: saved[k]) for c in self.culprits]
        return self.seconds(self.space.uniform(INT8).with_(dict.fromkeys(given, FP16)))

    def outcome(self, proposal: Proposal) -> Outcome:
        a = proposal.assignment
        x = self.labels(a)
        loss = float(np.sqrt((self.losses[np.arange(len(x)), x] ** 2).sum()))
        loss *= math.exp(0.05 * bell(a, "loss")[0])
        if proposal.fidelity is Fidelity.PROXY:
            return Measured(Measurement(Accuracy(loss, loss)))
        if not self.builds(a):
            return Failed("build", "error", "mergeScales: assertion failed")
        ratio = self.seconds(a) * (math.exp(0.005 * bell(a, "time")[0]) if len(a) else 1.0)
        profile = self.times[np.arange(len(x)), x] * np.exp(0.1 * bell(a, "profile", len(x)))
        profile *= ratio / profile.sum()
        seconds = {g.key: float(t) for g, t in zip(self.space.groups, profile, strict=True)}
        latency = Latency(ratio, ratio, ratio, ratio, ratio, ratio)
        return Measured(Measurement(Accuracy(loss, loss), latency, seconds))

    def evaluate(self, proposals: Sequence[Proposal]) -> Steps:
        for position, p in enumerate(proposals):
            yield position, None
            outcome = self.outcome(p)
            took = self.cheap if isinstance(outcome, Failed) else self.slow
            if p.fidelity is Fidelity.PROXY:
                took = 0.0
            yield position, Evaluated(outcome, p.assignment.digest, took)


@dataclass(frozen=True)
class Located:
    """One search.

    Attributes:
        extra: Engines that were built to locate the sets.
        failed: Engines that failed, the first one included.
        named: How many of the planted sets are among what the trials exclude.
        wrong: How many exclusions are no planted set.
        again: Failed engines that hold a set which was known by then.
        built: Engines built and timed, as a budget counts them.
        gap: Ratio of the fastest passing engine over that of INT8 less the planted sets.
    """

    extra: int
    failed: int
    named: int
    wrong: int
    again: int
    built: int
    gap: float


def run(model: Unbuildable, strategy: Strategy, builds: int | None, seed: int) -> Located:
    """Search, counting."""
    problem = Problem(model.space, Goal(Bound(1.0, guard=1.0), NOISE), Budget(builds), seed=seed)
    trials: list[Trial] = []
    again = 0
    for event in search(problem, strategy, model.evaluate):
        if isinstance(event, TrialFinished):
            asked = event.trial.proposal
            if asked.fidelity is Fidelity.ENGINE and not asked.reason.startswith(LOCATING):
                again += any(e.within(asked.assignment) for e in exclusions(trials))
            trials.append(event.trial)
    engines = [t for t in trials if t.proposal.fidelity is Fidelity.ENGINE]
    found = {frozenset(e.choices) for e in exclusions(trials)}
    ratios = [
        model.seconds(t.assignment)
        for t in engines
        if t.measurement is not None and problem.goal.passes(t.measurement)
    ]
    return Located(
        sum(t.proposal.reason.startswith(LOCATING) for t in engines),
        sum(t.measurement is None for t in engines),
        sum(c in found for c in model.culprits),
        sum(c not in model.culprits for c in found),
        again,
        built(engines),
        min(ratios) / model.least - 1,
    )


def line(n: int, sets: int, size: int, rows: Sequence[Located]) -> str:
    """One row of the table."""

    def middle(values: Sequence[float], form: str = "g") -> str:
        return f"{statistics.median(values):{form}} ({max(values):{form}})"

    kind = "single" if size == 1 else "pairs"
    named = sum(r.named for r in rows)
    return (
        f"| {n} | {sets} {kind} | {math.log2(n):.1f} | {middle([r.extra / sets for r in rows])} "
        f"| {middle([r.failed for r in rows])} | {named} of {sets * len(rows)} "
        f"| {sum(r.wrong for r in rows)} | {sum(r.again for r in rows)} "
        f"| {middle([r.built for r in rows])} | {middle([r.gap for r in rows], '.1%')} |"
    )


def main() -> None:
    """Run all sizes and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--builds", type=int)
    parser.add_argument("--bound", type=float, default=0.6, help="what INT8 uses of the bound")
    args = parser.parse_args()
    print(
        "| groups | planted | log2 | engines to locate, per set: median (worst) "
        "| engines that fail | sets named | named wrongly | built although known "
        "| engines built and timed | slower than planted |"
    )
    print("|" + "---|" * 10)
    for n in (60, 300):
        for size in (1, 2):
            for sets in (1, 2, 5):
                rows = [
                    run(Unbuildable.draw(n, sets, size, args.bound, s), Auto(), args.builds, s)
                    for s in range(args.seeds)
                ]
                print(line(n, sets, size, rows), flush=True)


if __name__ == "__main__":
    main()
