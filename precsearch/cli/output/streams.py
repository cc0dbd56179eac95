"""stdout and stderr as rich consoles, and the symbols that they can show.

stdout belongs to precsearch: `owned` keeps a stream of our own for results, and whatever else
prints (a user's metric, a strategy, a library) does so on stderr. File descriptor 1 itself is
moved away before any library is loaded, see `precsearch.cli.start`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import TextIO

from rich.console import Console, RenderableType
from rich.live import Live

from precsearch.system.printable import ASCII, UNICODE, Glyphs

__all__ = ["draws", "glyphs_of", "owned", "redrawn", "stderr", "stdout"]

_REFRESHES = 8.0


class _Stream(Console):
    """A console that leaves a closed pipe to the caller; rich's own ends the process."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


_results: list[TextIO] = []
"""The stream of our own, while there is one."""


@contextmanager
def owned() -> Iterator[None]:
    """Only `stdout` writes to stdout while the context lasts."""
    _results.append(sys.stdout)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        _results.pop()


def stdout() -> Console:
    """Where results go."""
    return _Stream(file=_results[-1] if _results else sys.stdout)


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
