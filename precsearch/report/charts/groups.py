"""The charts over groups and tensors."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from precsearch.core.problem import Bound
from precsearch.report.charts.theme import (
    AXIS,
    Chart,
    coloured,
    key_of,
    losses,
    place,
    precision_colours,
    rule,
    spec,
    tips,
)

__all__ = ["bands", "ranges", "sensitivity", "strip", "tradeoff"]

_GROUP = ("group", "kind", "asked", "ran", "cost said", "saved said", "reason")


_USED = {"in the plan": "#0072b2", "calibrated, not used": "#b9c2c9"}


def strip(count: int, seen: Collection[str]) -> Chart:
    """Groups by precision, asked and achieved. ``seen`` are the precisions that there are."""
    caption = (
        "The groups in graph order, by the precision that each is asked for, and what it ran in."
    )
    return bands(count, seen, ("asked", "ran"), _GROUP, caption)


def bands(
    count: int, seen: Collection[str], rows: tuple[str, str], titles: Sequence[str], caption: str
) -> Chart:
    """Two rows of groups in graph order, coloured by precision.

    Args:
        count: How many groups there are.
        seen: The precisions that there are.
        rows: The fields that hold the precisions of each row.
        titles: What is said of the group under the pointer.
        caption: The chart in words.
    """
    chart = spec(
        "groups",
        56,
        transform=[{"fold": list(rows), "as": ["which", "precision"]}],
        mark={"type": "rect", "stroke": "#ffffff", "strokeWidth": 0 if count > 150 else 0.6},
        encoding={
            "x": place(count),
            "x2": {"field": "to"},
            "y": {"field": "which", "type": "nominal", "title": None, "sort": None, "axis": AXIS},
            "color": coloured("precision", precision_colours()),
            "tooltip": tips(*titles),
        },
    )
    return Chart("strip", caption, chart, wide=True, key=key_of(precision_colours(), seen))


def sensitivity(bound: Bound | None, span: tuple[float, float], count: int) -> Chart:
    """What each group costs alone."""
    y = {"field": "cost", **losses(span, None, bound)}
    y["axis"] = {**y["axis"], **AXIS}
    layer = [
        {
            "transform": [{"filter": "isValid(datum.cost)"}],
            "mark": {"type": "rect"},
            "encoding": {
                "x": place(count),
                "x2": {"field": "to"},
                "y": y,
                "y2": {"datum": span[0]},
                "color": coloured("asked", precision_colours()),
                "tooltip": tips(*_GROUP),
            },
        },
        *rule(bound),
    ]
    return Chart(
        "sensitivity",
        "Sensitivity: the loss with this group alone lowered (the lower the bar, the cheaper).",
        spec("groups", 150, layer=layer),
        wide=True,
    )


def tradeoff(bound: Bound | None, span: tuple[float, float], asked: Collection[str]) -> Chart:
    """Error cost against time gained."""
    seen = {"filter": "isValid(datum.cost) && isValid(datum.saved)"}
    layer = [
        *rule(bound),
        {
            "transform": [seen],
            "mark": {"type": "point", "filled": True, "size": 100, "opacity": 0.85},
            "encoding": {
                "x": {
                    "field": "saved",
                    "type": "quantitative",
                    "title": "microseconds gained by lowering it (by the profiles)",
                    "scale": {"padding": 12},
                },
                "y": {"field": "cost", **losses(span, "loss with it alone lowered", bound)},
                "color": coloured("asked", precision_colours()),
                "tooltip": tips(*_GROUP),
            },
        },
    ]
    return Chart(
        "tradeoff",
        "What each group costs in accuracy against what it gains in time: lower right is worth "
        "lowering, upper left is not.",
        spec("groups", 320, layer=layer),
        key=key_of(precision_colours(), asked),
    )


def ranges(count: int) -> Chart:
    """Calibrated ranges of ``count`` tensors."""
    x = {
        "field": "place",
        "type": "quantitative",
        "axis": {"labels": False, "ticks": False, "grid": False, "title": None},
        "scale": {"domain": [-0.6, max(count, 1) - 0.4], "nice": False, "zero": False},
    }
    y = {
        "field": "low",
        "type": "quantitative",
        "title": "value",
        "scale": {"type": "symlog"},
        "axis": {"format": "~g", "tickCount": 7, **AXIS},
    }
    chart = spec(
        "ranges",
        260,
        transform=[{"filter": "isValid(datum.low) && isValid(datum.high)"}],
        mark={"type": "rule", "strokeWidth": 5, "strokeCap": "round"},
        encoding={
            "x": x,
            "y": y,
            "y2": {"field": "high"},
            "color": coloured("used", _USED),
            "tooltip": tips("tensor", "range", "step", "zero", "used"),
        },
    )
    return Chart(
        "ranges",
        "Calibrated range of each tensor, inputs first, then in graph order.",
        chart,
        wide=True,
        key=_USED,
    )
