"""The one place where errors become sentences and exit codes; `start` is the entry point."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress

import typer
from rich.text import Text

from precsearch.cli import start
from precsearch.cli.commands import app
from precsearch.cli.exit_codes import Exit, stopped
from precsearch.cli.output.streams import owned, stderr
from precsearch.core.errors import (
    InputError,
    OutputError,
    PrecsearchError,
    ReplayError,
    ResourceError,
)
from precsearch.system.faults import machine_fault
from precsearch.system.interrupts import heard
from precsearch.system.printable import clean

__all__ = ["flushed", "main", "run"]

_TRACEBACK = "PRECSEARCH_TRACEBACK"
_UsageError: type[Exception] = typer.BadParameter.__mro__[2]
"""What typer raises for a command line that it cannot read; each typer keeps it elsewhere."""


def main(argv: Sequence[str] | None = None) -> None:
    """Run a command line and end the process with its exit code."""
    start.main(argv)


def run(argv: Sequence[str]) -> Exit:
    """Run a command line.

    Args:
        argv: Arguments without the program's name.

    Returns:
        The exit code; whatever went wrong was said on stderr.
    """
    try:
        action = app(list(argv), prog_name="precsearch", standalone_mode=False)
        if not callable(action):
            if action == Exit.INTERRUPTED:  # Typer's own; which signal it was, we know better
                return _interrupted()
            return Exit(action or 0)
        with owned():
            return Exit(action())
    except (InputError, ResourceError) as error:
        _say(str(error))
        return Exit.INPUT
    except ReplayError as error:
        _say(str(error))
        return Exit.REPLAY
    except (KeyboardInterrupt, typer.Abort):
        return _interrupted()
    except BrokenPipeError:
        return Exit.PIPE
    except _UsageError as error:
        return _misused(error)
    except Exception as error:  # noqa: BLE001 - the last resort, and the only one
        if fault := machine_fault(error):
            _say(fault)
            return Exit.INPUT
        return _bug(error)


def _interrupted() -> Exit:
    heard()
    with suppress(OSError):
        stderr().print("interrupted", style="yellow", highlight=False)
    return stopped()


def flushed(code: Exit) -> Exit:
    """Write what is left of the results; gives the exit code with that taken into account."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        return Exit.PIPE
    except OutputError as error:
        _say(str(error))
        return code or Exit.INPUT
    return code


def _say(message: str) -> None:
    text = Text.assemble(("error: ", "bold red"), clean(message))
    with suppress(OSError):  # nobody reads it
        stderr().print(text, soft_wrap=True, highlight=False)


def _misused(error: Exception) -> Exit:
    """A command line that typer refused."""
    describe = getattr(error, "format_message", error.__str__)
    message: str = describe()
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "precsearch"
    if message.strip():
        plain = message.strip().rstrip(".")
        _say(f"{plain[0].lower()}{plain[1:]}; see '{command} --help'")
    return Exit.INPUT


def _bug(error: Exception) -> Exit:
    """What should not have happened: an exception that nobody meant for the user."""
    traceback_wanted = os.environ.get(_TRACEBACK) == "1"
    if traceback_wanted:
        traceback.print_exception(error)
    message = str(error).strip() or "no message"
    what = message if isinstance(error, PrecsearchError) else f"{type(error).__name__}: {message}"
    _say(what)
    known = isinstance(error, PrecsearchError)
    blame = "If the model runs elsewhere, this is" if known else "This is"
    which = "this traceback" if traceback_wanted else f"the traceback that {_TRACEBACK}=1 shows"
    hint = f"{blame} a bug in precsearch; please report it with {which}."
    with suppress(OSError):
        stderr().print(hint, soft_wrap=True, highlight=False)
    return Exit.BUG


if __name__ == "__main__":
    main()
