"""Recorded landscapes: load and replay them (`report` makes table and plot).

Every assignment of these small models was built, run and timed once on a real backend by
`benchmarks/landscapes/record.py` (or only scored by proxy, its latency from a table, by
`benchmarks/landscapes/record_openvino.py`); the replay answers a strategy from that record through
`precsearch.search.loop.search`, and never runs anything. A strategy sees the first of two
independent latencies; the optimum is chosen by the first too, and both are scored by the second.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from precsearch.core.events import TrialFinished
from precsearch.core.precision import Precision
from precsearch.core.problem import Bound, Budget, Goal, Prior, Problem
from precsearch.core.space import Assignment, LayerGroup, SearchSpace
from precsearch.core.strategy import Strategy
from precsearch.core.trial import (
    Accuracy,
    Fidelity,
    Latency,
    Measured,
    Measurement,
    Proposal,
    Trial,
)
from precsearch.search.evaluator import Evaluated, Steps
from precsearch.search.loop import search

__all__ = ["Landscape", "Replay", "load", "replay"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Landscape:
    """One record.

    Attributes:
        header: Its JSON header.
        space: The groups.
        rows: Row of each canonical assignment.
        loss, upper, proxy: (a,) losses of the engines, and of the simulation.
        seen, scored: (a,) the two latency ratios.
        profile: (a, n + 1) microseconds of each free group, and of all else.
        seconds: Of the FP32 engine.
    """

    header: Mapping[str, Any]
    space: SearchSpace
    rows: Mapping[Assignment, int]
    loss: Floats
    upper: Floats
    proxy: Floats
    seen: Floats
    scored: Floats
    profile: Floats
    seconds: float

    @property
    def name(self) -> str:
        return str(self.header["name"])

    @property
    def priors(self) -> tuple[Prior, ...]:
        """What screening said, where that was recorded."""
        rows = self.header.get("priors", ())
        return tuple(Prior(key, Precision(p), avoid, why) for key, p, avoid, why in rows)

    @cached_property
    def noise(self) -> float:
        """Standard deviation of a latency, from the two recordings."""
        return max(float(np.std(np.log(self.seen / self.scored))) / math.sqrt(2), 0.005)

    def tolerance(self, share: float) -> float:
        """The tolerance within which this share of the assignments passes."""
        guard = Bound(1.0).guard
        return float(np.quantile(np.maximum(self.loss * guard, self.upper), share))

    def problem(self, share: float, seed: int, max_builds: int | None = None) -> Problem:
        goal = Goal(Bound(self.tolerance(share)), self.noise)
        return Problem(self.space, goal, Budget(max_builds), self.priors, seed)

    def measurement(self, row: int, fidelity: Fidelity) -> Measurement:
        """What the record says."""
        if fidelity is Fidelity.PROXY:
            loss = float(self.proxy[row])
            return Measurement(
                Accuracy(
                    loss,
                    loss * float(self.upper[row] / self.loss[row]) if self.loss[row] > 0 else loss,
                )
            )
        accuracy = Accuracy(float(self.loss[row]), float(self.upper[row]))
        ratio = float(self.seen[row])
        s, wide = ratio * self.seconds, 1.96 * self.noise
        latency = Latency(
            s, s * (1 - wide), s * (1 + wide), ratio, ratio * (1 - wide), ratio * (1 + wide)
        )
        keys = [*(g.key for g in self.space.free), ""]
        micro = self.profile[row] * s * 1e6 / max(float(self.profile[row].sum()), 1e-9)
        profile = (
            {k: float(t) * 1e-6 for k, t in zip(keys, micro, strict=True)} if micro.any() else {}
        )
        return Measurement(accuracy, latency, profile)

    def evaluate(self, proposals: Sequence[Proposal]) -> Steps:
        for position, p in enumerate(proposals):
            yield position, None
            row = self.rows[p.assignment]
            outcome = Measured(self.measurement(row, p.fidelity))
            yield position, Evaluated(outcome, p.assignment.digest, 0.0)

    def passing(self, problem: Problem) -> npt.NDArray[np.bool_]:
        bound = problem.goal.bound
        return (self.loss <= bound.target) & (self.upper <= bound.tolerance)

    def optimum(self, problem: Problem) -> float:
        """The second latency of the passing assignment of least first latency."""
        seen = np.where(self.passing(problem), self.seen, np.inf)
        seen[self.rows[Assignment()]] = min(1.0, seen[self.rows[Assignment()]])
        return self.score(int(np.argmin(seen)))

    def score(self, row: int) -> float:
        return 1.0 if row == self.rows[Assignment()] else float(self.scored[row])


def load(path: Path) -> Landscape:
    """Read one record."""
    with np.load(path) as file:
        header = json.loads(str(file["header"]))
        arrays = {
            k: np.asarray(file[k], np.float64) for k in file.files if k not in ("header", "labels")
        }
        labels = file["labels"]
    groups = tuple(
        LayerGroup(
            g["key"], g["kind"], (g["key"],), tuple(map(Precision, g["choices"])), g["passive"],
            g["signature"], g["block"], g["macs"],
        )
        for g in header["groups"]
    )  # fmt: skip
    space = SearchSpace(groups, tuple((a, b) for a, b in header["edges"]))
    keys = [g.key for g in space.free]
    rows = {
        Assignment.of({k: space.precisions[p] for k, p in zip(keys, row, strict=True)}): i
        for i, row in enumerate(labels.tolist())
    }
    return Landscape(
        header, space, rows, arrays["loss"], arrays["upper"], arrays["proxy"], arrays["ratio_a"],
        arrays["ratio_b"], arrays["profile"], float(arrays["seconds"]),
    )  # fmt: skip


@dataclass(frozen=True)
class Replay:
    """One search.

    Attributes:
        curve: After each engine, the second latency of the plan that would ship, over the optimum.
        proxies: How many were asked for.
        reasons: Of the engines.
    """

    curve: tuple[float, ...]
    proxies: int
    trials: tuple[Trial, ...] = field(repr=False, default=())

    def builds_to(self, gap: float = 0.02) -> float:
        """Engines until the plan that would ship is within ``gap`` of the optimum, inf if never."""
        return next((i for i, v in enumerate(self.curve, 1) if v <= 1 + gap), math.inf)


def replay(landscape: Landscape, strategy: Strategy, problem: Problem) -> Replay:
    """Search a record."""
    events = search(problem, strategy, landscape.evaluate)
    trials = [event.trial for event in events if isinstance(event, TrialFinished)]
    optimum = landscape.optimum(problem)
    engines = [t for t in trials if t.proposal.fidelity is Fidelity.ENGINE]
    curve = []
    for count in range(1, len(engines) + 1):
        best = _fastest(engines[:count], problem)
        curve.append(landscape.score(landscape.rows[best]) / optimum)
    return Replay(tuple(curve), len(trials) - len(engines), tuple(engines))


def _fastest(engines: Sequence[Trial], problem: Problem) -> Assignment:
    """The passing engine of least measured latency (ties are settled by later measurement)."""
    rows = [
        (m.latency.ratio if t.assignment != Assignment() else 1.0, t.number, t.assignment)
        for t in engines
        if (m := t.measurement) is not None and m.latency is not None and problem.goal.passes(m)
    ]
    return min(rows, default=(1.0, 0, Assignment()))[2]
