"""Several runs as a page, and as lines on a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from precsearch.core.precision import Precision
from precsearch.formatting import many
from precsearch.report.charts.rows import loss_span, trial_rows
from precsearch.report.charts.theme import (
    AXIS,
    Chart,
    coloured,
    key_of,
    latencies,
    losses,
    place,
    precision_colours,
    rule,
    spec,
    tips,
)
from precsearch.report.charts.values import Row
from precsearch.report.html import Cell, Table, name, page, precision, text
from precsearch.report.side_by_side.members import TITLES, Member, other_groups
from precsearch.report.side_by_side.sentences import sentences

__all__ = ["runs_page"]

_COLOURS = (
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f8a93", "#b8a900",
)  # fmt: skip
_ABSENT = "no such group"


def runs_page(runs: Sequence[Member]) -> str:
    """A self-contained HTML file on several runs.

    Raises:
        OptionError: A package that draws is not installed.
    """
    colours = dict(zip((m.name for m in runs), _COLOURS, strict=False))
    one_metric = len({m.facts.bound and m.facts.bound.metric for m in runs}) == 1
    trials = _trial_rows(runs) if one_metric else []
    keys = [tuple(g.key for g in m.facts.groups) for m in runs]
    bands = _band_rows(runs) if len(set(keys)) == 1 else []
    return page(
        "side_by_side.html",
        {"trials": trials, "bands": bands},
        title=f"{len(runs)} runs: precsearch",
        sentences=sentences(runs),
        table=_table(runs),
        plane=_plane(runs, colours) if trials else None,
        strip=_strip(runs, len(keys[0]), bands) if bands else None,
        total=len(keys[0]),
        groups=_groups(runs),
        differ=many(len(other_groups(runs)), "group"),
    )


def _table(runs: Sequence[Member]) -> Table:
    rows = [[name(m.cells[0]), *(text(cell) for cell in m.cells[1:])] for m in runs]
    return Table("runs", "the runs", TITLES, rows)


def _groups(runs: Sequence[Member]) -> Table:
    rows = [[name(g.key), *(_cell(chosen) for chosen in g.precisions)] for g in other_groups(runs)]
    titles = ("group", *(m.name for m in runs))
    return Table("groups", "groups that differ", titles, rows)


def _cell(chosen: Precision | None) -> Cell:
    return text(_ABSENT) if chosen is None else precision(chosen.value)


def _span(runs: Sequence[Member]) -> tuple[float, float]:
    spans = [loss_span(m.facts) for m in runs]
    return min(low for low, _ in spans), max(high for _, high in spans)


def _trial_rows(runs: Sequence[Member]) -> list[Row]:
    span = _span(runs)
    return [
        {**row, "run": m.name}
        for m in runs
        for row in trial_rows(m.facts.trials, m.facts.bound, span)
        if row["what"] == "engine"
    ]


def _band_rows(runs: Sequence[Member]) -> list[Row]:
    return [
        {
            "from": g.place,
            "to": g.place + 1,
            "group": g.key,
            "kind": g.kind,
            "run": m.name,
            "precision": g.asked.value if g.free else "no choice",
        }
        for m in runs
        for g in m.facts.groups
    ]


def _plane(runs: Sequence[Member], colours: Mapping[str, str]) -> Chart:
    bounds = {m.facts.bound for m in runs}
    bound = bounds.pop() if len(bounds) == 1 else None
    unit = runs[0].facts.bound
    drawn = losses(_span(runs), "loss", unit)
    engines = {
        "transform": [{"filter": "isValid(datum.time) && isValid(datum.loss)"}],
        "mark": {"type": "point", "filled": True, "stroke": "#000000"},
        "encoding": {
            "x": latencies(),
            "y": {"field": "loss", **drawn},
            "color": coloured("run", colours),
            "size": {"condition": {"test": "datum.chosen", "value": 260}, "value": 60},
            "strokeWidth": {"condition": {"test": "datum.chosen", "value": 1.5}, "value": 0},
            "tooltip": tips("run", "trial", "speed said", "loss said", "verdict", "groups", "why"),
        },
    }
    made = spec("trials", 340, layer=[*rule(bound), engines])
    says = "The engines of all runs; the large ones ship, or are the best so far."
    return Chart("plane", says, made, key=colours)


def _strip(runs: Sequence[Member], count: int, rows: Sequence[Row]) -> Chart:
    made = spec(
        "bands",
        26 * len(runs) + 4,
        mark={"type": "rect", "stroke": "#ffffff", "strokeWidth": 0 if count > 150 else 0.6},
        encoding={
            "x": place(count),
            "x2": {"field": "to"},
            "y": {
                "field": "run",
                "type": "nominal",
                "title": None,
                "sort": None,
                "axis": {**AXIS, "labelLimit": AXIS["maxExtent"]},
            },
            "color": coloured("precision", precision_colours()),
            "tooltip": tips("run", "group", "kind", "precision"),
        },
    )
    seen = {str(row["precision"]) for row in rows}
    says = "The groups in graph order, a line for each run, by the precision that is asked for."
    return Chart("strip", says, made, wide=True, key=key_of(precision_colours(), seen))
