"""The least predicted latency within an error bound, as a mixed-integer program."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from precsearch_strategies.encoding import Floats, Labels
from precsearch_strategies.solvers.knapsack import Costs

__all__ = ["CORE", "milp"]

_SECONDS = 2.0  # far beyond what the node limit lets it take: a guard, not a schedule
_NODES = 200
_GAP = 1e-3
CORE = 48
"""Groups that the program decides; the others stay as they start."""


def milp(costs: Costs, bound: float, start: Labels) -> Labels | None:
    """Improve ``start`` within ``bound`` by HiGHS (Huangfu & Hall, *Math. Prog. Comp.* 10, 2018).

    One binary per group and label, and for each edge the products of its ends' labels as continuous
    variables tied to them by their marginals (the local polytope). In a large space only a core of
    groups is decided, those whose best change weighs least against its error (Balas & Zemel,
    *Operations Research* 28, 1980). It is bounded by nodes, so that the answer does not depend on
    how busy the machine is.

    Args:
        costs: The model.
        bound: On the sum of squared errors.
        start: (n,) labels within the bound.

    Returns:
        (n,) labels within the bound, no slower than ``start``; ``None`` where HiGHS found none.
    """
    import highspy  # takes 0.1 s to import, and only a search that gets here needs it

    core = _core(costs, start)
    with _stdout_closed():  # HiGHS prints who made it before it can be told to be quiet
        solver = highspy.Highs()  # type: ignore[no-untyped-call]
    for option, value in (
        ("output_flag", False), ("threads", 1), ("random_seed", 0), ("time_limit", _SECONDS),
        ("mip_max_nodes", _NODES), ("mip_rel_gap", _GAP),
    ):  # fmt: skip
        solver.setOptionValue(option, value)
    cells = _variables(solver, costs, core, start)
    used = float(costs.total_square(start[None])[0])
    room = bound - used + sum(float(costs.squared_usage[i, start[i]]) for i in core)
    columns = [c for i in core for c in cells[i].values()]
    weights = [float(costs.squared_usage[i, label]) for i in core for label in cells[i]]
    solver.addRow(-highspy.kHighsInf, max(room, 0.0), len(columns), columns, weights)
    solver.run()
    usable = (
        highspy.HighsModelStatus.kOptimal,
        highspy.HighsModelStatus.kSolutionLimit,
        highspy.HighsModelStatus.kTimeLimit,
    )
    if solver.getModelStatus() not in usable or not solver.getInfo().primal_solution_status:
        return None
    values = solver.getSolution().col_value
    solution = start.copy()
    for i in core:
        chosen = max((values[column], -label) for label, column in cells[i].items())
        solution[i] = -chosen[1]
    better = costs.total_time(solution[None])[0] <= costs.total_time(start[None])[0] + 1e-9
    return solution if better and costs.total_square(solution[None])[0] <= bound + 1e-9 else None


def _core(costs: Costs, start: Labels) -> list[int]:
    """The groups that are closest to changing at ``start``."""
    change = costs.time_changes(start)
    extra = np.abs(costs.squared_usage - costs.squared_usage[np.arange(len(start)), start][:, None])
    change[np.arange(len(start)), start] = np.inf
    weight = np.where(np.isfinite(change), np.abs(change), 0.0)
    close = np.max(weight / (weight.max() + 1e-12) + (extra > 0) * 1e-3, axis=1)
    order = np.argsort(-close, kind="stable")
    return sorted(int(i) for i in order[:CORE] if close[i] > 0)


@contextmanager
def _stdout_closed() -> Iterator[None]:
    """Throw away what native code prints meanwhile: a program's stdout is its own."""
    if sys.stdout is not None:
        sys.stdout.flush()
    try:
        own = os.dup(1)
    except OSError:  # there is none
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    try:
        yield
    finally:
        os.dup2(own, 1)
        os.close(own)


def _variables(
    solver: object, costs: Costs, core: list[int], start: Labels
) -> dict[int, dict[int, int]]:
    """Add binaries and edges; the column of each core group's label."""
    import highspy

    assert isinstance(solver, highspy.Highs)
    inside = set(core)
    time = costs.time.copy()
    for e, (a, b) in enumerate(costs.edges.tolist()):
        if a in inside and b not in inside:
            time[a] += costs.pair[e, :, start[b]]
        elif b in inside and a not in inside:
            time[b] += costs.pair[e, start[a], :]
    cells: dict[int, dict[int, int]] = {}
    for i in core:
        labels = [
            int(v) for v in np.flatnonzero(costs.allowed[i] | (np.arange(len(time[i])) == start[i]))
        ]
        cells[i] = {}
        for label in labels:
            cells[i][label] = solver.getNumCol()
            solver.addVar(0.0, 1.0)
            solver.changeColCost(cells[i][label], float(time[i, label]))
            solver.changeColIntegrality(cells[i][label], highspy.HighsVarType.kInteger)
        solver.addRow(1.0, 1.0, len(labels), list(cells[i].values()), [1.0] * len(labels))
    for e, (a, b) in enumerate(costs.edges.tolist()):
        if a in inside and b in inside and np.ptp(costs.pair[e]) > 0:
            _edge(solver, costs.pair[e], cells[a], cells[b])
    return cells


def _edge(solver: object, pair: Floats, one: dict[int, int], other: dict[int, int]) -> None:
    """Products of the labels of two ends, tied to them by their marginals."""
    import highspy

    assert isinstance(solver, highspy.Highs)
    columns = {}
    for a in one:
        for b in other:
            columns[a, b] = solver.getNumCol()
            solver.addVar(0.0, 1.0)
            solver.changeColCost(columns[a, b], float(pair[a, b]))
    for a, column in one.items():
        row = [columns[a, b] for b in other]
        solver.addRow(0.0, 0.0, len(row) + 1, [*row, column], [1.0] * len(row) + [-1.0])
    for b, column in other.items():
        row = [columns[a, b] for a in one]
        solver.addRow(0.0, 0.0, len(row) + 1, [*row, column], [1.0] * len(row) + [-1.0])
