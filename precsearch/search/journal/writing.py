"""Writing a journal, and going on with one."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from precsearch.codec import dumps, unstructure
from precsearch.core.errors import InputError, OutputError
from precsearch.core.events import Event, RunStarted, TrialFinished
from precsearch.search.journal.memo import Memo
from precsearch.search.journal.reading import MAX_BYTES, NAME, event_of
from precsearch.system.file_lock import locked
from precsearch.system.regular_file import open_descriptor

__all__ = ["Journal", "in_use"]


class Journal:
    """An open journal, which no other process can open; made by `Journal.open`.

    Attributes:
        path: The file.
        memo: What an earlier run left in it.
    """

    def __init__(self, path: Path, descriptor: int, memo: Memo) -> None:
        self.path = path
        self.memo = memo
        self._descriptor: int | None = descriptor
        self._size = os.fstat(descriptor).st_size

    @classmethod
    def open(
        cls,
        run_dir: str | Path,
        identity: Mapping[str, str],
        *,
        resume: bool = False,
        force: bool = False,
    ) -> Journal:
        """Begin or go on with the journal of a run directory, which is made if it is missing.

        Args:
            run_dir: Where it is.
            identity: What a run to go on with must agree in, by name.
            resume: Go on with what is there, if anything is.
            force: Discard what is there.

        Raises:
            OutputError: There is one already and neither flag is given, another process uses it,
                or it cannot be written.
            InputError: The run to resume is a different one, or its journal is damaged.
        """
        path = Path(run_dir) / NAME
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = open_descriptor(path, os.O_RDWR | os.O_CREAT, follow=False)
        except OSError as error:
            raise _unwritable(path, error) from error
        try:
            _lock(descriptor, path)
            memo = _prepare(descriptor, path, identity, resume=resume, force=force)
            return cls(path, descriptor, memo)
        except OSError as error:
            os.close(descriptor)
            raise _unwritable(path, error) from error
        except BaseException:
            os.close(descriptor)
            raise

    def append(self, event: Event) -> None:
        """Write an event down; a finished trial is on disk when this returns.

        A replayed trial is skipped: the journal has it.

        Raises:
            OutputError: It cannot be written (the disk is full, say), or the journal is closed.
        """
        if self._descriptor is None:
            raise OutputError(f"the journal {str(self.path)!r} is closed")
        finished = isinstance(event, TrialFinished)
        if isinstance(event, TrialFinished) and event.replayed:
            return
        line = dumps(unstructure(event, Event)).encode() + b"\n"
        try:
            _write(self._descriptor, line)
            if finished:
                os.fsync(self._descriptor)
        except OSError as error:
            with suppress(OSError):  # leave no half of a line for a later one to be glued to
                os.ftruncate(self._descriptor, self._size)
                os.lseek(self._descriptor, self._size, os.SEEK_SET)
            raise _unwritable(self.path, error) from error
        self._size += len(line)

    def close(self) -> None:
        """Give the run directory free. May be called twice."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def in_use(run_dir: str | Path) -> bool:
    """Whether a run is writing the journal of a run directory, or its path if that is given.

    Raises:
        InputError: It cannot be opened.
    """
    path = Path(run_dir)
    path = path / NAME if path.is_dir() else path
    try:
        descriptor = open_descriptor(path, os.O_RDONLY, follow=False)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError(
            f"the journal {str(path)!r} cannot be read: {reason}; check the path"
        ) from error
    try:
        _lock(descriptor, path)
    except OutputError:
        return True
    finally:
        os.close(descriptor)
    return False


def _prepare(
    descriptor: int, path: Path, identity: Mapping[str, str], *, resume: bool, force: bool
) -> Memo:
    """Read or empty the file and leave its position at the end."""
    memo = Memo()
    if not (resume or force) and not _worthless(descriptor):
        raise OutputError(
            f"{str(path.parent)!r} holds the journal of an earlier run; add --resume to go on with "
            "it, or --force to start afresh"
        )
    end = 0
    if resume:
        size = os.fstat(descriptor).st_size
        if size > MAX_BYTES:
            raise InputError(
                f"{str(path)!r} is larger than {MAX_BYTES:,} bytes, which no journal is; start "
                "afresh with --force"
            )
        with os.fdopen(os.dup(descriptor), "rb") as file:
            data = file.read(size)
        lines = data[: data.rfind(b"\n") + 1].splitlines(keepends=True)
        end = _recall(lines, path, identity, memo)
    os.ftruncate(descriptor, end)
    os.lseek(descriptor, end, os.SEEK_SET)
    return memo


def _worthless(descriptor: int) -> bool:
    """Whether a journal holds no trial: its run was refused or stopped before the first one."""
    with os.fdopen(os.dup(descriptor), "rb") as file:
        if os.fstat(descriptor).st_size > MAX_BYTES:  # whatever it is, it is not thrown away
            return False
        first = file.readline()
        return not first or (
            b'"RunStarted"' in first and not any(b'"TrialFinished"' in line for line in file)
        )


def _recall(lines: list[bytes], path: Path, identity: Mapping[str, str], memo: Memo) -> int:
    """Fill the memo; returns the bytes of the lines that stay."""
    end = 0
    for number, line in enumerate(lines):
        if number == 0:
            _check(line, path, identity)
        try:
            memo.add(line)
        except ValueError as error:
            # A power failure can lose lines that were not yet forced to the disk.
            if any(b'"TrialFinished"' in later for later in lines[number + 1 :]):
                raise InputError(
                    f"line {number + 1} of {str(path)!r} is damaged; restore it, or start afresh "
                    "with --force"
                ) from error
            break
        end += len(line)
    return end


def _check(line: bytes, path: Path, identity: Mapping[str, str]) -> None:
    """Refuse the journal of another run."""
    try:
        first = event_of(line)
    except ValueError as error:
        raise InputError(
            f"{str(path)!r} is not a journal that this version reads: {error}; start "
            "afresh with --force"
        ) from error
    if not isinstance(first, RunStarted):
        raise InputError(f"{str(path)!r} does not begin with a run; start afresh with --force")
    recorded = first.identity
    differing = [
        f"{name} was {_short(recorded.get(name))} and is now {_short(identity.get(name))}"
        for name in sorted({*recorded, *identity})
        if recorded.get(name) != identity.get(name)
    ]
    if differing:
        raise InputError(
            f"the run in {str(path.parent)!r} cannot be resumed: {', '.join(differing)}; give it "
            "what it began with, or start afresh with --force"
        )


def _short(value: str | None) -> str:
    if value is None:
        return "not there"
    return (value or "nothing") if len(value) <= 40 else value[:12] + "…"


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _unwritable(path: Path, error: OSError) -> OutputError:
    reason = error.strerror or type(error).__name__
    return OutputError(
        f"the journal {str(path)!r} cannot be written: {reason}; name another --run-dir"
    )


def _lock(descriptor: int, path: Path) -> None:
    """Held until the descriptor is closed, by whatever ends the process too."""
    if not locked(descriptor):
        raise OutputError(
            f"another process is using {str(path.parent)!r}; wait for it, or name another --run-dir"
        )
