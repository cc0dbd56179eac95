"""What might be worth building next: a pool from the models, to be ranked and screened."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from precsearch.core.precision import Precision
from precsearch.core.space import Assignment
from precsearch_strategies.acquisition.exclusion import forbidden_edges, repaired
from precsearch_strategies.encoding import Bools, Encoding, Floats, Labels
from precsearch_strategies.history import History
from precsearch_strategies.models.build_risk import build_risk
from precsearch_strategies.models.error import ErrorModel
from precsearch_strategies.models.latency import LatencyModel
from precsearch_strategies.solvers.elimination import Elimination
from precsearch_strategies.solvers.knapsack import Costs, solve
from precsearch_strategies.solvers.milp import CORE, milp
from precsearch_strategies.solvers.tied import alike, shared

__all__ = ["candidates", "runs"]

_SLACKS = (1.0, 1.3, 1.15, 0.93, 0.85, 0.7, 0.5)
_ALL = 1024  # assignments up to which each is a candidate
_APART = 1.0  # of FP32's latency: what the solver is charged for an excluded pair of neighbours
_HOPELESS = 0.8  # build_risk from which on the solver leaves a choice out


def candidates(
    known: History,
    encoding: Encoding,
    errors: ErrorModel,
    latency: LatencyModel,
    elimination: Elimination,
    draws: list[Floats],
) -> Labels:
    """(c, n) distinct labels in a fixed order, canonical; they may have been tried already.

    In a small space these are all assignments, in others those that models promise much of. None
    has an excluded set of choices (see `precsearch.core.exclusions`).
    """
    every = encoding.every(_ALL)
    if every is not None and not known.excluded:
        return every
    return _promising(known, encoding, errors, latency, elimination, draws)


def _promising(
    known: History,
    encoding: Encoding,
    errors: ErrorModel,
    latency: LatencyModel,
    elimination: Elimination,
    draws: list[Floats],
) -> Labels:
    """(c, n) labels as of `candidates`.

    The solutions of the knapsack for several bounds, under the mean of the latency model and under
    ``draws`` from its posterior; in a large space those in which groups that look alike share their
    label; prefixes of the ranking by squared error per gain; all of these
    with passive groups in float; the moves around the incumbents; and the failed engines repaired.
    """
    n = encoding.size[0]
    bounds = [max(s**2 - errors.base, 0.0) for s in _SLACKS]
    starts = [encoding.encode(a) for a in known.incumbents()[:1]] or [encoding.lowest]
    suspect = build_risk(known, encoding)
    apart = forbidden_edges(known, encoding)
    models = [
        _costs(encoding, errors, latency, w, suspect < _HOPELESS, apart)
        for w in (latency.mean(), *draws)
    ]
    mean = models[0]
    if (suspect > 0).any():
        # A failed engine forfeits what it would have gained: here, half of all there is to gain.
        stake = 0.5 * np.maximum(mean.time[:, :1] - mean.time, 0.0).max(axis=1).sum()
        models.append(replace(mean, time=mean.time + stake * suspect))
    solutions = [x for costs in models for x in solve(costs, elimination, bounds, starts)]
    solutions += _together(encoding, mean, bounds)
    solutions += _exact(mean, bounds, solutions)
    solutions += _prefixes(encoding, mean, bounds)
    solutions += _passive_float(encoding, solutions)
    for assignment in known.incumbents():
        solutions += _grown(encoding, mean, encoding.encode(assignment))
        solutions += _moves(encoding, mean, encoding.encode(assignment))
    for assignment in _near_misses(known):
        solutions += _moves(encoding, mean, encoding.encode(assignment), short=16)
    solutions += _repaired(known, encoding, errors, mean)
    pool = encoding.canonical(np.array(solutions, dtype=np.intp).reshape(-1, n))
    if known.excluded:
        gain = mean.time[:, :1] - mean.time
        both = [repaired(known, encoding, pool, worth) for worth in (gain, -gain)]
        pool = encoding.canonical(np.concatenate(both))
    return _distinct(pool)


def _distinct(pool: Labels) -> Labels:
    """The rows without those that an earlier row equals."""
    first = {row.tobytes(): i for i, row in reversed(list(enumerate(pool)))}
    return np.asarray(pool[sorted(first.values())])


def _together(encoding: Encoding, costs: Costs, bounds: list[float]) -> list[Labels]:
    """In a large space, one decision for all groups that look alike.

    Few enough for the program to decide them all. What it makes of repeated blocks is where
    `_exact` starts from, which decides group by group, but only those that are closest to changing.
    """
    rows = alike(encoding, range(encoding.size[0]))
    if encoding.size[0] <= CORE or len(rows) == encoding.size[0]:
        return []
    classes = np.zeros(encoding.size[0], dtype=np.intp)
    for number, members in enumerate(rows):
        classes[list(members)] = number
    small = shared(costs, classes)
    elimination = Elimination(len(rows), small.edges, encoding.size[1])
    solutions = solve(small, elimination, bounds, [np.zeros(len(rows), dtype=np.intp)])
    return [x[classes] for x in [*solutions, *_exact(small, bounds, solutions)]]


def _exact(costs: Costs, bounds: list[float], many: list[Labels]) -> list[Labels]:
    """What the mixed-integer program makes of the best of ``many``, over a grid of bounds."""
    rows = np.array(many)
    time, square = costs.total_time(rows), costs.total_square(rows)
    solutions = []
    for bound in bounds[::2]:
        inside = np.flatnonzero(square <= bound)
        if len(inside):
            better = milp(costs, bound, rows[inside[np.argmin(time[inside])]])
            solutions += [] if better is None else [better]
    return solutions


def _costs(
    encoding: Encoding,
    errors: ErrorModel,
    latency: LatencyModel,
    weights: Floats,
    usable: Bools,
    apart: list[tuple[int, int, int]],
) -> Costs:
    time, pair = latency.costs(weights)
    for edge in apart:
        pair[edge] += _APART
    finite = np.isfinite(errors.squared_usage)
    squared_usage = np.where(finite, errors.squared_usage, 1e9)
    return Costs(time, encoding.edges, pair, squared_usage, encoding.allowed & finite & usable)


def _density(costs: Costs) -> Floats:
    """(n, p) squared error per time gained, ``inf`` where nothing is gained."""
    gain = costs.time[:, :1] - costs.time
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where((gain > 0) & costs.allowed, costs.squared_usage / gain, np.inf)


def _prefixes(encoding: Encoding, costs: Costs, bounds: list[float]) -> list[Labels]:
    """For each lower precision, the best prefix of the ranking that each bound admits."""
    prefixes = []
    for label in range(1, encoding.size[1]):
        density = _density(costs)[:, label]
        order = np.argsort(density, kind="stable")
        order = order[np.isfinite(density[order])]
        used = np.cumsum(costs.squared_usage[order, label])
        for bound in bounds:
            x = np.zeros(encoding.size[0], dtype=np.intp)
            x[order[used <= bound]] = label
            prefixes.append(x)
    return prefixes


def _grown(encoding: Encoding, costs: Costs, x: Labels) -> list[Labels]:
    """An incumbent with 1, 2, 4, … more groups lowered, those of least squared error per gain."""
    change = costs.time_changes(x)
    extra = costs.squared_usage - costs.squared_usage[np.arange(len(x)), x][:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        density = np.where((change < 0) & costs.allowed & (extra > 0), extra / -change, np.inf)
    best = density.argmin(axis=1)
    density = density.min(axis=1)
    order = np.argsort(density, kind="stable")
    order = order[np.isfinite(density[order])]
    sizes = sorted({round(2 ** (k / 2)) for k in range(21)} | {len(order)})
    return [
        _with(x, [(int(i), int(best[i])) for i in order[:size]])
        for size in sizes
        if size <= len(order)
    ]


def _passive_float(encoding: Encoding, many: list[Labels]) -> list[Labels]:
    if Precision.INT8 not in encoding.space.precisions or not encoding.passive.any():
        return []
    label = encoding.space.precisions.index(Precision.INT8)
    idle = [encoding.passive & (x == label) for x in many]
    return [np.asarray(np.where(i, 0, x), dtype=np.intp) for i, x in zip(idle, many, strict=True)]


def runs(encoding: Encoding, x: Labels) -> list[list[int]]:
    """Connected sets of groups of one label, in order of their first group."""
    seen, sequences = set[int](), []
    for first in range(len(x)):
        if first in seen:
            continue
        seen.add(first)
        run = [first]
        for i in run:
            near = [j for j in encoding.adjacent[i] if j not in seen and x[j] == x[first]]
            seen.update(near)
            run += near
        sequences.append(sorted(run))
    return sequences


def _moves(encoding: Encoding, costs: Costs, x: Labels, short: int = 40) -> list[Labels]:
    """Neighbours of an incumbent: one group or one run moved, and swaps; best predicted first."""
    p = encoding.size[1]
    change = costs.time_changes(x)
    change[np.arange(len(x)), x] = np.inf
    extra = costs.squared_usage - costs.squared_usage[np.arange(len(x)), x][:, None]
    order = np.argsort(change, axis=None, kind="stable")
    order = order[np.isfinite(change.ravel()[order])]
    moves = [divmod(flat, p) for flat in order.tolist()]
    takes, gives = moves[: short // 4], [m for m in moves if extra[m] < 0][: short // 4]
    variants = [_with(x, [move]) for move in moves[:short]]
    variants += [_with(x, [one, other]) for one in takes for other in gives if one[0] != other[0]]
    for run in runs(encoding, x)[: 2 * short]:
        if len(run) > 1:
            for label in range(p):
                moved = [(i, label) for i in run if encoding.allowed[i, label]]
                variants.append(_with(x, moved))
    return variants


def _near_misses(known: History, most: int = 2, usage: float = 1.25) -> list[Assignment]:
    """Engines that are fast and just beyond the bound: one move, in either direction, may do.

    Lowering more can lower the error, where it saves a tensor from being rounded twice.
    """
    rows = [
        (ratio, a.entries, a)
        for a, t in known.engines.items()
        if (ratio := known.ratio(t)) is not None
        and ratio < known.best_ratio()
        and 1 < (known.usage(t) or 0.0) <= usage
    ]
    return [row[2] for row in sorted(rows, key=lambda row: row[:2])[:most]]


def _with(x: Labels, moves: list[tuple[int, int]]) -> Labels:
    moved: Labels = x.copy()
    for group, label in moves:
        moved[group] = label
    return moved


def _repaired(
    known: History, encoding: Encoding, errors: ErrorModel, costs: Costs, most: int = 3
) -> list[Labels]:
    """The fastest engines beyond the bound, their worst squared error per gain given back."""
    rows = [
        (ratio, usage, a)
        for a, t in known.engines.items()
        if (ratio := known.ratio(t)) is not None
        and ratio < known.best_ratio()
        and (usage := known.usage(t)) is not None
        and usage > 1
    ]
    found = []
    for _, usage, assignment in sorted(rows, key=lambda row: (row[0], row[2].entries))[:most]:
        x = encoding.encode(assignment)
        part = errors.squared_usage[np.arange(len(x)), x]
        density = _density(costs)[np.arange(len(x)), x]
        total = float(part.sum())
        if not np.isfinite(total) or not np.isfinite(usage):
            continue
        for aim in (0.97, 0.85):
            order = np.argsort(np.where(x > 0, -density, np.inf), kind="stable")
            left = total - np.cumsum(part[order])
            count = int(np.argmax(left <= total * (aim / usage) ** 2)) + 1
            found.append(_with(x, [(int(i), 0) for i in order[:count]]))
    return found
