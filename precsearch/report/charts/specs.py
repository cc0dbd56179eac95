"""The charts of a report, as Vega-Lite specifications that name their data.

https://vega.github.io/vega-lite/docs/ documents the language. A specification is plain data and
holds no code; the page fills in the rows (`precsearch.report.charts.rows`) and Vega draws.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from precsearch.core.problem import Bound
from precsearch.report.charts.groups import ranges, sensitivity, strip, tradeoff
from precsearch.report.charts.rows import Row
from precsearch.report.charts.theme import (
    AXIS,
    FAINT,
    GOLD,
    LINE,
    VERDICTS,
    Chart,
    Spec,
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
from precsearch.report.charts.times import spent, times

__all__ = ["Chart", "charts"]


def charts(
    bound: Bound | None,
    span: tuple[float, float],
    costs: tuple[float, float],
    rows: Mapping[str, Sequence[Row]],
) -> dict[str, Chart]:
    """The charts that there are rows for, by name.

    Args:
        bound: On the loss, ``None`` if it is not known.
        span: Lowest and highest loss of a trial that is drawn.
        costs: Lowest and highest loss of a group that is drawn.
        rows: What `precsearch.report.charts.rows.data_of` gives.
    """
    verdicts = {str(row["verdict"]) for row in rows["trials"] if row["what"] == "engine"}
    asked = {str(row["asked"]) for row in rows["groups"]}
    ran = {str(row["ran"]) for row in rows["groups"]}
    shown = []
    if rows["trials"]:
        shown.append(_plane(bound, span, verdicts))
    if rows["best"]:
        shown.append(_progress(verdicts))
    if rows["groups"]:
        count = len(rows["groups"])
        shown += [strip(count, asked | ran), sensitivity(bound, costs, count), _times(rows)]
        if any(r["cost"] is not None and r["saved"] is not None for r in rows["groups"]):
            shown.append(tradeoff(bound, costs, asked))
    if rows["spent"]:
        engines = len({row["engine"] for row in rows["spent"]})
        shown.append(spent(engines, {str(row["part"]) for row in rows["spent"]}))
    if rows["map"]:
        engines = len({row["engine"] for row in rows["map"]})
        seen = {str(row["precision"]) for row in rows["map"]}
        shown.append(_map(len(rows["groups"]), engines, seen))
    if rows["ranges"]:
        shown.append(ranges(len(rows["ranges"])))
    return {chart.name: chart for chart in shown}


def _times(rows: Mapping[str, Sequence[Row]]) -> Chart:
    groups = rows["groups"]
    timed = {str(row["runs"]) for row in groups if row["chosen"] is not None}
    return times(len(groups), timed, converts=any(row["conversions"] for row in groups))


def _plane(bound: Bound | None, span: tuple[float, float], verdicts: Collection[str]) -> Chart:
    x = latencies(axis={"tickCount": 8, "labelOverlap": True})
    y = {"field": "loss", **losses(span, "loss", bound)}
    shown = tips(
        "trial", "what", "speed said", "latency said", "loss said", "verdict", "groups",
        "assignment", "why",
    )  # fmt: skip
    layers = [*rule(bound), _proxies(y, shown), *_engines(x, y, shown), _ships(x, y, shown)]
    layers += _labels(x, y)
    return Chart(
        "plane",
        "Every engine by latency and loss; lower left is better. The line is the Pareto front, "
        "the star what ships as measured again at the end; labels are speeds over FP32. The ticks "
        "at the right edge are proxies, which have a loss and no latency. Point at one to see its "
        "assignment.",
        spec("trials", 380, layer=layers),
        key=key_of(VERDICTS, verdicts),
    )


def _proxies(y: Spec, shown: Sequence[Spec]) -> Spec:
    """Ticks at the right edge."""
    return {
        "transform": [{"filter": "datum.what === 'proxy' && isValid(datum.loss)"}],
        "mark": {"type": "tick", "orient": "horizontal", "size": 14, "opacity": 0.45,
                 "color": LINE, "thickness": 1.5},
        "encoding": {"x": {"value": "width"}, "y": y, "tooltip": shown},
    }  # fmt: skip


def _engines(x: Spec, y: Spec, shown: Sequence[Spec]) -> list[Spec]:
    """The Pareto front, intervals of latency, and a point for every engine."""
    engine = {"filter": "datum.what === 'engine' && isValid(datum.time) && isValid(datum.loss)"}
    return [
        {
            "transform": [engine, {"filter": "datum.front"}],
            "mark": {"type": "line", "interpolate": "step-after", "color": LINE,
                     "strokeWidth": 1.5, "opacity": 0.7},
            "encoding": {"x": x, "y": y, "order": {"field": "time", "type": "quantitative"}},
        },
        {
            "transform": [engine, {"filter": "isValid(datum.low)"}],
            "mark": {"type": "rule", "strokeWidth": 2, "color": FAINT},
            "encoding": {"x": {**x, "field": "low"}, "x2": {"field": "high"}, "y": y},
        },
        {
            "transform": [engine],
            "mark": {"type": "point", "filled": True, "size": 110, "opacity": 0.95},
            "encoding": {"x": x, "y": y, "color": coloured("verdict", VERDICTS),
                         "tooltip": shown},
        },
    ]  # fmt: skip


def _ships(x: Spec, y: Spec, shown: Sequence[Spec]) -> Spec:
    """A star."""
    return {
        "data": {"name": "ships"},
        "mark": {"type": "point", "shape": "M0,-1L.236,-.325L.951,-.309L.382,.124L.588,.809"
                 "L0,.4L-.588,.809L-.382,.124L-.951,-.309L-.236,-.325Z",
                 "filled": True, "size": 420, "color": GOLD, "stroke": "#000000",
                 "strokeWidth": 1.2},
        "encoding": {"x": x, "y": y, "tooltip": shown},
    }  # fmt: skip


def _labels(x: Spec, y: Spec) -> list[Spec]:
    """Speeds beside engines: to the left of those in the right half, so that none is cut off."""
    ends = [
        {"op": "max", "field": "time", "as": "slowest"},
        {"op": "min", "field": "time", "as": "fastest"},
    ]
    right = "2 * datum.time > datum.slowest + datum.fastest"
    engine: list[Spec] = [
        {"filter": "datum.what === 'engine' && isValid(datum.time) && isValid(datum.loss)"},
        {"joinaggregate": ends},
    ]
    return [
        _label(x, y, "left", 9, [*engine, {"filter": f"datum.label && !({right})"}]),
        _label(x, y, "right", -8, [*engine, {"filter": f"datum.label && {right}"}]),
        {**_label(x, y, "left", 9, []), "data": {"name": "ships"}},
    ]


def _label(x: Spec, y: Spec, align: str, shift: int, chosen: Sequence[Spec]) -> Spec:
    return {
        "transform": chosen,
        "mark": {"type": "text", "align": align, "dx": shift, "dy": -9, "fontSize": 12,
                 "color": LINE},
        "encoding": {"x": x, "y": y, "text": {"field": "label"}},
    }  # fmt: skip


def _progress(verdicts: Collection[str]) -> Chart:
    x = {
        "field": "build",
        "type": "quantitative",
        "title": "engines built",
        "axis": {"tickMinStep": 1, "format": "d"},
        "scale": {"zero": False, "padding": 10},
    }
    y = {
        "field": "time",
        "type": "quantitative",
        "title": "latency, % of FP32's",
        "scale": {"zero": False, "padding": 10},
    }
    shown = tips("trial", "speed said", "loss said", "verdict", "groups", "why")
    layers: list[Spec] = [
        {
            "data": {"name": "best"},
            "mark": {"type": "line", "interpolate": "step-after", "color": LINE,
                     "strokeWidth": 2},
            "encoding": {"x": x, "y": y},
        },
        {
            "transform": [{"filter": "datum.what === 'engine' && isValid(datum.time)"}],
            "mark": {"type": "point", "filled": True, "size": 90},
            "encoding": {"x": x, "y": y, "color": coloured("verdict", VERDICTS),
                         "tooltip": shown},
        },
    ]  # fmt: skip
    return Chart(
        "progress",
        "The best engine within the bound after each build (line), and what each build gave.",
        spec("trials", 240, layer=layers),
        key=key_of(VERDICTS, verdicts),
    )


def _map(count: int, engines: int, seen: Collection[str]) -> Chart:
    chart = spec(
        "map",
        max(12 * engines, 36),
        mark={"type": "rect", "stroke": "#ffffff", "strokeWidth": 0.4},
        encoding={
            "x": place(count),
            "x2": {"field": "to"},
            "y": {
                "field": "engine",
                "type": "nominal",
                "sort": None,
                "title": None,
                "axis": {**AXIS, "labelOverlap": True},
            },
            "color": coloured("precision", precision_colours()),
            "tooltip": tips("engine", "precision", "groups", "speed", "verdict"),
        },
    )
    return Chart(
        "map",
        "The assignment of every engine, a line each by trial number; the groups are in graph "
        "order, and what is left empty is FP32.",
        chart,
        wide=True,
        key=key_of(precision_colours(), seen),
    )
