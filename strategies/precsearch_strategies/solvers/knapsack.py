"""The fastest predicted assignments within a grid of error bounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from precsearch_strategies.encoding import Bools, Floats, Labels
from precsearch_strategies.solvers.elimination import Elimination

__all__ = ["Costs", "solve"]

_FORBIDDEN = 1e9


@dataclass(frozen=True)
class Costs:
    """A multiple-choice knapsack with boundary costs.

    Attributes:
        time: (n, p) time of each group at each label.
        edges: (m, 2) pairs of groups.
        pair: (m, p, p) time of each edge for the labels of its two ends.
        squared_usage: (n, p) squared error of each group at each label; FP32's is 0.
        allowed: (n, p) which labels may be used; label 0 always.
    """

    time: Floats
    edges: Labels
    pair: Floats
    squared_usage: Floats
    allowed: Bools

    def total_time(self, many: Labels) -> Floats:
        """(c,) time of (c, n) labels."""
        groups = np.arange(self.time.shape[0])
        a, b = self.edges[:, 0], self.edges[:, 1]
        edges = self.pair[np.arange(len(self.edges)), many[:, a], many[:, b]]
        return np.asarray(self.time[groups, many].sum(axis=1) + edges.sum(axis=1))

    def total_square(self, many: Labels) -> Floats:
        """(c,) squared error of (c, n) labels."""
        return np.asarray(
            self.squared_usage[np.arange(self.squared_usage.shape[0]), many].sum(axis=1)
        )

    def time_changes(self, x: Labels) -> Floats:
        """(n, p) change in time if one group alone moves to a label; ``inf`` where forbidden."""
        n = len(x)
        e = np.arange(len(self.edges))
        a, b = self.edges[:, 0], self.edges[:, 1]
        now = self.pair[e, x[a], x[b]][:, None]
        change = self.time - self.time[np.arange(n), x][:, None]
        np.add.at(change, a, self.pair[e, :, x[b]] - now)
        np.add.at(change, b, self.pair[e, x[a], :] - now)
        return np.where(self.allowed, change, np.inf)


def solve(
    costs: Costs,
    elimination: Elimination,
    bounds: Sequence[float],
    starts: Sequence[Labels],
    weights: int = 24,
) -> list[Labels]:
    """Assignments of little time within each bound on the squared error, and those on the way.

    Lagrangian relaxation of the bound (Everett, *Operations Research* 11, 1963): for a sweep of
    multipliers the relaxed problem is minimized exactly by `Elimination`, which gives the convex
    part of the frontier for all bounds at once; single moves, moves of two neighbours and swaps
    then use up what a bound leaves over.

    Args:
        costs: The model.
        elimination: Planned for the same edges.
        bounds: Upper bounds on the squared error.
        starts: Labels to fix variables at where the graph is too dense, at least one.
        weights: How many multipliers.

    Returns:
        Distinct (n,) labels: one for each bound, each within its bound, in their order; then the
        other minimizers of the relaxed problem that the widest bound admits.
    """
    costs = _pruned(costs, max(bounds))
    sweep = np.concatenate([_minimizers(costs, elimination, s, weights) for s in starts])
    sweep = np.concatenate([np.zeros((1, sweep.shape[1]), dtype=np.intp), sweep])
    time, square = costs.total_time(sweep), costs.total_square(sweep)
    solutions = []
    for bound in bounds:
        inside = np.flatnonzero(square <= bound)
        first = sweep[inside[np.argmin(time[inside])]]
        solutions.append(_polish(costs, first, bound))
    solutions += [x for x, s in zip(sweep, square, strict=True) if s <= max(bounds)]
    return list({x.tobytes(): x for x in solutions}.values())


def _pruned(costs: Costs, bound: float) -> Costs:
    """Forbid labels whose own error exceeds the widest bound."""
    allowed = costs.allowed & (costs.squared_usage <= bound)
    squared_usage = np.where(allowed, costs.squared_usage, _FORBIDDEN)
    return Costs(costs.time, costs.edges, costs.pair, squared_usage, allowed)


def _minimizers(costs: Costs, elimination: Elimination, start: Labels, weights: int) -> Labels:
    """(w, n): the minimizers for multipliers from 0 to one that forbids every error."""
    time = np.where(costs.allowed, costs.time, _FORBIDDEN)
    start = np.where(costs.allowed[np.arange(len(start)), start], start, 0)
    gain = float(np.abs(costs.time[costs.allowed]).sum() + np.abs(costs.pair).sum())
    real = costs.squared_usage[costs.allowed & (costs.squared_usage > 0)]
    if real.size == 0 or gain == 0:
        return elimination.minimize(time[None], costs.pair, start)
    mean = gain / len(start)
    low = 0.05 * mean / float(real.max())
    high = 5.0 * mean / float(np.quantile(real, 0.1))
    sweep = np.concatenate([[0.0], np.geomspace(low, max(high, 4 * low), weights - 1)])
    squared_usage = np.where(costs.allowed, costs.squared_usage, 0.0)
    return elimination.minimize(time + sweep[:, None, None] * squared_usage, costs.pair, start)


def _polish(costs: Costs, x: Labels, bound: float, rounds: int = 40) -> Labels:
    """Improve within the bound until no move of one group, two neighbours or a swap helps."""
    square = float(costs.total_square(x[None])[0])
    for _ in range(rounds):
        change = costs.time_changes(x)
        extra = costs.squared_usage - costs.squared_usage[np.arange(len(x)), x][:, None]
        room = bound - square
        move = (
            _single(change, extra, room)
            or _neighbours(costs, x, change, extra, room)
            or _swap(costs, x, change, extra, room)
        )
        if not move:
            break
        x = x.copy()
        for group, label in move:
            x[group] = label
        square = float(costs.total_square(x[None])[0])
    return x


_Move = list[tuple[int, int]]
_TINY = 1e-12


def _single(change: Floats, extra: Floats, room: float) -> _Move:
    open_ = np.where(extra <= room, change, np.inf)
    best = int(np.argmin(open_))
    if not open_.flat[best] < -_TINY:
        return []
    return [(best // change.shape[1], best % change.shape[1])]


def _neighbours(costs: Costs, x: Labels, change: Floats, extra: Floats, room: float) -> _Move:
    """Both ends of an edge move at once: how an INT8 run starts."""
    if not len(costs.edges):
        return []
    e = np.arange(len(costs.edges))
    a, b = costs.edges[:, 0], costs.edges[:, 1]
    now = costs.pair[e, x[a], x[b]][:, None, None]
    one, other = costs.pair[e, :, x[b]], costs.pair[e, x[a], :]
    joint = costs.pair - one[:, :, None] - other[:, None, :] + now
    total = change[a][:, :, None] + change[b][:, None, :] + joint
    both = extra[a][:, :, None] + extra[b][:, None, :]
    total = np.where(both <= room, total, np.inf)
    best = int(np.argmin(total))
    if not total.flat[best] < -_TINY:
        return []
    p = change.shape[1]
    edge, rest = best // (p * p), best % (p * p)
    return [(int(a[edge]), rest // p), (int(b[edge]), rest % p)]


def _swap(
    costs: Costs, x: Labels, change: Floats, extra: Floats, room: float, short: int = 48
) -> _Move:
    """One group gives error back so that another may take it."""
    p = change.shape[1]
    takes = np.flatnonzero((change.ravel() < -_TINY) & np.isfinite(change.ravel()))
    gives = np.flatnonzero((extra.ravel() < 0) & np.isfinite(change.ravel()))
    if not takes.size or not gives.size:
        return []
    flat, more = change.ravel(), extra.ravel()
    takes = takes[np.argsort(flat[takes], kind="stable")[:short]]
    gives = gives[np.argsort(flat[gives] / -more[gives], kind="stable")[:short]]
    total = flat[takes][:, None] + flat[gives][None]
    fits = (more[takes][:, None] + more[gives][None] <= room) & (
        (takes // p)[:, None] != (gives // p)[None]
    )
    total = np.where(fits, total, np.inf)
    order = np.argsort(total, axis=None, kind="stable")[:16]
    moves = [
        [(int(takes[i] // p), int(takes[i] % p)), (int(gives[j] // p), int(gives[j] % p))]
        for i, j in (divmod(int(o), len(gives)) for o in order)
        if total[i, j] < -_TINY
    ]
    if not moves:
        return []
    tried = np.repeat(x[None], len(moves), axis=0)
    for row, move in enumerate(moves):
        for group, label in move:
            tried[row, group] = label
    gained = costs.total_time(tried) - costs.total_time(x[None])[0]
    best = int(np.argmin(gained))
    return moves[best] if gained[best] < -_TINY else []
