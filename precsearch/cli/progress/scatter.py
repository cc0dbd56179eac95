"""Loss against latency as a scatter of characters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rich.text import Text

from precsearch.cli.cells import Glyphs, Scale

__all__ = ["MIN_HEIGHT", "MIN_WIDTH", "Point", "sketch"]

MIN_HEIGHT = 5
MIN_WIDTH = 34

_LABEL = 9
_SLOWEST = 1.6
_DECADES = 1.3
"""Losses further than this below or above the bound are drawn at the edge."""
_FARTHEST = 300.0
"""Labels beyond ten to this power would overflow."""


@dataclass(frozen=True, slots=True)
class Point:
    """An engine.

    Attributes:
        ratio: Latency over FP32's, positive and finite.
        loss: Its loss, may be ``inf``.
        passes: Whether it is within the bound.
        best: Whether it is the best one.
    """

    ratio: float
    loss: float
    passes: bool
    best: bool = False


@dataclass(frozen=True, slots=True)
class _Axes:
    """Where values are on a canvas of ``width`` by ``height`` cells."""

    left: float
    right: float
    low: float
    high: float
    width: int
    height: int

    def column(self, ratio: float) -> int:
        return _cell((ratio - self.left) / (self.right - self.left), self.width)

    def row(self, loss: float) -> int:
        """Row of a loss, 0 is the top."""
        level = _log(loss)
        return self.height - 1 - _cell((level - self.low) / (self.high - self.low), self.height)


def _cell(part: float, cells: int) -> int:
    return round(min(max(part, 0.0), 1.0) * (cells - 1))


def _log(loss: float) -> float:
    if math.isnan(loss):
        return math.inf
    return math.log10(loss) if loss > 0 else -math.inf


def _axes(points: Sequence[Point], bound: float, width: int, height: int) -> _Axes:
    ratios = [min(p.ratio, _SLOWEST) for p in points]
    left, right = min([*ratios, 1.0]), max([*ratios, 1.0])
    if right - left < 0.1:
        left -= 0.1
    levels = [v for p in points if math.isfinite(v := _log(p.loss))]
    middle = _log(bound) if bound > 0 else max(levels, default=0.0)
    middle = min(max(middle, -_FARTHEST), _FARTHEST)
    low = max(min([*levels, middle - 0.5]), middle - _DECADES)
    high = min(max([*levels, middle + 0.5]), middle + _DECADES)
    return _Axes(left, right, low, high, width, height)


def sketch(
    points: Sequence[Point], bound: float, width: int, height: int, scale: Scale
) -> tuple[Text, ...]:
    """Draw engines: left is faster, down is more accurate, the line is the bound.

    Args:
        points: Engines; the best is drawn on top, then those that pass.
        bound: The bound on the loss.
        width: Cells, at least `MIN_WIDTH`.
        height: Lines with the axis, at least `MIN_HEIGHT`.
        scale: How losses are written.

    Returns:
        Exactly ``height`` lines, none longer than ``width``.
    """
    glyphs = scale.glyphs
    axes = _axes(points, bound, width - _LABEL - 1, height - 1)
    cells = [[(" ", "")] * axes.width for _ in range(axes.height)]
    line = axes.row(bound)
    cells[line] = [(glyphs.bound, "dim yellow")] * axes.width
    for point in sorted(points, key=lambda p: (p.best, p.passes)):
        row = axes.row(point.loss)
        # The grid is coarse; on which side of the line a point is must be true all the same.
        if not point.loss <= bound:
            row = min(row, max(line - 1, 0))
        elif point.passes:
            row = max(row, min(line + 1, axes.height - 1))
        cells[row][axes.column(point.ratio)] = _mark(point, bound, glyphs)
    labels = {
        0: scale(10**axes.high, 2),
        axes.height - 1: scale(10**axes.low, 2),
        line: "bound",
    }
    lines = []
    for number, symbols in enumerate(cells):
        text = Text(no_wrap=True)
        text.append(labels.get(number, "")[:_LABEL].rjust(_LABEL), style="dim")
        text.append(glyphs.axis, style="dim")
        for symbol, style in symbols:
            text.append(symbol, style=style)
        lines.append(text)
    return (*lines, _time_axis(axes))


def _mark(point: Point, bound: float, glyphs: Glyphs) -> tuple[str, str]:
    if point.best:
        return glyphs.best, "bold green"
    if point.passes:
        return glyphs.within, "green"
    return glyphs.over, "yellow" if point.loss <= bound else "red"


def _time_axis(axes: _Axes) -> Text:
    left, right = f"{axes.left * 100:.0f} %", f"{axes.right * 100:.0f} %"
    title = "latency relative to FP32"
    room = axes.width - len(left) - len(right)
    middle = title.center(room) if room > len(title) else " " * max(room, 1)
    return Text(" " * (_LABEL + 1) + left + middle + right, style="dim", no_wrap=True)
