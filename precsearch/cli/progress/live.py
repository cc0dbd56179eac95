"""Shows a run while it goes on: a live view, plain lines or JSON lines."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from inspect import GEN_CLOSED, getgeneratorstate
from typing import Protocol, TypeVar

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from precsearch.cli.cells import Glyphs
from precsearch.cli.output.streams import draws, glyphs_of, redrawn
from precsearch.cli.progress.plain_log import PlainLog
from precsearch.cli.progress.render import render
from precsearch.cli.progress.view import View, fold
from precsearch.codec import dumps, unstructure
from precsearch.core.errors import OutputError
from precsearch.core.events import Event, SearchStarted
from precsearch.system.interrupts import check, heard, telling

__all__ = ["JsonLines", "Show", "consume", "progress"]

Result = TypeVar("Result")


class Show(Protocol):
    """Where events go."""

    def show(self, event: Event) -> None:
        """Show one more event."""
        ...

    def stopping(self) -> None:
        """The user asked to stop."""
        ...


class JsonLines:
    """Each event as one JSON object with its name under ``type``, as in the journal."""

    def __init__(self, console: Console) -> None:
        self._file = console.file

    def show(self, event: Event) -> None:
        """See `Show.show`."""
        self._write(unstructure(event, Event))

    def result(self, fields: Mapping[str, object]) -> None:
        """Write the last line, of type ``Result``."""
        self._write({"type": "Result", **fields})

    def _write(self, data: object) -> None:
        self._file.write(f"{dumps(data)}\n")
        self._file.flush()

    def stopping(self) -> None:
        """See `Show.stopping`; the last events tell it themselves."""


class _Plain:
    """Lines as they come."""

    def __init__(self, console: Console, clock: Callable[[], float]) -> None:
        self._console = console
        self._clock = clock
        self._started = clock()
        self._log = PlainLog(glyphs_of(console))

    def show(self, event: Event) -> None:
        for line in self._log.lines(event, self._clock() - self._started):
            self._write(line)

    def stopping(self) -> None:
        self._write("stopping: writing the best plan so far")

    def _write(self, line: str) -> None:
        self._console.file.write(f"{line}\n")
        self._console.file.flush()


class _Drawn:
    """A view that redraws itself; what `rich.live.Live` is given."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._view = View()
        self._started = self._since = clock()

    def show(self, event: Event) -> None:
        after = fold(self._view, event)
        # What moves between events goes on from the last time that one told.
        if after.elapsed != self._view.elapsed:
            self._since = self._clock()
        self._view = after

    def stopping(self) -> None:
        self._view = replace(self._view, stopping=True)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self.draw(options.max_width, console.height, glyphs_of(console))

    def draw(self, width: int, height: int, glyphs: Glyphs) -> Text:
        """The view now. One line stays free, so that the terminal does not scroll."""
        now = self._clock()
        spent = self._view.search.spent if self._view.search is not None else 0.0
        return render(
            self._view,
            width,
            max(height - 1, 1),
            glyphs=glyphs,
            waited=now - self._since,
            clock=now - self._started + spent,
        )


@contextmanager
def progress(console: Console, clock: Callable[[], float] = time.monotonic) -> Iterator[Show]:
    """Progress on ``console``: drawn if it is a terminal that can, else plain lines."""
    if not draws(console):
        yield _Plain(console, clock)
        return
    drawn = _Drawn(clock)
    with redrawn(drawn, console):
        yield drawn


def consume(events: Generator[Event, None, Result], show: Show) -> Result:
    """Show every event and return the generator's result.

    An interrupt that arrives here is handed to the generator, which then ends in order. So is the
    end of whoever read our output, once the search has begun: nobody sees the rest, but a plan is
    still written. A screen or a file that takes no more text ends nothing.

    Raises:
        BrokenPipeError: The reader went away; the generator has ended.
        OutputError: The events could not be written; the generator has ended.
        KeyboardInterrupt: The generator would not end in order.
        RuntimeError: A pipe broke that is the generator's own, not our reader's.
    """
    once = _Once(show.stopping)
    gone: BrokenPipeError | OutputError | None = None
    stop = searching = False
    with telling(once):
        while True:
            try:
                event = events.throw(KeyboardInterrupt()) if stop else next(events)
                stop = False
            except StopIteration as end:
                if gone is not None:
                    raise gone from None
                result: Result = end.value
                return result
            except KeyboardInterrupt:
                if getgeneratorstate(events) == GEN_CLOSED:
                    raise
                stop = True
                continue
            except BrokenPipeError as error:
                raise RuntimeError("a pipe within the run broke") from error
            searching = searching or isinstance(event, SearchStarted)
            try:
                if gone is None:
                    show.show(event)
                check()
            except KeyboardInterrupt:
                heard()
                stop = True
                once()
            except (BrokenPipeError, OutputError) as error:
                gone = error
            if isinstance(gone, BrokenPipeError) and searching and not once.done:
                once.done = stop = True  # whoever could be told has gone


class _Once:
    """Calls something at most once."""

    def __init__(self, call: Callable[[], None]) -> None:
        self._call = call
        self.done = False

    def __call__(self) -> None:
        if not self.done:
            self.done = True
            self._call()
