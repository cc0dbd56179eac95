"""Two plans as a page."""

from __future__ import annotations

import math
from collections.abc import Collection

from precsearch.core.problem import Bound
from precsearch.formatting import Scale, counts, loss_bound, speedup
from precsearch.plan.plan import Plan
from precsearch.report.charts.groups import bands
from precsearch.report.charts.rows import Row, drawn, span_of
from precsearch.report.charts.theme import Chart, coloured, latencies, losses, rule, spec, tips
from precsearch.report.difference import Change, Difference, difference_lines, kept_line
from precsearch.report.html import Table, name, page, text

__all__ = ["difference_page"]

_BOTH = {"first": "#0072b2", "second": "#d55e00"}


def difference_page(difference: Difference) -> str:
    """A self-contained HTML file on how two plans differ.

    Raises:
        OptionError: The package that draws is not installed.
    """
    title, *_ = difference_lines(difference)
    bound = _bound(difference)
    span = span_of(
        [t.loss for p in (difference.first, difference.second) for t in p.evidence.trials], bound
    )
    rows = {"groups": _group_rows(difference), "trials": _trial_rows(difference, span)}
    total = len(difference.second.recipe.groups)
    seen = {str(row[which]) for row in rows["groups"] for which in ("first", "second")}
    return page(
        "comparison.html",
        rows,
        title=title,
        names=difference.names,
        measured=_changes("measured", difference.measured),
        plane=_plane(bound, span) if rows["trials"] else None,
        differ=len(difference.groups),
        total=total,
        count=difference.group_count,
        strip=_strip(total, seen),
        groups=_changes("groups", difference.groups, "why in the second"),
        kept=kept_line(difference) if difference.rebuilt else "",
        scales=_changes("scales", difference.scales, "change"),
        options=_changes("options", difference.options),
    )


def _changes(ident: str, changes: tuple[Change, ...], note: str = "") -> Table:
    more = [note] if note else []
    rows = [
        [
            name(c.what) if ident in ("groups", "scales") else text(c.what),
            text(c.first),
            text(c.second),
            *([text(c.note, "text")] if note else []),
        ]
        for c in changes
    ]
    return Table(ident, f"what differs: {ident}", ("what", "first", "second", *more), rows)


def _group_rows(difference: Difference) -> list[Row]:
    a, b = difference.first.recipe.assignment, difference.second.recipe.assignment
    return [
        {
            "from": number,
            "to": number + 1,
            "group": group.key,
            "kind": group.kind,
            "first": a[group.key].value,
            "second": b[group.key].value,
        }
        for number, group in enumerate(difference.second.recipe.groups)
    ]


def _bound(difference: Difference) -> Bound | None:
    """The bound that both plans kept, if it was the same."""
    a, b = difference.first.criteria, difference.second.criteria
    if (a.metric, a.tolerance) != (b.metric, b.tolerance):
        return None
    return Bound(loss_bound(a.metric, a.tolerance), a.metric)


def _trial_rows(difference: Difference, span: tuple[float, float]) -> list[Row]:
    if difference.first.criteria.metric != difference.second.criteria.metric:
        return []
    return [
        *_engines(difference.first, "first", span),
        *_engines(difference.second, "second", span),
    ]


def _engines(plan: Plan, which: str, span: tuple[float, float]) -> list[Row]:
    scale = Scale(plan.criteria.metric)
    ours = plan.recipe.assignment.digest[:12]
    return [
        {
            "plan": which,
            "trial": trial.number,
            "loss": drawn(trial.loss, span),
            "loss said": scale(trial.loss),
            "time": trial.ratio * 100,
            "speed said": f"{speedup(trial.ratio)} FP32's speed",
            "groups": counts(trial.counts) or "all fp32",
            "chosen": trial.assignment == ours,
        }
        for trial in plan.evidence.trials
        if trial.loss is not None
        and trial.ratio is not None
        and math.isfinite(trial.ratio)
        and trial.ratio > 0
    ]


def _plane(bound: Bound | None, span: tuple[float, float]) -> Chart:
    engines = {
        "mark": {"type": "point", "filled": True, "stroke": "#000000"},
        "encoding": {
            "x": latencies(),
            "y": {"field": "loss", **losses(span, "loss", bound)},
            "color": coloured("plan", _BOTH),
            "size": {"condition": {"test": "datum.chosen", "value": 260}, "value": 70},
            "strokeWidth": {"condition": {"test": "datum.chosen", "value": 1.5}, "value": 0},
            "tooltip": tips("plan", "trial", "speed said", "loss said", "groups"),
        },
    }
    chart = spec("trials", 320, layer=[*rule(bound), engines])
    caption = "The engines of both searches; the large ones are the plans'."
    return Chart("plane", caption, chart, key=_BOTH)


def _strip(count: int, seen: Collection[str]) -> Chart:
    caption = (
        "The groups of the second plan in graph order, by the precision that each plan asks for."
    )
    which = ("first", "second")
    return bands(count, seen, which, ("group", "kind", *which), caption)
