"""The tables of a report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from precsearch.formatting import Scale, counts, many, milliseconds, speedup
from precsearch.optimization.across.table_file import EngineTable
from precsearch.report.charts.rows import Row, gained
from precsearch.report.html import Cell, Table, name, precision, text
from precsearch.report.run_facts import GroupFact
from precsearch.report.trial_facts import TrialFact

__all__ = [
    "Achieved",
    "achieved_table",
    "engine_table",
    "group_table",
    "range_table",
    "trial_table",
]


@dataclass(frozen=True, slots=True)
class Achieved:
    """What groups ran in.

    Attributes:
        table: How many groups were asked for what, and ran in what.
        others: Keys of those that did not run as asked.
    """

    table: Table
    others: tuple[str, ...]

    @property
    def counted(self) -> str:
        """How many did not run as asked."""
        return many(len(self.others), "group")


def engine_table(engines: EngineTable, scale: Scale) -> Table:
    """What each engine of a search on several backends reached."""
    rows = [
        [
            name(row.backend),
            text(_speed(row.fp32), "number"),
            text(f"{_speed(row.uniform_speed)} {row.uniform}".strip(), "number"),
            text(_speed(row.plan), "number"),
            text("" if row.loss is None else scale(row.loss), "number"),
            text(row.engines, "number"),
        ]
        for row in engines.rows
    ]
    titles = ("engine", "FP32", "best uniform", "plan", "loss", "built")
    chosen = frozenset(i for i, row in enumerate(engines.rows) if row.backend == engines.shipped)
    return Table("engines", "engines beside each other", titles, rows, chosen)


def _speed(value: float | None) -> str:
    return speedup(1 / value) if value else ""


def group_table(groups: Sequence[GroupFact], scale: Scale) -> Table:
    """Every group: what it costs, what it gains, what it got and why."""
    rows = [
        [
            text(group.place + 1, "number"),
            name(group.key),
            text(group.kind),
            precision(group.asked.value) if group.free else text("no choice"),
            text("" if group.ran is None or not group.shows_ran else group.ran.value),
            text(_cost(group, scale), "number"),
            text(_time(group.plain), "number"),
            text(_time(group.chosen), "number"),
            text("" if group.saved is None else gained(group.saved), "number"),
            text(group.reason, "text"),
        ]
        for group in groups
    ]
    titles = (
        "place", "group", "kind", "asked", "ran", "loss alone", "FP32 time", "its time", "gain",
        "why",
    )  # fmt: skip
    return Table("groups", "groups", titles, rows)


def _cost(group: GroupFact, scale: Scale) -> str:
    if group.cost is None:
        return ""
    return f"{scale(group.cost)}{'*' if group.beside else ''}"


def _time(seconds: float | None) -> str:
    return "" if seconds is None else milliseconds(seconds)


def achieved_table(groups: Sequence[GroupFact]) -> Achieved | None:
    """How many groups ran in what they were asked for; ``None`` if none was looked at."""
    looked = [g for g in groups if g.shows_ran and g.ran is not None]
    pairs = Counter((g.asked.value, g.ran.value) for g in looked if g.ran is not None)
    if not pairs:
        return None
    others = [g for g in looked if g.ran is not g.asked]
    rows = [
        [precision(asked), precision(ran), text(count, "number")]
        for (asked, ran), count in sorted(pairs.items())
    ]
    titles = ("asked", "ran in", "groups")
    table = Table("achieved", "asked and achieved", titles, rows)
    return Achieved(table, tuple(g.key for g in others))


def trial_table(trials: Sequence[TrialFact], scale: Scale) -> Table:
    """Every trial in the order they ended."""
    rows = [
        [
            text(trial.number, "number"),
            text("engine" if trial.engine else "proxy"),
            text(counts(trial.counts) or "all fp32"),
            text("" if trial.loss is None else scale(trial.loss), "number"),
            text("" if trial.ratio is None else speedup(trial.ratio), "number"),
            text(f"{trial.verdict}{', on the front' if trial.front else ''}"),
            text(trial.failed or trial.why, "text"),
            text(trial.assigned if trial.engine else "", "text"),
        ]
        for trial in trials
    ]
    titles = ("trial", "what", "groups", "loss", "speed", "verdict", "why", "assignment")
    chosen = frozenset(place for place, trial in enumerate(trials) if trial.chosen)
    return Table("trials", "trials", titles, rows, chosen)


def range_table(rows: Sequence[Row]) -> Table:
    """Calibrated ranges and scales."""
    cells: list[list[Cell]] = [
        [
            name(str(row["tensor"])),
            text(_said(row, "range"), "number"),
            text(_said(row, "step"), "number"),
            text(_said(row, "zero"), "number"),
            text(_said(row, "used")),
        ]
        for row in rows
    ]
    titles = ("tensor", "range", "scale", "zero point", "use")
    return Table("tensors", "calibrated ranges", titles, cells)


def _said(row: Mapping[str, object], key: str) -> str:
    return str(row[key])
