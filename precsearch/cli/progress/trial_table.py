"""The latest engine trials as a table that fits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from precsearch.cli.cells import Scale, clean, speedup
from precsearch.cli.progress.view import Verdict, View, asked
from precsearch.core.mismatch import sentences
from precsearch.core.precision import Precision
from precsearch.core.trial import Failed, Trial

__all__ = ["trial_table", "why"]

_STYLES = {
    Verdict.PASS: "green",
    Verdict.EDGE: "yellow",
    Verdict.OVER: "red",
    Verdict.BROKEN: "red",
    Verdict.SIZE: "red",
    Verdict.FAILED: "bold red",
    Verdict.OPEN: "dim",
}
_LEAST_WHY = 12


@dataclass(frozen=True, slots=True)
class _Column:
    """A column; those of the highest ``rank`` go first where the width does not suffice."""

    title: str
    width: int
    rank: int
    left: bool = False


def trial_table(view: View, width: int, height: int, scale: Scale) -> tuple[Text, ...]:
    """The latest trials, the newest last.

    Args:
        view: The run.
        width: Cells of a line; none is longer.
        height: Lines with the heading; there are no more.
        scale: How losses are written.
    """
    columns, rest = _columns(width, _precisions(view))
    titles = [_fit(c.title, c) for c in columns]
    heading = Text(" ".join(titles) + ("  why" if rest else ""), style="dim", no_wrap=True)
    best = view.best
    shown = view.engines[-(height - 1) :] if height > 1 else ()
    rows = [_row(view, t, t is best, columns, rest, scale) for t in shown]
    return (heading, *rows)[: max(height, 0)]


def _precisions(view: View) -> tuple[str, ...]:
    """The precisions with a column: those that groups may take, or that an engine was asked for."""
    outline = () if view.search is None else view.search.outline
    used = {p.value for g in outline for p in g.choices}.union(
        *(asked(t.assignment) for t in view.engines)
    )
    return tuple(p.value for p in Precision.below_fp32() if p.value in used)


def _columns(width: int, precisions: Sequence[str]) -> tuple[tuple[_Column, ...], int]:
    """The columns that fit into ``width``, and the cells left for the reason."""
    columns = [
        _Column("trial", 6, 1),
        *(_Column(name, 5, 3) for name in precisions),
        _Column("loss", 9, 4),
        _Column("of bound", 8, 0),
        _Column("speed", 7, 0),
        _Column("verdict", 11, 2, left=True),
    ]
    while sum(c.width + 1 for c in columns) - 1 > width and len(columns) > 1:
        columns.remove(max(columns, key=lambda c: c.rank))
    if columns[0].width > width:
        columns = [_Column("", width, 0)]
    rest = width - sum(c.width + 1 for c in columns) - 1
    return tuple(columns), rest if rest >= _LEAST_WHY else 0


def _fit(text: str, column: _Column) -> str:
    if cell_len(text) > column.width:
        return set_cell_size(text, column.width)
    room = " " * (column.width - cell_len(text))
    return text + room if column.left else room + text


def _row(
    view: View, trial: Trial, best: bool, columns: Sequence[_Column], rest: int, scale: Scale
) -> Text:
    verdict = view.verdict(trial)
    values = _values(view, trial, best, scale)
    text = Text(no_wrap=True)
    for number, column in enumerate(columns):
        style = _STYLES[verdict] if column.title == "verdict" else "bold" if best else ""
        text.append(" " if number else "")
        text.append(_fit(values.get(column.title, ""), column), style=style)
    if rest:
        reason = why(trial)
        cut = cell_len(reason) > rest
        end = scale.glyphs.ellipsis if cut else ""
        kept = set_cell_size(reason, rest - len(end)).rstrip() if cut else reason
        text.append(f"  {kept}{end}", style="dim")
    return text


def _values(view: View, trial: Trial, best: bool, scale: Scale) -> dict[str, str]:
    groups = asked(trial.assignment)
    mark = f"{scale.glyphs.best} " if best else ""
    values = {
        "trial": f"{mark}{trial.number}",
        **{p.value: str(groups.get(p.value, 0)) for p in Precision.below_fp32()},
        "verdict": view.verdict(trial).value,
    }
    measurement = trial.measurement
    if measurement is None:
        return values
    loss = measurement.accuracy.loss
    values["loss"] = scale(loss) if math.isfinite(loss) else "inf"
    if view.search is not None:
        values["of bound"] = scale.share(loss, view.search.bound.tolerance)
    if measurement.latency is not None:
        values["speed"] = speedup(measurement.latency.ratio)
    return values


def why(trial: Trial) -> str:
    """Why it was tried; how it failed, or why it cannot be compared, if that is so."""
    if isinstance(trial.outcome, Failed):
        failed = trial.outcome
        return clean(f"{failed.stage} {failed.kind}: {failed.message}")
    odd = trial.measurement.accuracy.mismatches if trial.measurement is not None else ()
    return clean("; ".join(sentences(odd)) or trial.proposal.reason)
