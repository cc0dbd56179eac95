"""Exit codes of the command."""

from __future__ import annotations

from enum import IntEnum

from precsearch.system.interrupts import stopped_by

__all__ = ["Exit", "stopped"]


class Exit(IntEnum):
    """Exit codes."""

    DONE = 0
    BUG = 1
    INPUT = 2
    UNMET = 3
    REPLAY = 4
    HUNG_UP = 129
    """SIGHUP: the terminal went away."""
    INTERRUPTED = 130
    """SIGINT, Ctrl-C."""
    PIPE = 141
    """Whoever read our output went away; what a shell reports for SIGPIPE."""
    TERMINATED = 143
    """SIGTERM."""


def stopped() -> Exit:
    """The exit code of a run that was asked to stop: by which signal, where that is known."""
    number = stopped_by()
    return Exit(128 + number) if number else Exit.INTERRUPTED
