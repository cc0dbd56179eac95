"""Symbols that a display can show, and text that is safe to show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["ASCII", "UNICODE", "Glyphs", "clean", "first_of"]


@dataclass(frozen=True, slots=True)
class Glyphs:
    """The symbols of a display; `ASCII` is for terminals that cannot show the others."""

    spinner: str = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
    full: str = "━"
    empty: str = "─"
    dot: str = "·"
    ellipsis: str = "…"
    plus_minus: str = "±"
    at_most: str = "≤"
    at_least: str = "≥"
    done: str = "✓"
    bad: str = "✗"
    best: str = "★"
    within: str = "●"
    over: str = "○"
    bound: str = "┄"
    axis: str = "│"
    arrow: str = "→"


UNICODE = Glyphs()
ASCII = Glyphs(
    spinner="|/-\\",
    full="#",
    empty="-",
    dot="-",
    ellipsis="...",
    plus_minus="+-",
    at_most="<=",
    at_least=">=",
    done="+",
    bad="!",
    best="*",
    within="o",
    over="x",
    bound="-",
    axis="|",
    arrow="->",
)


def clean(text: str) -> str:
    """One line without control characters: names in models and plug-ins' reasons are foreign."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else " " if c.isspace() else "?" for c in text)


def first_of(parts: Sequence[str], most: int, between: str = ", ") -> str:
    """``a, b and 3 more``: the first ``most`` of several parts, and how many others there are."""
    others = len(parts) - most
    return between.join(parts[:most]) + (f" and {others} more" if others > 0 else "")
