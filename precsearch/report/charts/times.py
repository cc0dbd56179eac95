"""The charts of where time goes: by engine, and by group."""

from __future__ import annotations

from collections.abc import Collection

from precsearch.core.precision import CONVERSION_COLOUR
from precsearch.report.charts.theme import (
    AXIS,
    Chart,
    Spec,
    coloured,
    key_of,
    place,
    spec,
    time_colours,
    tips,
)

__all__ = ["spent", "times"]

_PLAIN = "#c9d0d6"
_BEHIND = "FP32, behind"


def spent(engines: int, seen: Collection[str]) -> Chart:
    """A bar for each engine, its parts coloured by precision.

    Args:
        engines: How many engines there are.
        seen: The parts that there are.
    """
    made = spec(
        "spent",
        34 * engines,
        mark={"type": "bar", "stroke": "#ffffff", "strokeWidth": 0.6, "height": 22},
        encoding={
            "x": {
                "field": "start",
                "type": "quantitative",
                "title": "microseconds of one inference",
                "scale": {"zero": True, "nice": False},
                "axis": {"tickCount": 5, "labelOverlap": True},
            },
            "x2": {"field": "end"},
            "y": {"field": "engine", "type": "nominal", "title": None, "sort": None},
            "color": coloured("part", time_colours()),
            "tooltip": tips("engine", "part", "time said"),
        },
    )
    says = (
        "The time of one inference, by the precision that it was computed in. Conversions compute "
        "nothing: they change the type or the memory layout of a tensor."
    )
    return Chart("spent", says, made, key=key_of(time_colours(), seen))


def times(count: int, runs: Collection[str], *, converts: bool) -> Chart:
    """What each group takes, in FP32 and in the chosen engine.

    Args:
        count: How many groups there are.
        runs: The precisions that groups ran in.
        converts: Whether any of their time goes into conversions.
    """
    chosen = _bar("computing", count, 0.22)
    chosen["encoding"]["color"] = coloured("runs", time_colours())
    conversions = _bar("chosen", count, 0.22, color=CONVERSION_COLOUR)
    conversions["encoding"]["y2"] = {"field": "computing"}
    layer = [_bar("plain", count, 0.04, color=_PLAIN), conversions, chosen]
    seen = {*runs, *(["conversion"] if converts else [])}
    return Chart(
        "times",
        "Time of each group in microseconds, by the engines' own profiles: FP32 behind, what ships "
        "in front, with its conversions on top. A group without a bar was fused into another.",
        spec("groups", 150, layer=layer),
        wide=True,
        key={_BEHIND: _PLAIN, **key_of(time_colours(), seen)},
    )


def _bar(field: str, count: int, narrow: float, **mark: object) -> Spec:
    """A bar over each group, as high as a field says."""
    shown = {"calculate": f"datum.from + {narrow}", "as": "left"}
    ends = {"calculate": f"datum.to - {narrow}", "as": "right"}
    told = ("group", "plain", "chosen", "conversions", "saved said", "asked", "ran")
    return {
        "transform": [{"filter": f"isValid(datum.{field})"}, shown, ends],
        "mark": {"type": "rect", **mark},
        "encoding": {
            "x": {**place(count), "field": "left"},
            "x2": {"field": "right"},
            "y": {
                "field": field,
                "type": "quantitative",
                "title": None,
                "axis": {**AXIS, "tickCount": 4, "format": "~s"},
            },
            "y2": {"datum": 0},
            "tooltip": tips(*told),
        },
    }
