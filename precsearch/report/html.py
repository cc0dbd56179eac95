"""Pieces of HTML. Whatever comes from a model, a plan or a journal is escaped here."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files

from precsearch.core.precision import Precision
from precsearch.formatting import clean
from precsearch.report.charts.javascript import javascript
from precsearch.report.charts.theme import Chart

__all__ = [
    "Cell",
    "embedded",
    "facts",
    "figure",
    "label_colours",
    "name",
    "page",
    "precision",
    "table",
    "text",
]

_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; "
    "img-src data:; base-uri 'none'; form-action 'none'"
)
"""The browser itself keeps the page from the network. Vega compiles expressions with `Function`."""
_CREDIT = (
    "Charts: Vega, Vega-Lite and Vega-Embed, Copyright (c) University of Washington Interactive "
    "Data Lab and contributors, BSD-3-Clause (https://vega.github.io)."
)
_CONTRAST = 3.0
_WIDEST = 4.0
"""Pixels that a group gets at least in a chart that scrolls."""


@dataclass(frozen=True, slots=True)
class Cell:
    """HTML that is safe as it stands, and how its column is set.

    Attributes:
        html: The HTML.
        kind: ``number``, ``name``, ``text`` or nothing.
    """

    html: str
    kind: str = ""

    def __str__(self) -> str:
        return self.html


def text(value: object, kind: str = "") -> Cell:
    """Foreign text, on one line."""
    return Cell(escape(clean(str(value))), kind)


def name(value: str) -> Cell:
    """A group, tensor or file."""
    return Cell(f"<code>{text(value)}</code>", "name")


def precision(value: str) -> Cell:
    """A precision in its colour."""
    return Cell(f'<span class="precision {text(value)}">{text(value)}</span>')


def facts(rows: Iterable[tuple[str, object]]) -> str:
    """Labels and values; a `Cell` is taken as it is, empty values are left out."""
    shown = [(label, v if isinstance(v, Cell) else text(v)) for label, v in rows if str(v)]
    return f"<dl>{''.join(f'<dt>{text(k)}</dt><dd>{v}</dd>' for k, v in shown)}</dl>"


def table(
    titles: Sequence[str],
    rows: Sequence[Sequence[Cell]],
    ident: str,
    marked: frozenset[int] = frozenset(),
) -> str:
    """A table that scrolls sideways on a narrow screen.

    Args:
        titles: Of the columns.
        rows: Their cells.
        ident: Of the element.
        marked: Positions of rows to stress.
    """
    kinds = [cell.kind for cell in rows[0]] if rows else [""] * len(titles)
    head = "".join(
        f'<th class="{kind}">{text(title)}</th>' for title, kind in zip(titles, kinds, strict=True)
    )
    body = []
    for place, row in enumerate(rows):
        cells = "".join(
            f'<td class="{c.kind}">{c}</td>' if c.kind else f"<td>{c}</td>" for c in row
        )
        body.append(f"<tr{' class=chosen' if place in marked else ''}>{cells}</tr>")
    inner = f"<thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody>"
    return f'<div class="scroll"><table id="{ident}">{inner}</table></div>'


def figure(chart: Chart | None, groups: int = 0) -> str:
    """A chart with its sentence, and its specification; nothing for no chart."""
    if chart is None:
        return ""
    width = f' style="min-width:{groups * _WIDEST:.0f}px"' if chart.wide else ""
    return (
        f"<figure><figcaption>{text(chart.says)}{_key(chart)}</figcaption>"
        f'<div class="scroll"><div class="chart"{width} data-chart="{chart.name}" role="img" '
        f'aria-label="{text(chart.says)}"></div></div>'
        f"{embedded(f'spec-{chart.name}', chart.spec)}</figure>"
    )


def _key(chart: Chart) -> str:
    marks = (
        f'<span class="key"><i style="background:{colour}"></i>{text(said)}</span>'
        for said, colour in chart.key.items()
    )
    return f'<div class="keys">{"".join(marks)}</div>' if chart.key else ""


def embedded(ident: str, data: object) -> str:
    """Data as JSON inside an element that no content of it can end."""
    said = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    safe = said.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    return f'<script type="application/json" id="{ident}">{safe}</script>'


def page(title: str, body: str, rows: Mapping[str, Sequence[object]]) -> str:
    """The whole file.

    Raises:
        OptionError: The package that draws is not installed.
    """
    script, style, start = javascript(), _resource("page.css"), _resource("page.js")
    return "\n".join(
        (
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<link rel="icon" href="data:,">',
            f"<title>{text(title)}</title>",
            f"<style>{style}{label_colours()}</style></head><body>",
            body,
            embedded("rows", rows),
            f"<!-- {_CREDIT} -->",
            f"<script>{script}</script>",
            f"<script>{start}</script>",
            "</body></html>\n",
        )
    )


def label_colours() -> str:
    """Style of the labels of precisions: each colour, dark enough for white letters."""
    rules = (
        f".precision.{p} {{ background: {_dark(p.spec.colour)}; }}" for p in Precision.ordered()
    )
    return "\n".join(rules)


def _dark(colour: str) -> str:
    """A colour, darkened until white letters have a contrast of 3 to 1 (WCAG 2.1, 1.4.11)."""
    parts = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    while (1.05 / (_luminance(parts) + 0.05)) < _CONTRAST:
        parts = [part * 9 // 10 for part in parts]
    return "#" + "".join(f"{part:02x}" for part in parts)


def _luminance(parts: Sequence[int]) -> float:
    """Relative luminance of red, green and blue (WCAG 2.1)."""
    linear = [p / 255 / 12.92 if p <= 10 else ((p / 255 + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def _resource(name: str) -> str:
    return (files("precsearch.report") / name).read_text(encoding="utf-8")
