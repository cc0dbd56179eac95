"""What is wanted: the accuracy bound, the objective, the budget; and the problem as a whole."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from precsearch.core.errors import OptionError
from precsearch.core.objective import NO_LIMITS, Limits, Objective
from precsearch.core.precision import Precision
from precsearch.core.space import Assignment, LayerGroup, SearchSpace
from precsearch.core.trial import Fidelity, Measurement, Trial

__all__ = ["Bound", "Budget", "Goal", "Prior", "Problem", "pareto"]

_SAME_SIZE = 0.005
"""Relative difference in size that is not worth a larger loss."""


@dataclass(frozen=True, slots=True)
class Bound:
    """An upper bound on a loss.

    Attributes:
        tolerance: What the user accepts, at least 0.
        metric: Name of the loss.
        guard: The search works against ``tolerance / guard``; at least 1.
    """

    tolerance: float
    metric: str = "rel-l2"
    guard: float = 1.02

    def __post_init__(self) -> None:
        if not (math.isfinite(self.tolerance) and self.tolerance >= 0):
            raise OptionError(f"the tolerance must be a number of at least 0, not {self.tolerance}")
        if not (math.isfinite(self.guard) and self.guard >= 1):
            raise OptionError(f"the guard must be at least 1, not {self.guard}")

    @property
    def target(self) -> float:
        """What the search aims for: the tolerance over the guard."""
        return self.tolerance / self.guard


@dataclass(frozen=True, slots=True)
class Goal:
    """The fastest or the smallest engine within the bound.

    Attributes:
        bound: The accuracy bound.
        noise: Relative difference in latency below which two engines are as fast as each other,
            from an A/A measurement; a tie goes to the more accurate.
        objective: What is minimized.
        limits: What an engine must not exceed beside the loss.
        size: Bytes of the FP32 engine, to which sizes are relative; 0 where it is not known.
    """

    bound: Bound
    noise: float = 0.02
    objective: Objective = Objective.LATENCY
    limits: Limits = NO_LIMITS
    size: int = 0

    @property
    def tie(self) -> float:
        """Relative difference in what is minimized that counts as none."""
        return _SAME_SIZE if self.objective is Objective.SIZE else self.noise

    def cost(self, measurement: Measurement) -> float | None:
        """What is minimized, relative to FP32's; ``None`` if the engine was not timed."""
        if measurement.latency is None:
            return None
        if self.objective is Objective.SIZE and self.size:
            return measurement.artifact_bytes / self.size
        return measurement.latency.ratio

    def parts(self, measurement: Measurement) -> Mapping[str, float]:
        """What is minimized by group key, as far as the engine tells; units are its own."""
        if self.objective is Objective.SIZE:
            return measurement.group_bytes
        return measurement.group_seconds

    def broken(self, measurement: Measurement) -> tuple[str, ...]:
        """Limits that a timed engine breaks, half a sentence each."""
        latency = measurement.latency
        return self.limits.broken(
            None if latency is None else latency.seconds,
            measurement.artifact_bytes,
            measurement.memory_bytes or None,
        )

    def passes(self, measurement: Measurement) -> bool:
        """Whether a searched-for engine is safely within the bound.

        Choosing among many engines favours those that were lucky on the search samples, so
        the resampled upper estimate must hold too.
        """
        accuracy = measurement.accuracy
        return accuracy.loss <= self.bound.target and accuracy.upper <= self.bound.tolerance

    def admits(self, measurement: Measurement) -> bool:
        """Whether an engine that was not chosen by its result (a uniform one) is within."""
        return measurement.accuracy.loss <= self.bound.tolerance

    def usage(self, measurement: Measurement) -> float:
        """How much of the bound is used: at most 1 if it passes, ``inf`` for non-finite output."""
        accuracy = measurement.accuracy
        if self.bound.tolerance == 0:
            return 0.0 if accuracy.loss <= 0 else math.inf
        return max(accuracy.loss / self.bound.target, accuracy.upper / self.bound.tolerance)

    def slack(self, measurement: Measurement) -> float:
        """Deprecated, for one release: `usage`."""
        return self.usage(measurement)

    def better(self, a: Measurement, b: Measurement) -> bool:
        """Whether ``a`` costs less than ``b`` beyond the noise, or ties and is more accurate.

        Raises:
            ValueError: One of them was not timed.
        """
        first, second = self.cost(a), self.cost(b)
        if first is None or second is None:
            raise ValueError("only timed engines can be compared")
        if first < second * (1 - self.tie):
            return True
        if first > second * (1 + self.tie):
            return False
        return a.accuracy.loss < b.accuracy.loss

    def best(self, trials: Iterable[Trial]) -> Trial | None:
        """The preferable one of the timed trials that pass within the limits, or ``None``.

        The fastest is found first, then the most accurate of those within the noise of *it*, so
        that the answer does not depend on the order of ``trials`` (ties are not transitive).
        """
        passing = [
            (cost, m.accuracy.loss, t.number, t)
            for t in trials
            if (m := t.measurement) is not None
            and (cost := self.cost(m)) is not None
            and self.passes(m)
            and not self.broken(m)
        ]
        if not passing:
            return None
        fastest = min(row[0] for row in passing)
        tied = [row for row in passing if row[0] <= fastest * (1 + self.tie)]
        return min(tied, key=lambda row: (row[1], row[0], row[2]))[3]


@dataclass(frozen=True, slots=True)
class Budget:
    """When to stop. ``None`` is no limit.

    Attributes:
        max_builds: Engines built and timed, counting those of a resumed search and those of
            `Problem.known`. An engine that fails soon is none (`precsearch.core.exclusions.built`).
        seconds: Wall time, counting what was spent before a resume and what failed engines took.
    """

    max_builds: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        if self.max_builds is not None and self.max_builds < 1:
            raise OptionError("the budget must allow at least one build")
        if self.seconds is not None and not self.seconds > 0:
            raise OptionError("the time budget must be positive")

    def spent(self, builds: int, seconds: float) -> bool:
        """Whether either limit is reached."""
        return (self.max_builds is not None and builds >= self.max_builds) or (
            self.seconds is not None and seconds >= self.seconds
        )


@dataclass(frozen=True, slots=True)
class Prior:
    """A hint about one group at one precision, from rules rather than from an engine.

    Attributes:
        key: The group's key.
        precision: The precision that the hint is about.
        avoid: Whether a search should start without it. A measurement may overrule this.
        reason: One sentence for the plan.
        slow: Whether the engine is expected to gain nothing there: it loses a fused kernel.
    """

    key: str
    precision: Precision
    avoid: bool
    reason: str
    slow: bool = False


@dataclass(frozen=True)
class Problem:
    """All that a strategy knows at the start.

    Attributes:
        space: The groups and their choices.
        goal: What is wanted.
        budget: When to stop.
        priors: Hints.
        seed: Seed of every random choice.
        known: Trials of an earlier search of the same space, on the same data and device; its goal
            may have been another. They are answers: neither a strategy nor the loop asks for one
            of them again. A continued search with the same ones must get the same ones on a resume.
        setup_seconds: Wall time that the run had spent when the search began. It is read from the
            journal on a resume, since a strategy may decide by it.
        devices: How many engines can be built at a time; a strategy may ask for as many ahead
            (`precsearch.core.strategy.Ahead`).
        earlier: Trials of ``known`` below this number are another run's, which spent their time.
        guesses: Assignments that may be good, such as another version's of the model.
    """

    space: SearchSpace
    goal: Goal
    budget: Budget = field(default_factory=Budget)
    priors: tuple[Prior, ...] = ()
    seed: int = 0
    known: tuple[Trial, ...] = ()
    setup_seconds: float = 0.0
    devices: int = 1
    earlier: int = 0
    guesses: tuple[Assignment, ...] = ()

    def avoided(self, precision: Precision) -> frozenset[str]:
        """Keys of the groups that a search should start without ``precision``."""
        return frozenset(p.key for p in self.priors if p.avoid and p.precision is precision)

    def lowest_choices(self, precision: Precision) -> dict[str, Precision]:
        """Group key → its lowest choice from ``precision`` upward that no prior advises against.

        FP32 where priors advise against all of them.
        """
        avoided = {p: self.avoided(p) for p in self.space.precisions}

        def lowest(group: LayerGroup) -> Precision:
            fits = (c for c in reversed(group.choices) if c.rank <= precision.rank)
            return next((c for c in fits if group.key not in avoided[c]), Precision.FP32)

        return {g.key: lowest(g) for g in self.space.free}

    @cached_property
    def uniforms(self) -> Mapping[Assignment, Precision]:
        """The uniform engines, the rivals of every plan, and the precision of each.

        For each lower precision: wherever no prior advises against it, and everywhere. Where two
        precisions have one engine in common, it belongs to the higher precision.
        """
        space = self.space
        found: dict[Assignment, Precision] = {}
        for precision in space.precisions[1:]:
            careful = space.canonical(Assignment.of(self.lowest_choices(precision)))
            for assignment in (careful, space.uniform(precision)):
                found.setdefault(assignment, precision)
        return {assignment: p for assignment, p in found.items() if len(assignment)}

    @property
    def slow(self) -> frozenset[tuple[str, Precision]]:
        """(Group key, precision) of the choices that rules expect to save no time."""
        return frozenset((p.key, p.precision) for p in self.priors if p.slow)

    def all_fp32(self) -> Assignment:
        """The assignment that every search can fall back on."""
        return Assignment()


def pareto(trials: Iterable[Trial]) -> tuple[Trial, ...]:
    """The timed engine trials that no other beats in both loss and latency, fastest first."""
    timed = [
        (m.latency.ratio, m.accuracy.loss, t.number, t)
        for t in trials
        if t.proposal.fidelity is Fidelity.ENGINE
        and (m := t.measurement) is not None
        and m.latency is not None
        and math.isfinite(m.accuracy.loss)
    ]
    front: list[Trial] = []
    lowest = math.inf
    for _, loss, _, trial in sorted(timed, key=lambda row: row[:3]):
        if loss < lowest:
            front.append(trial)
            lowest = loss
    return tuple(front)
