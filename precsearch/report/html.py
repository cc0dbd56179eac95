"""Pages by Jinja's templates, which escape whatever comes from a model, a plan or a journal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from precsearch.core.errors import OptionError
from precsearch.core.precision import Precision
from precsearch.formatting import clean
from precsearch.report.charts.javascript import javascript

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["Cell", "Table", "facts", "label_colours", "name", "page", "precision", "render", "text"]

_CONTRAST = 4.5


@dataclass(frozen=True, slots=True)
class Cell:
    """A value in a table, and how it is shown.

    Attributes:
        value: Text, foreign or not.
        kind: How its column is set: ``number``, ``name``, ``text`` or nothing.
        form: ``code``, ``precision`` or nothing.
    """

    value: str
    kind: str = ""
    form: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A table that scrolls sideways on a narrow screen.

    Attributes:
        ident: Of the element.
        label: What it is, for those who hear it.
        titles: Of the columns.
        rows: Their cells.
        marked: Positions of rows to stress.
    """

    ident: str
    label: str
    titles: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    marked: frozenset[int] = frozenset()

    @property
    def columns(self) -> list[tuple[str, str]]:
        """Title and kind of each column."""
        kinds = [c.kind for c in self.rows[0]] if self.rows else [""] * len(self.titles)
        return list(zip(self.titles, kinds, strict=True))


def text(value: object, kind: str = "") -> Cell:
    """Foreign text, on one line."""
    return Cell(clean(str(value)), kind)


def name(value: str) -> Cell:
    """A group, tensor or file."""
    return Cell(clean(value), "name", "code")


def precision(value: str) -> Cell:
    """A precision in its colour."""
    return Cell(clean(value), "", "precision")


def facts(rows: Iterable[tuple[str, object]]) -> list[tuple[str, Cell]]:
    """Labels and values; a `Cell` is taken as it is, empty values are left out."""
    cells = [(label, v if isinstance(v, Cell) else text(v)) for label, v in rows]
    return [(label, cell) for label, cell in cells if cell.value]


def page(template: str, rows: Mapping[str, Sequence[object]], **given: object) -> str:
    """A whole file.

    Args:
        template: Its name.
        rows: What the charts draw, by name.
        given: What else the template takes; ``title`` among it.

    Raises:
        OptionError: A package that draws is not installed.
    """
    from markupsafe import Markup  # as Jinja, see `_environment`

    return render(
        template,
        rows=rows,
        vega=Markup(javascript()),
        start=Markup(_resource("page.js")),
        style=Markup(_resource("page.css") + label_colours()),
        **given,
    )


def render(template: str, **given: object) -> str:
    """A template with its values.

    Raises:
        OptionError: Jinja is not installed; the message names the extra.
    """
    found: str = _environment().get_template(template).render(given)
    return found


@cache
def _environment() -> Environment:
    try:
        import jinja2
    except ImportError as error:
        raise OptionError(
            "a report is made with Jinja, which is not installed; "
            "run: pip install 'precsearch[report]'"
        ) from error
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("precsearch.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_on_one_line,
    )
    environment.policies["json.dumps_kwargs"] = {
        "ensure_ascii": False,
        "allow_nan": False,
        "separators": (",", ":"),
    }
    return environment


def _on_one_line(value: object) -> object:
    """Text without control characters; markup of a template stays as it is."""
    return value if hasattr(value, "__html__") or not isinstance(value, str) else clean(value)


def label_colours() -> str:
    """Style of the labels of precisions: each colour, dark enough for white letters."""
    rules = (
        f".precision.{p} {{ background: {_dark(p.spec.colour)}; }}" for p in Precision.ordered()
    )
    return "\n".join(rules)


def _dark(colour: str) -> str:
    """A colour, darkened until white letters have a contrast of 4.5 to 1 (WCAG 2.1, 1.4.3)."""
    parts = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    while (1.05 / (_luminance(parts) + 0.05)) < _CONTRAST:
        parts = [part * 9 // 10 for part in parts]
    return "#" + "".join(f"{part:02x}" for part in parts)


def _luminance(parts: Sequence[int]) -> float:
    """Relative luminance of red, green and blue (WCAG 2.1)."""
    linear = [p / 255 / 12.92 if p <= 10 else ((p / 255 + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def _resource(file: str) -> str:
    return (files("precsearch.report") / file).read_text(encoding="utf-8")
