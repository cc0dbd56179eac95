"""The very start of the command, before anything large is imported.

Signals end the process in order from here on, and stdout is taken away from every library: file
descriptor 1 leads nowhere, and results go through a descriptor of our own.
"""

from __future__ import annotations

import gc
import importlib
import io
import os
import sys
from collections.abc import Sequence
from typing import TextIO

from precsearch.core.errors import OutputError
from precsearch.system.faults import machine_fault
from precsearch.system.interrupts import ignore, install, running

__all__ = ["Results", "main"]

_INPUT = 2
_LEAST_FILES = 64
_LEAST_MEMORY = 1 << 30
"""Bytes of address space: NumPy's BLAS, which is loaded first, crashes with much less."""


def main(argv: Sequence[str] | None = None) -> None:
    """Run a command line and end the process with its exit code."""
    install()
    _take_streams()
    code = _refusal()
    if not code:
        try:
            command = importlib.import_module("precsearch.cli.main")
        except (ImportError, OSError, MemoryError) as error:
            fault = machine_fault(error)
            if not fault:
                raise
            code = _refuse(fault)
        else:
            running()
            code = command.run(sys.argv[1:] if argv is None else argv)
            ignore()
            code = command.flushed(code)
    _leave_streams()
    gc.freeze()  # the interpreter looks for garbage as it ends: a seventh of a short command's time
    sys.exit(int(code))


def _refusal() -> int:
    """The exit code where the machine does not allow even a start, 0 where it does."""
    if sys.platform == "win32":
        return 0
    import resource

    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    memory, _ = resource.getrlimit(resource.RLIMIT_AS)
    if 0 <= files < _LEAST_FILES:
        return _refuse(
            f"only {files} files may be open at a time, precsearch needs {_LEAST_FILES}: raise the "
            f"limit (ulimit -n {_LEAST_FILES})"
        )
    if 0 <= memory < _LEAST_MEMORY:
        return _refuse(
            f"only {memory >> 20} MB of address space are allowed, precsearch needs "
            f"{_LEAST_MEMORY >> 20}: raise the limit (ulimit -v {_LEAST_MEMORY >> 10})"
        )
    return 0


def _refuse(message: str) -> int:
    sys.stderr.write(f"error: {message}\n")
    return _INPUT


class Results(io.TextIOWrapper):
    """Our stdout. A full disk is told in one sentence; a closed pipe is left to the caller."""

    lost = False

    def write(self, text: str) -> int:
        """Write text.

        Raises:
            BrokenPipeError: The reader went away.
            OutputError: It cannot be written; said once, what follows is dropped.
        """
        try:
            return super().write(text)
        except BrokenPipeError:
            raise
        except OSError as error:
            self._tell(error)
        return len(text)

    def flush(self) -> None:
        """Write what is left; raises as `write` does."""
        try:
            super().flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            self._tell(error)

    def _tell(self, error: OSError) -> None:
        """Once is enough."""
        if not self.lost:
            self.lost = True
            reason = error.strerror or type(error).__name__
            raise OutputError(
                f"results cannot be written to stdout: {reason}; send them elsewhere"
            ) from error


class _Progress(io.TextIOWrapper):
    """Our stderr. What cannot be shown there is left out: a search is worth more than its text."""

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except BrokenPipeError:
            raise
        except OSError:
            return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except BrokenPipeError:
            raise
        except OSError:
            return


def _take_streams() -> None:
    """Make stdout and stderr ours."""
    for descriptor in (0, 1, 2):
        _open_if_closed(descriptor)
    own = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    sys.stdout = _wrapped(Results, own, sys.stdout)
    sys.stderr = _wrapped(_Progress, 2, sys.stderr)


def _open_if_closed(descriptor: int) -> None:
    """A closed one would be given to the next file that is opened: the journal, say."""
    try:
        os.fstat(descriptor)
    except OSError:
        os.open(os.devnull, os.O_RDWR)  # the lowest that is free: this one


def _wrapped(
    kind: type[io.TextIOWrapper], descriptor: int, before: TextIO | None
) -> io.TextIOWrapper:
    """A stream like ``before``. What its encoding lacks is shown as ``?``."""
    raw = open(descriptor, "wb", closefd=False)  # noqa: SIM115 - lives with the process
    encoding = getattr(before, "encoding", None) or "utf-8"
    lines = descriptor == 2 or os.isatty(descriptor)
    return kind(raw, encoding=encoding, errors="replace", line_buffering=lines)


def _leave_streams() -> None:
    """Nothing that could not be written may fail again when the interpreter ends."""
    for stream in (sys.stdout, sys.stderr):
        try:
            io.TextIOWrapper.flush(stream)  # type: ignore[arg-type] # ours, see `_take_streams`
        except OSError:  # noqa: PERF203 - each by itself
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())


if __name__ == "__main__":
    main()
