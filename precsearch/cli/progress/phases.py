"""The phases of a run, and which of them are done."""

from __future__ import annotations

from rich.text import Text

from precsearch.cli.progress.view import View
from precsearch.system.printable import Glyphs

__all__ = ["PHASES", "current_phase", "phase_line"]

PHASES = ("prepare", "measure FP32", "search", "confirm", "write the plan")
_PREPARE, _FP32, _SEARCH, _CONFIRM, _WRITE = range(len(PHASES))


def current_phase(view: View) -> int:
    """The position in `PHASES` of what goes on; their number once the plan is written.

    A search that continues after a miss on the holdout is a search again.
    """
    if view.written is not None:
        return len(PHASES)
    if view.search is not None:
        if view.finished is None:
            return _SEARCH
        return _WRITE if view.stopping else _CONFIRM
    at_baseline = bool(view.stages) and view.stages[-1].stage == "baseline"
    return _FP32 if at_baseline else _PREPARE


def phase_line(view: View, glyphs: Glyphs) -> Text:
    """``✓ prepare · ✓ measure FP32 · search · confirm · write the plan``."""
    at = current_phase(view)
    parts: list[Text] = []
    for place, name in enumerate(PHASES):
        if place < at:
            parts.append(Text.assemble((f"{glyphs.done} ", "green"), name))
        else:
            parts.append(Text(name, style="bold cyan" if place == at else "dim"))
    return Text(f" {glyphs.dot} ", style="dim").join(parts)
