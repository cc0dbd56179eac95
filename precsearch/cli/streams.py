"""stdout and stderr as rich consoles, and the symbols that they can show."""

from __future__ import annotations

import sys

from rich.console import Console

from precsearch.cli.text import ASCII, UNICODE, Glyphs

__all__ = ["glyphs_of", "stderr", "stdout"]


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
