"""Shows a run from its journal, while another process writes it or long after."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from precsearch.cli.output.streams import draws, glyphs_of, redrawn
from precsearch.cli.progress.plain_log import PlainLog
from precsearch.cli.progress.render import render
from precsearch.cli.progress.view import View, fold
from precsearch.core.errors import InputError
from precsearch.core.events import Event, PlanWritten, RunStarted, SearchFinished, StageStarted
from precsearch.search.journal import NAME, in_use, read_from

__all__ = ["ENDED", "Tail", "follow", "watch"]

ENDED = "the run has ended without a plan; its command with --resume goes on with it"
_WAIT_S = 0.25


class Tail:
    """What a journal has gained since it was last looked at.

    Attributes:
        path: The journal.
        began: Whether it holds the start of a run.
        written: Whether its last event is that of a run that came to its end.
    """

    def __init__(self, run: Path) -> None:
        self.path = run / NAME if run.is_dir() else run
        self.began = False
        self.written = False
        self._offset = 0

    def events(self) -> Iterator[Event]:
        """The events since the last call; all of them, if the journal was begun anew.

        Raises:
            InputError: It cannot be read, is damaged, or is no journal.
        """
        if self._size() < self._offset:  # optimize --force
            self._offset, self.began = 0, False
        events, self._offset = read_from(self.path, self._offset)
        for event in events:
            if not self.began and not isinstance(event, RunStarted):
                raise InputError(
                    f"{str(self.path)!r} does not begin with a run; name a run's own folder"
                )
            self.began = True
            self.written = isinstance(event, PlanWritten)
            yield event

    def silence(self) -> float:
        """Seconds since it was last written to."""
        try:
            return max(time.time() - self.path.stat().st_mtime, 0.0)
        except OSError:
            return 0.0

    def _size(self) -> int:
        try:
            return self.path.stat().st_size
        except OSError:
            return self._offset


def follow(tail: Tail, sleep: Callable[[float], None] = time.sleep) -> Iterator[Event]:
    """The events of a journal as they come, until its run has ended.

    Raises:
        InputError: The journal cannot be read, is damaged, holds no run, or is no journal.
    """
    while True:
        # Asked before reading: what a run wrote before it ended is read after that.
        alive = in_use(tail.path)
        yield from tail.events()
        if alive and not tail.written:
            sleep(_WAIT_S)
            continue
        if not tail.began:
            raise InputError(f"{str(tail.path)!r} holds no run; name a run's own folder")
        return


class _Shown(Protocol):
    def show(self, event: Event) -> None: ...
    def end(self, *, planned: bool) -> None: ...


class _Lines:
    """Plain lines; the times are those of the search."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._log = PlainLog(glyphs_of(console))
        self._view = View()

    def show(self, event: Event) -> None:
        self._view = _after(self._view, event)
        spent = self._view.search.spent if self._view.search is not None else 0.0
        for line in self._log.lines(event, max(self._view.elapsed - spent, 0.0)):
            self._write(line)

    def end(self, *, planned: bool) -> None:
        if not planned:
            self._write(ENDED)

    def _write(self, line: str) -> None:
        self._console.file.write(f"{line}\n")
        self._console.file.flush()


class _Drawn:
    """A view that redraws itself, and stays once the run has ended."""

    def __init__(self, console: Console, tail: Tail) -> None:
        self._console = console
        self._tail = tail
        self._view = View()

    def show(self, event: Event) -> None:
        self._view = _after(self._view, event)

    def end(self, *, planned: bool) -> None:
        view = self._view
        if not planned:
            over = view.finished or SearchFinished("interrupted", view.builds, view.elapsed)
            last = StageStarted("ended", "without a plan; --resume goes on with it")
            view = replace(view, finished=over, stages=(*view.stages, last), running=())
        self._console.print(self._draw(view, self._console.width, self._console.height, 0.0))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self._draw(self._view, options.max_width, console.height, self._tail.silence())

    def _draw(self, view: View, width: int, height: int, waited: float) -> Text:
        glyphs = glyphs_of(self._console)
        return render(view, width, max(height - 1, 1), glyphs=glyphs, waited=waited)


def _after(view: View, event: Event) -> View:
    """The view after an event; a run that was resumed is not over yet, and keeps its trials."""
    if isinstance(event, RunStarted):
        view = replace(view, written=None, finished=None, finalists=(), stages=(), running=())
        view = replace(view, continued=None)
    return fold(view, event)


@contextmanager
def _shown(console: Console, tail: Tail) -> Iterator[_Shown]:
    if not draws(console):
        yield _Lines(console)
        return
    drawn = _Drawn(console, tail)
    with redrawn(drawn, console):
        yield drawn


def watch(run: Path, console: Console, sleep: Callable[[float], None] = time.sleep) -> None:
    """Show a run until it has ended.

    Args:
        run: Its directory, or its journal.
        console: Where; drawn if it is a terminal that can, else plain lines.
        sleep: Waits between looks at the journal.

    Raises:
        InputError: The journal cannot be read, is damaged, holds no run, or is no journal.
    """
    tail = Tail(run)
    in_use(tail.path)  # a missing journal is said before anything is drawn
    with _shown(console, tail) as shown:
        for event in follow(tail, sleep):
            shown.show(event)
    shown.end(planned=tail.written)
