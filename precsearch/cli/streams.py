"""stdout and stderr as rich consoles, and the symbols that they can show."""

from __future__ import annotations

import sys

from rich.console import Console, RenderableType
from rich.live import Live

from precsearch.cli.text import ASCII, UNICODE, Glyphs

__all__ = ["draws", "glyphs_of", "redrawn", "stderr", "stdout"]

_REFRESHES = 8.0


class _Stream(Console):
    """A console that leaves a closed pipe to the caller; rich's own ends the process."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def stdout() -> Console:
    """Where results go."""
    return _Stream(file=sys.stdout)


def stderr() -> Console:
    """Where progress and errors go."""
    return _Stream(file=sys.stderr)


def glyphs_of(console: Console) -> Glyphs:
    """The symbols that a console can show."""
    return UNICODE if console.encoding.lower().startswith("utf") else ASCII


def draws(console: Console) -> bool:
    """Whether it is a terminal that can be drawn over."""
    return console.is_terminal and not console.is_dumb_terminal


def redrawn(view: RenderableType, console: Console) -> Live:
    """Draws a view again and again while the context lasts, and takes it away at its end."""
    return Live(
        view,
        console=console,
        refresh_per_second=_REFRESHES,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
        vertical_overflow="crop",
    )
