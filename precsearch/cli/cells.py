"""How things are said, and what only a terminal needs: text that fits its cells."""

from __future__ import annotations

from rich.cells import cell_len, set_cell_size

from precsearch.formatting import (
    ASCII,
    UNICODE,
    Glyphs,
    Scale,
    clean,
    counts,
    duration,
    magnitude,
    many,
    milliseconds,
    number,
    speedup,
    speedup_interval,
)

__all__ = [
    "ASCII",
    "UNICODE",
    "Glyphs",
    "Scale",
    "clean",
    "counts",
    "duration",
    "magnitude",
    "many",
    "middle",
    "milliseconds",
    "number",
    "speedup",
    "speedup_interval",
]


def middle(text: str, width: int, glyphs: Glyphs = UNICODE) -> str:
    """At most ``width`` terminal cells of ``text``; what is left out is in its middle."""
    if cell_len(text) <= width:
        return text
    room = width - len(glyphs.ellipsis)
    if room < 2:
        return set_cell_size(text, max(width, 0)).rstrip()
    front = set_cell_size(text, (room + 1) // 2).rstrip()
    back = set_cell_size(text[::-1], room // 2).rstrip()[::-1]
    return f"{front}{glyphs.ellipsis}{back}"
