"""What all charts share: colours, axes, the line of the bound."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from precsearch.core.precision import CONVERSION_COLOUR, Precision
from precsearch.core.problem import Bound
from precsearch.report.charts.rows import scale_of
from precsearch.report.engine_time import CONVERSION, NO_GROUP, NOT_KNOWN

__all__ = [
    "AXIS",
    "FAINT",
    "GOLD",
    "LINE",
    "VERDICTS",
    "Chart",
    "Spec",
    "coloured",
    "key_of",
    "latencies",
    "losses",
    "place",
    "precision_colours",
    "rule",
    "spec",
    "time_colours",
    "tips",
]

Spec = dict[str, Any]

VERDICTS = {
    "pass": "#009e73",
    "too close": "#e69f00",
    "over bound": "#d55e00",
    "not finite": "#7b3294",
    "other size": "#cc79a7",
    "failed": "#000000",
}
LINE, _BOUND, GOLD, FAINT = "#33414d", "#d55e00", "#f0c419", "#b4bec6"
_CONFIG: Spec = {
    "font": "system-ui, sans-serif",
    "view": {"stroke": "#d9dde0"},
    "axis": {"labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal"},
    "title": {"anchor": "start", "fontSize": 13, "fontWeight": "normal", "color": LINE},
}


# Equal widths of the axes keep the same group under itself in each chart of the strip.
AXIS = {"minExtent": 46, "maxExtent": 46}


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart and its place in the page.

    Attributes:
        name: Of the figure.
        says: What it shows, a sentence or two for people, also those who do not see it.
        spec: The specification.
        wide: Whether it grows with the number of groups, and scrolls.
        key: Colour by what it stands for.
    """

    name: str
    says: str
    spec: Spec
    wide: bool = False
    key: Mapping[str, str] = field(default_factory=dict)


def precision_colours() -> dict[str, str]:
    """Colour of each precision, the most precise first, and of groups without one."""
    found = {p.value: p.spec.colour for p in Precision.ordered()}
    return {**found, "no choice": "#d9dde0", "not known": "#ffffff"}


def time_colours() -> dict[str, str]:
    """Colour of each part of an engine's time."""
    found = {p.value: p.spec.colour for p in Precision.ordered()}
    return {**found, CONVERSION: CONVERSION_COLOUR, NO_GROUP: "#d9dde0", NOT_KNOWN: "#ffffff"}


def spec(data: str, height: int, **more: object) -> Spec:
    """A chart as wide as its place in the page, over the rows of a name."""
    return {
        "data": {"name": data},
        "width": "container",
        "height": height,
        "autosize": {"type": "fit-x", "contains": "padding"},
        "config": _CONFIG,
        **more,
    }


def tips(*fields: str) -> list[Spec]:
    """What is shown of a row on hover."""
    return [{"field": f, "type": "nominal", "title": f.removesuffix(" said")} for f in fields]


def coloured(value: str, colours: Mapping[str, str]) -> Spec:
    """A colour by the value of a field. The page itself says which: its lines wrap."""
    scale = {"domain": list(colours), "range": list(colours.values())}
    return {"field": value, "type": "nominal", "scale": scale, "legend": None}


def key_of(colours: Mapping[str, str], seen: Collection[str]) -> Mapping[str, str]:
    """What the page says about colours: those of the values that there are."""
    return {name: colour for name, colour in colours.items() if name in seen}


def latencies(**more: object) -> Spec:
    """The horizontal axis of every chart of engines: share of FP32's time."""
    return {
        "field": "time",
        "type": "quantitative",
        "title": "latency, % of FP32's (left is faster)",
        "scale": {"zero": False, "padding": 12},
        **more,
    }


def losses(span: tuple[float, float], title: str | None, bound: Bound | None) -> Spec:
    """A logarithmic axis of losses."""
    unit = f" ({bound.metric})" if bound is not None else ""
    return {
        "type": "quantitative",
        "title": None if title is None else f"{title}{unit}",
        "scale": {"type": "log", "domain": list(span), "clamp": True, "nice": False},
        "axis": {"format": "~g", "tickCount": 5, "grid": True},
    }


def rule(bound: Bound | None) -> list[Spec]:
    """The bound as a dashed line with its name."""
    if bound is None or bound.tolerance <= 0:
        return []
    said = f"bound: {scale_of(bound).bound(bound.tolerance)}"
    at = {"datum": bound.tolerance, "type": "quantitative"}
    one = {"values": [{"said": said}]}
    line = {"type": "rule", "strokeDash": [5, 4], "color": _BOUND, "strokeWidth": 1.5}
    text = {"type": "text", "align": "left", "dx": 4, "dy": -6, "color": _BOUND, "fontSize": 12}
    return [
        {"data": one, "mark": line, "encoding": {"y": at}},
        {
            "data": one,
            "mark": text,
            "encoding": {"y": at, "x": {"value": 0}, "text": {"field": "said"}},
        },
    ]


def place(count: int) -> Spec:
    """The groups from left to right."""
    return {
        "field": "from",
        "type": "quantitative",
        "scale": {"domain": [0, max(count, 1)], "nice": False, "zero": False},
        "axis": {"labels": False, "ticks": False, "grid": False, "title": None, "domain": False},
    }
