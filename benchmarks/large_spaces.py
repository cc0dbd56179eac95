"""Engines of searches of 300 and 1,000 groups on planted optima, and the time to decide on them.

    python benchmarks/large_spaces.py --seeds 10

A simulation: FP32 or FP16 for each group of a chain in repeated blocks. Some are *sensitive*:
each of them alone breaks the bound; all others together use about two thirds of it. A proxy gives a
ranking score of 1[sensitive] + N(0, 0.35), stretched over the gap between the two kinds of group.
Losses (5 %), timings (0.5 %) and profiles (10 %) are noisy, and of the engines 5 % fail to build.
The planted optimum lowers all groups that are not sensitive.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from precsearch.core.precision import Precision
from precsearch.core.problem import Bound, Budget, Goal, Problem
from precsearch.core.space import Assignment, LayerGroup, SearchSpace
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
from precsearch.registry import strategy
from precsearch.search.evaluator import Evaluated, Steps
from precsearch.search.loop import search

FP32, FP16 = Precision.FP32, Precision.FP16
Floats = npt.NDArray[np.float64]


def bell(assignment: Assignment, salt: str, count: int = 1) -> Floats:
    """Standard normal numbers that depend on the assignment alone."""
    digest = hashlib.sha256(f"{assignment.digest}{salt}".encode()).digest()
    return np.random.default_rng(list(digest[:8])).standard_normal(count)


@dataclass(frozen=True)
class Planted:
    """A simulated model.

    Attributes:
        space: Its groups.
        losses: (n,) of each group lowered alone.
        scores: (n,) what a proxy gives instead.
        times: (n, 2) of each group.
        border: Time of an edge between unequal precisions.
        sensitive: (n,) which groups are.
        fails: Share of engines that do not build.
    """

    space: SearchSpace
    losses: Floats
    scores: Floats
    times: Floats
    border: float
    sensitive: npt.NDArray[np.bool_]
    fails: float = 0.05
    thought: list[float] = field(default_factory=list)

    @classmethod
    def draw(cls, n: int, sensitive: int, noise: float, seed: int) -> Planted:
        rng = np.random.default_rng([n, sensitive, seed])
        kinds = [f"kind{i % 20}" for i in range(n)]
        groups = tuple(
            LayerGroup(
                f"g{i:04d}", k, (f"g{i:04d}",), (FP32, FP16), signature=k, block=f"b{i // 20}"
            )
            for i, k in enumerate(kinds)
        )
        hot = np.zeros(n, dtype=bool)
        hot[rng.permutation(n)[:sensitive]] = True
        low = 0.65 / math.sqrt(n - sensitive)
        losses = np.where(hot, rng.uniform(1.1, 4.0, n), low * rng.lognormal(-0.125, 0.5, n))
        gap = math.log(2.2 / low)
        scores = low * np.exp(gap * (hot + noise * rng.standard_normal(n)))
        full = rng.lognormal(0, 0.6, n)
        times = np.stack([full, full * rng.uniform(0.4, 0.65, n)], axis=1)
        edges = tuple((i, i + 1) for i in range(n - 1))
        return cls(SearchSpace(groups, edges), losses, scores, times, 0.03 * full.mean(), hot)

    def lowered(self, a: Assignment) -> npt.NDArray[np.intp]:
        return np.array([a[g.key] is FP16 for g in self.space.groups], dtype=np.intp)

    def seconds(self, a: Assignment) -> float:
        """Without noise, over FP32's."""
        x = self.lowered(a)
        own = self.times[np.arange(len(x)), x].sum() + self.border * (x[1:] != x[:-1]).sum()
        return float(own / self.times[:, 0].sum())

    @property
    def optimum(self) -> Assignment:
        keys = [g.key for g, hot in zip(self.space.groups, self.sensitive, strict=True) if not hot]
        return Assignment.of(dict.fromkeys(keys, FP16))

    def outcome(self, proposal: Proposal) -> Outcome:
        a = proposal.assignment
        if proposal.fidelity is Fidelity.PROXY:
            loss = float(np.sqrt((self.scores**2 * self.lowered(a)).sum()))
            return Measured(Measurement(Accuracy(loss, loss)))
        if len(a) and (bell(a, "fails") < statistics.NormalDist().inv_cdf(self.fails))[0]:
            return Failed("build", "error", "no implementation")
        exact = float(np.sqrt((self.losses**2 * self.lowered(a)).sum()))
        loss = exact * math.exp(0.05 * bell(a, "loss")[0])
        ratio = self.seconds(a) * (math.exp(0.005 * bell(a, "time")[0]) if len(a) else 1.0)
        x = self.lowered(a)
        profile = self.times[np.arange(len(x)), x] * np.exp(0.1 * bell(a, "profile", len(x)))
        profile *= ratio / profile.sum()
        seconds = {g.key: float(t) for g, t in zip(self.space.groups, profile, strict=True)}
        latency = Latency(ratio, ratio, ratio, ratio, ratio, ratio)
        return Measured(Measurement(Accuracy(loss, loss), latency, seconds))

    def evaluate(self, proposals: Sequence[Proposal]) -> Steps:
        for position, p in enumerate(proposals):
            yield position, None
            yield position, Evaluated(self.outcome(p), p.assignment.digest, 0.0)


@dataclass(frozen=True)
class Found:
    """One search: engines until within 2 % of the planted optimum, and until none is missed."""

    near: float
    exact: float
    total: int
    proxies: int
    left: int
    thinking: float
    longest: float


def run(planted: Planted, name: str, builds: int, seed: int) -> Found:
    """Search, counting."""
    goal = Goal(Bound(1.0, guard=1.0), noise=0.01)
    problem = Problem(planted.space, goal, Budget(builds), seed=seed)
    trials: list[Trial] = []
    slices, before = [], time.perf_counter()
    for event in search(problem, strategy(name), planted.evaluate):
        if type(event).__name__ == "BatchProposed":
            slices.append(time.perf_counter() - before)
        if hasattr(event, "trial"):
            trials.append(event.trial)
        before = time.perf_counter()
    slices.append(time.perf_counter() - before)
    engines = [t for t in trials if t.proposal.fidelity is Fidelity.ENGINE]
    aim = planted.seconds(planted.optimum)
    insensitive = int((~planted.sensitive).sum())
    near = exact = math.inf
    best, left = 1.0, insensitive
    for count, t in enumerate(engines, 1):
        if t.measurement is None or not goal.passes(t.measurement):
            continue
        seconds = planted.seconds(t.assignment)
        if seconds <= 1.02 * aim:
            near = min(near, count)
        if len(t.assignment) >= insensitive:
            exact = min(exact, count)
        if seconds < best:
            best, left = seconds, insensitive - len(t.assignment)
    proxies = len(trials) - len(engines)
    return Found(near, exact, len(engines), proxies, left, sum(slices), max(slices))


def main() -> None:
    """Run all sizes and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--strategies", nargs="*", default=["auto", "bisection"])
    parser.add_argument("--sizes", nargs="*", default=["300/10", "1000/30"])
    parser.add_argument("--noises", nargs="*", type=float, default=[0.35, 0.6])
    args = parser.parse_args()
    print(
        "| groups / sensitive | score noise | strategy | engines to within 2 %: median (worst) "
        "| to the exact set | engines in all | proxies | groups left in FP32 beyond the sensitive "
        "| thinking, s: all, longest |"
    )
    print("|" + "---|" * 9)
    for size in args.sizes:
        n, hot = map(int, size.split("/"))
        limit = 60 if n <= 300 else 100
        for noise in args.noises:
            for name in args.strategies:
                rows = [
                    run(Planted.draw(n, hot, noise, seed), name, limit, seed)
                    for seed in range(args.first_seed, args.first_seed + args.seeds)
                ]
                print(_line(size, noise, name, rows), flush=True)


def _line(size: str, noise: float, name: str, rows: Sequence[Found]) -> str:
    def middle(values: Sequence[float]) -> str:
        return f"{statistics.median(values):g} ({max(values):g})"

    return (
        f"| {size} | {noise} | {name} | {middle([r.near for r in rows])} "
        f"| {middle([r.exact for r in rows])} | {middle([r.total for r in rows])} "
        f"| {middle([r.proxies for r in rows])} | {middle([r.left for r in rows])} "
        f"| {statistics.median(r.thinking for r in rows):.1f}, {max(r.longest for r in rows):.2f} |"
    )


if __name__ == "__main__":
    main()
