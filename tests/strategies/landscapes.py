"""Toy problems with the features of real ones, seeded, their optimum known by enumeration.

Errors add in squares, with noise, interactions and paths; latency is a sum over groups and
boundaries, with noise. All noise is a function of the assignment, so an engine always measures the
same.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product

import numpy as np

from precsearch.core.precision import Precision
from precsearch.core.problem import Bound, Budget, Goal, Prior, Problem
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

FP32, FP16, INT8 = Precision.FP32, Precision.FP16, Precision.INT8


def unit(assignment: Assignment, salt: str) -> float:
    """A number in (0, 1] that depends on the assignment alone."""
    digest = hashlib.sha256(f"{assignment.digest}{salt}".encode()).hexdigest()
    return (int(digest[:13], 16) + 1) / 16**13


def bell(assignment: Assignment, salt: str) -> float:
    """Standard normal (Box and Muller), and depends on the assignment alone."""
    size = math.sqrt(-2 * math.log(unit(assignment, salt)))
    return size * math.cos(2 * math.pi * unit(assignment, f"{salt}'"))


@dataclass(frozen=True)
class Landscape:
    """What the engines of one toy model would measure.

    Attributes:
        problem: Its space, goal and priors.
        errors: Loss of a group lowered alone.
        times: Seconds of a group at a precision.
        boundary: Seconds of an edge between unequal precisions.
        pairs: Factor on the product of two lowered groups' errors, added to the square.
        paths: Sets that lose this much as soon as any of them is lowered, once.
        error_noise: Standard deviation of the logarithm of an engine's loss.
        time_noise: Standard deviation of a latency, relative.
        profile_noise: The same for one group's time in a profile.
        proxy_bias: Factor of a proxy's loss over the engine's.
        fails: Share of engines that do not build.
        single_noise: Standard deviation of the logarithm of the loss of one group lowered alone.
        base_error: FP32's loss.
        hot: The sensitive groups.
    """

    problem: Problem
    errors: dict[tuple[str, Precision], float]
    times: dict[tuple[str, Precision], float]
    boundary: dict[tuple[int, int], float]
    pairs: dict[tuple[str, str], float] = field(default_factory=dict)
    paths: tuple[tuple[frozenset[str], float], ...] = ()
    error_noise: float = 0.0
    time_noise: float = 0.0
    profile_noise: float = 0.05
    proxy_bias: float = 1.0
    fails: float = 0.0
    single_noise: float = 0.0
    base_error: float = 0.0
    hot: frozenset[str] = frozenset()

    @property
    def space(self) -> SearchSpace:
        return self.problem.space

    @cached_property
    def full(self) -> float:
        return sum(self.times[g.key, FP32] for g in self.space.groups)

    def loss(self, a: Assignment) -> float:
        square = sum(self.errors[k, p] ** 2 for k, p in a.entries)
        for (x, y), factor in self.pairs.items():
            if len(a.keys_at(a[x]) & {x}) and len(a.keys_at(a[y]) & {y}):
                square += factor * self.errors[x, a[x]] * self.errors[y, a[y]]
        square += sum(e**2 for keys, e in self.paths if any(a[k] is not FP32 for k in keys))
        square += self.base_error**2
        spread = self.error_noise if len(a) > 1 else self.single_noise
        noise = math.exp(spread * bell(a, "error")) if len(a) and spread else 1.0
        return math.sqrt(max(square, 0.0)) * noise

    def crossings(self, a: Assignment) -> Iterator[tuple[int, int]]:
        for i, j in self.space.edges:
            if a[self.space.groups[i].key] is not a[self.space.groups[j].key]:
                yield i, j

    def seconds(self, a: Assignment) -> float:
        """Without noise."""
        own = sum(self.times[g.key, a[g.key]] for g in self.space.groups)
        return own + sum(self.boundary[e] for e in self.crossings(a))

    def profile(self, a: Assignment) -> dict[str, float]:
        found = {g.key: self.times[g.key, a[g.key]] for g in self.space.groups}
        for i, j in self.crossings(a):
            for end in (i, j):
                found[self.space.groups[end].key] += self.boundary[i, j] / 2
        return {k: 1.3 * t * math.exp(self.profile_noise * bell(a, k)) for k, t in found.items()}

    def measure(self, proposal: Proposal) -> Outcome:
        a = proposal.assignment
        if len(a) and unit(a, "fails") < self.fails:
            return Failed("build", "error", "no implementation")
        loss = self.loss(a)
        if proposal.fidelity is Fidelity.PROXY:
            wrong = self.proxy_bias * math.exp(0.1 * abs(self.proxy_bias - 1) * bell(a, "proxy"))
            return Measured(Measurement(Accuracy(loss * wrong, loss * wrong * 1.01)))
        ratio = self.seconds(a) / self.full
        if len(a):
            ratio *= math.exp(self.time_noise * bell(a, "time"))
        s = ratio * self.full
        latency = Latency(s, s * 0.99, s * 1.01, ratio, ratio * 0.99, ratio * 1.01)
        return Measured(
            Measurement(Accuracy(loss, loss * 1.01), latency, self.profile(a), dict(a.entries))
        )

    def trial(self, number: int, proposal: Proposal) -> Trial:
        return Trial(number, proposal, self.measure(proposal))

    def admissible(self, a: Assignment) -> bool:
        outcome = self.measure(Proposal(a))
        return isinstance(outcome, Measured) and self.problem.goal.passes(outcome.measurement)

    @cached_property
    def optimum(self) -> float:
        """The least noise-free ratio of all engines that pass, by enumeration."""
        free = self.space.free
        every = {
            self.space.canonical(Assignment.of(dict(zip((g.key for g in free), row, strict=True))))
            for row in product(*(g.choices for g in free))
        }
        ranked = sorted(every, key=lambda a: (self.seconds(a), a.entries))
        return next(self.seconds(a) / self.full for a in ranked if self.admissible(a))


@dataclass(frozen=True)
class Recipe:
    """How to draw a landscape.

    Attributes:
        groups: How many.
        precisions: What groups offer.
        tolerance: In units of all-INT8's loss.
        passive: Share of passive groups.
        slow: Share of groups that are slower in INT8.
        border: Mean boundary cost in units of a group's mean time.
        skip: Share of groups with a skip connection.
        sensitive: How many groups carry ten times the error.
        fixed_neighbours: Share of groups that offer FP32 alone.
    """

    groups: int = 8
    precisions: tuple[Precision, ...] = (FP32, FP16, INT8)
    tolerance: float = 0.5
    passive: float = 0.0
    slow: float = 0.0
    border: float = 0.1
    skip: float = 0.0
    sensitive: int = 0
    fixed_neighbours: float = 0.0
    pairs: int = 0
    paths: int = 0
    error_noise: float = 0.0
    time_noise: float = 0.0
    proxy_bias: float = 1.0
    fails: float = 0.0
    single_noise: float = 0.0
    avoid: float = 0.0
    max_builds: int | None = None

    def draw(self, seed: int) -> Landscape:
        rng = np.random.default_rng([seed, self.groups])
        space = self._space(rng)
        keys = [g.key for g in space.groups]
        hot = frozenset(rng.permutation(keys)[: self.sensitive].tolist())
        times, errors = self._numbers(rng, space, hot)
        width = float(np.mean([times[k, FP32] for k in keys]))
        boundary = {e: self.border * width * float(rng.uniform(0.5, 1.5)) for e in space.edges}
        pairs = {}
        for _ in range(self.pairs):
            a, b = sorted(rng.choice(self.groups, size=2, replace=False).tolist())
            pairs[keys[a], keys[b]] = float(rng.choice([-0.8, 2.0]))
        bound = self.tolerance * math.sqrt(sum(errors[k, self.lowest] ** 2 for k in keys))
        paths = tuple(
            (frozenset(rng.choice(keys, size=2, replace=False).tolist()), 5 * bound)
            for _ in range(self.paths)
        )
        priors = tuple(
            Prior(k, INT8, avoid=True, reason="toy") for k in keys if rng.random() < self.avoid
        )
        goal = Goal(Bound(bound), noise=max(2 * self.time_noise, 0.01))
        problem = Problem(space, goal, Budget(self.max_builds), priors, seed)
        return Landscape(
            problem, errors, times, boundary, pairs, paths, hot=hot,
            error_noise=self.error_noise, single_noise=self.single_noise,
            time_noise=self.time_noise, proxy_bias=self.proxy_bias, fails=self.fails,
        )  # fmt: skip

    @property
    def lowest(self) -> Precision:
        return min(self.precisions, key=lambda p: p.bits)

    def _space(self, rng: np.random.Generator) -> SearchSpace:
        """A chain of groups with some skip connections."""
        keys = [f"g{i:04d}" for i in range(self.groups)]
        passive = {k for k in keys if rng.random() < self.passive}
        fixed_neighbours = {k for k in keys if rng.random() < self.fixed_neighbours}
        groups = tuple(
            LayerGroup(
                k,
                "add" if k in passive else "conv",
                (k,),
                (FP32,) if k in fixed_neighbours else self.precisions,
                passive=k in passive and k not in fixed_neighbours,
            )
            for k in keys
        )
        edges = [(i, i + 1) for i in range(self.groups - 1)]
        edges += [(i, i + 3) for i in range(self.groups - 3) if rng.random() < self.skip]
        return SearchSpace(groups, tuple(edges))

    def _numbers(
        self, rng: np.random.Generator, space: SearchSpace, hot: frozenset[str]
    ) -> tuple[dict[tuple[str, Precision], float], dict[tuple[str, Precision], float]]:
        """Seconds and losses by group and precision."""
        times: dict[tuple[str, Precision], float] = {}
        errors: dict[tuple[str, Precision], float] = {}
        for group in space.groups:
            k = group.key
            weight = float(rng.lognormal(0, 0.8)) * (0.1 if group.passive else 1.0)
            slow = rng.random() < self.slow
            factor = float(rng.uniform(1.1, 1.6)) if slow else float(rng.uniform(0.25, 0.6))
            times[k, FP32], times[k, INT8] = weight, weight * factor
            times[k, FP16] = weight * float(rng.uniform(0.5, 0.8))
            error = float(rng.lognormal(0, 0.7)) * (10.0 if k in hot else 1.0)
            errors[k, FP32], errors[k, INT8] = 0.0, error
            errors[k, FP16] = error * float(rng.uniform(0.02, 0.1))
        return times, errors
