"""Events on their way from a run to whoever shows them: interrupts and broken pipes."""

from collections.abc import Generator

import pytest

from precsearch.cli.progress.live import consume
from precsearch.core.events import Event, Warned


class Recorder:
    """Shows nothing, and fails at the first event."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error
        self.stopped = 0

    def show(self, event: Event) -> None:
        if self.error is not None:
            error, self.error = self.error, None
            raise error

    def stopping(self) -> None:
        self.stopped += 1


def interruptible() -> Generator[Event, None, str]:
    try:
        yield Warned("one")
        yield Warned("two")
    except KeyboardInterrupt:
        yield Warned("last")
        return "wrapped up"
    return "ended"


def test_an_interrupt_of_the_display_reaches_the_run() -> None:
    show = Recorder(KeyboardInterrupt())
    assert consume(interruptible(), show) == "wrapped up"
    assert show.stopped == 1


def test_a_broken_pipe_ends_the_run_in_order() -> None:
    with pytest.raises(BrokenPipeError):
        consume(interruptible(), Recorder(BrokenPipeError()))


def test_a_pipe_of_the_run_itself_is_not_our_reader() -> None:
    def broken() -> Generator[Event, None, str]:
        yield Warned("one")
        raise BrokenPipeError

    with pytest.raises(RuntimeError, match="within the run"):
        consume(broken(), Recorder(None))


def test_an_interrupt_before_anything_is_worth_keeping() -> None:
    def early() -> Generator[Event, None, str]:
        yield Warned("one")
        raise KeyboardInterrupt

    show = Recorder(None)
    with pytest.raises(KeyboardInterrupt):
        consume(early(), show)
    assert show.stopped == 0
