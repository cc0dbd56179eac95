"""The finished runs in a run directory: one, or one for each engine of a search on several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from precsearch.core.errors import InputError
from precsearch.core.objective import Objective
from precsearch.core.problem import Goal
from precsearch.optimization.across.table_file import read_table
from precsearch.optimization.front.points import Point, within
from precsearch.optimization.front.recall import FinishedRun, finished_run

__all__ = ["best_within", "finished_runs"]


def finished_runs(run: Path) -> tuple[FinishedRun, ...]:
    """The runs of a directory, their points in speeds over the fastest FP32 engine of all.

    A run that found no plan, since its FP32 engine is not within the bound, is left out.

    Raises:
        InputError: One cannot be read, or has no plan yet.
    """
    folder = run if run.is_dir() else run.parent
    table = read_table(folder)
    if table is None:
        return (finished_run(run),)
    found = []
    for row in table.rows:
        if row.fp32 is not None:
            one = finished_run(folder / row.backend)
            points = tuple(replace(p, backend=row.backend, fp32=row.fp32) for p in one.points)
            found.append(replace(one, points=points, together=row.together))
    if not found:
        raise InputError(f"none of the engines of the run in {str(folder)!r} has a plan")
    return tuple(found)


def best_within(runs: Sequence[tuple[FinishedRun, Goal]]) -> tuple[FinishedRun, Point] | None:
    """The engine that costs least of all runs, and its run; ``None`` if there is none.

    Args:
        runs: Each with the bound, and what it minimized and limited.
    """
    rows = []
    for number, (run, goal) in enumerate(runs):
        point = within(run.points, goal)
        if point is not None:
            rows.append((_cost(point, goal), number, run, point))
    return min(rows, key=lambda row: row[:2])[2:] if rows else None


def _cost(point: Point, goal: Goal) -> float:
    """In units that all runs share: time over that of the fastest FP32 engine, or bytes."""
    if goal.objective is Objective.SIZE:
        return float(point.found.artifact_bytes)
    return 1 / point.speed
