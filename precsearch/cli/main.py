"""The entry point, and the one place where errors become sentences and exit codes."""

from __future__ import annotations

import io
import os
import sys
import traceback
from collections.abc import Sequence

import typer
from rich.text import Text

from precsearch.cli.actions import Exit
from precsearch.cli.commands import app
from precsearch.cli.streams import stderr
from precsearch.cli.text import clean
from precsearch.errors import InputError, PrecsearchError, ReplayError

__all__ = ["main", "run"]

_TRACEBACK = "PRECSEARCH_TRACEBACK"
_UsageError: type[Exception] = typer.BadParameter.__mro__[2]
"""What typer raises for a command line that it cannot read; each typer keeps it elsewhere."""


def main(argv: Sequence[str] | None = None) -> None:
    """Run a command line and end the process with its exit code."""
    _forgive_encodings()
    code = run(sys.argv[1:] if argv is None else argv)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = Exit.PIPE
    if code is Exit.PIPE:
        _swallow_output()
    sys.exit(int(code))


def run(argv: Sequence[str]) -> Exit:
    """Run a command line.

    Args:
        argv: Arguments without the program's name.

    Returns:
        The exit code; whatever went wrong was said on stderr.
    """
    try:
        action = app(list(argv), prog_name="precsearch", standalone_mode=False)
        return action() if callable(action) else Exit(action or 0)
    except InputError as error:
        _say(str(error))
        return Exit.INPUT
    except ReplayError as error:
        _say(str(error))
        return Exit.REPLAY
    except (KeyboardInterrupt, typer.Abort):
        stderr().print("interrupted", style="yellow", highlight=False)
        return Exit.INTERRUPTED
    except BrokenPipeError:
        return Exit.PIPE
    except _UsageError as error:
        return _misused(error)
    except Exception as error:  # noqa: BLE001 - the last resort, and the only one
        return _bug(error)


def _say(message: str) -> None:
    text = Text.assemble(("error: ", "bold red"), clean(message))
    stderr().print(text, soft_wrap=True, highlight=False)


def _misused(error: Exception) -> Exit:
    """A command line that typer refused."""
    told = getattr(error, "format_message", error.__str__)
    message: str = told()
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "precsearch"
    if message.strip():
        plain = message.strip().rstrip(".")
        _say(f"{plain[0].lower()}{plain[1:]}; see '{command} --help'")
    return Exit.INPUT


def _bug(error: Exception) -> Exit:
    """What should not have happened: an exception that nobody meant for the user."""
    wanted = os.environ.get(_TRACEBACK) == "1"
    if wanted:
        traceback.print_exception(error)
    said = str(error).strip() or "no message"
    what = said if isinstance(error, PrecsearchError) else f"{type(error).__name__}: {said}"
    _say(what)
    known = isinstance(error, PrecsearchError)
    blame = "If the model runs elsewhere, this is" if known else "This is"
    which = "this traceback" if wanted else f"the traceback that {_TRACEBACK}=1 shows"
    hint = f"{blame} a bug in precsearch; please report it with {which}."
    stderr().print(hint, soft_wrap=True, highlight=False)
    return Exit.BUG


def _forgive_encodings() -> None:
    """Names of tensors may hold what the terminal's encoding lacks; show ``?`` then."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _swallow_output() -> None:
    """Point stdout to nowhere, so that Python's flush at the end does not complain."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


if __name__ == "__main__":
    main()
