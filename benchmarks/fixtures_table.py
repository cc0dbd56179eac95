"""The tables of `fixtures.py`: each engine, and what the searches gain over each other."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Row", "Told", "summary", "table", "verdict"]


@dataclass(frozen=True)
class Told:
    """What a search cost; zeros for an engine that nobody searched.

    Attributes:
        achieved: Groups that ran in INT8.
        builds: Engines built, FP32's included.
        proxies: Untimed estimates.
        first: The engine that was the first lowered one within the bound, 0 if none was.
        near: The first within the bound and within 2 % of the fastest that was, FP32's included.
        wall: Seconds, reference, calibration and confirmation included.
    """

    achieved: int = 0
    builds: int = 0
    proxies: int = 0
    first: int = 0
    near: int = 0
    wall: float = 0.0


@dataclass(frozen=True)
class Row:
    """One engine of one case; see `Told` for the last six."""

    model: str
    batch: int
    metric: str
    tol: float
    engine: str
    loss: float
    worst: float
    passes: bool
    seconds: float
    ratio: float
    low: float
    high: float
    noise: float
    asked: int
    achieved: int
    builds: int
    proxies: int
    first: int
    near: int
    wall: float

    @property
    def case(self) -> tuple[str, int, str, float]:
        """What the engines of one comparison have in common."""
        return self.model, self.batch, self.metric, self.tol

    @property
    def worth(self) -> float:
        """The ratio; 1 of what is FP32 itself, timed anew, or misses the bound on the holdout."""
        return self.ratio if self.asked and self.passes else 1.0


def cases(rows: Sequence[Row]) -> list[dict[str, Row]]:
    """The rows of each case by engine."""
    return [{r.engine: r for r in group} for _, group in itertools.groupby(rows, lambda r: r.case)]


def table(rows: Iterable[Row]) -> str:
    """Markdown, one line an engine."""
    head = (
        "| model, batch | bound | engine | loss | worst sample | within | ms | ratio to FP32 "
        "[all rebuilds] | INT8 groups asked, achieved | engines, proxies "
        "| first to pass, near the best | search s |"
    )
    lines = [head, "|" + "---|" * 12]
    for r in rows:
        searched = r.builds > 0
        groups = f"{r.asked}, {r.achieved}" if searched else f"{r.asked}"
        cost = (
            f"{r.builds}, {r.proxies} | {r.first or '-'}, {r.near} | {r.wall:.0f}"
            if searched
            else "| |"
        )
        lines.append(
            f"| {r.model}, {r.batch} | {r.metric} {r.tol:g} | {r.engine} | {r.loss:.2e} | "
            f"{r.worst:.2e} | {'yes' if r.passes else 'NO'} | {r.seconds * 1e3:.3f} | "
            f"{r.ratio:.3f} [{r.low:.3f}, {r.high:.3f}] | {groups} | {cost} |"
        )
    return "\n".join(lines)


def _uniform(engines: dict[str, Row]) -> float:
    """The ratio of the fastest uniform engine that passes on the holdout."""
    return min(1.0, engines["all INT8"].worth)


def _mean(gains: Sequence[float]) -> str:
    """Geometric mean with its bootstrap 95 % interval over the cases."""
    logs = np.log(np.array(gains))
    rng = np.random.default_rng(0)
    drawn = np.exp(logs[rng.integers(0, len(logs), (4000, len(logs)))].mean(axis=1))
    low, high = np.quantile(drawn, [0.025, 0.975])
    return f"{math.exp(float(logs.mean())):.3f}x ({low:.3f} to {high:.3f})"


def summary(rows: Sequence[Row]) -> str:
    """Geometric means over the cases, for each bound and all together."""
    head = (
        "| bound | cases | precsearch over the best uniform engine that passes | over greedy "
        "| engines: precsearch, greedy | until within 2 % of its best | until the first passes |"
    )
    lines = [head, "|" + "---|" * 7]
    every = [e for e in cases(rows) if {"precsearch", "greedy"} <= set(e)]
    bounds = list(dict.fromkeys((e["FP32"].metric, e["FP32"].tol) for e in every))
    parts = [(f"{m} {t:g}", [e for e in every if e["FP32"].case[2:] == (m, t)]) for m, t in bounds]
    for said, some in [*parts, ("all", every)]:
        ours, theirs = [e["precsearch"] for e in some], [e["greedy"] for e in some]
        over_uniform = _mean([_uniform(e) / e["precsearch"].worth for e in some])
        over_greedy = _mean([g.worth / r.worth for g, r in zip(theirs, ours, strict=True)])
        builds = f"{_middle(r.builds for r in ours)}, {_middle(r.builds for r in theirs)}"
        near = f"{_middle(r.near for r in ours)}, {_middle(r.near for r in theirs)}"
        firsts = f"{_middle(r.first for r in ours if r.first)}, " + _middle(
            r.first for r in theirs if r.first
        )
        lines.append(
            f"| {said} | {len(some)} | {over_uniform} | {over_greedy} | {builds} | {near} "
            f"| {firsts} |"
        )
    return "\n".join(lines)


def _middle(values: Iterable[int]) -> str:
    """Median and largest."""
    ranked = sorted(values)
    return f"{np.median(ranked):g} (at most {ranked[-1]})" if ranked else "-"


def verdict(rows: Sequence[Row]) -> list[str]:
    """What the table must show, counted."""
    said = []
    for engines in cases(rows):
        ours = engines["precsearch"]
        noise = max(ours.noise, 0.01)
        where = f"{ours.model}, batch {ours.batch}, {ours.metric} {ours.tol:g}"
        if not ours.passes:
            said.append(f"MISSES its bound on the holdout: {where}")
        if ours.worth > _uniform(engines) * (1 + noise):
            said.append(f"SLOWER than the best passing uniform engine: {where}")
        theirs = engines.get("greedy")
        if theirs and ours.worth > theirs.worth * (1 + noise):
            said.append(f"SLOWER than greedy's plan: {where}")
        if ours.asked and ours.high < 1 - noise:
            said.append(f"beats FP32 beyond the noise: {where} ({1 / ours.ratio:.2f}x)")
    return said
