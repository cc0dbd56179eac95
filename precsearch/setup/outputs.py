"""A run's outputs are reserved before it begins, and at its end replace nothing by accident.

A reservation is a lock file beside the output, ``.<name>.lock``. The system gives the lock back
whatever ends the process, so a file that a killed run has left behind blocks nobody, and the next
run takes it away.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from precsearch.core.errors import OutputError
from precsearch.setup.files import remove_unfinished, write_bytes, write_text
from precsearch.system.file_lock import locked

__all__ = ["Outputs", "Record", "reserved"]

_RECORD = "outputs.json"
_MOST_BYTES = 1 << 20
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Record:
    """What a run directory says of the outputs of its run.

    Attributes:
        plan: SHA-256 of the plan in the run directory, "" where there is none yet.
        written: SHA-256 by output, as an absolute path.
        budget: What the search was allowed.
        met: Whether the plan is within the bound.
        summary: What the user was told at the end.
    """

    plan: str = ""
    written: Mapping[str, str] = field(default_factory=dict)
    budget: str = ""
    met: bool = False
    summary: tuple[str, ...] = ()

    @classmethod
    def read(cls, run_dir: Path) -> Record:
        """What a run directory says; an empty record where that makes no sense."""
        try:
            with (run_dir / _RECORD).open("rb") as file:
                data = json.loads(file.read(_MOST_BYTES))
            return cls(
                plan=_text(data["plan"]),
                written={_text(k): _text(v) for k, v in data["written"].items()},
                budget=_text(data["budget"]),
                met=data["met"] is True,
                summary=tuple(map(_text, data["summary"])),
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return cls()


class Outputs:
    """Writes the outputs of a run.

    Attributes:
        record: What is written so far; kept in the run directory, for a run that is resumed.

    Args:
        run_dir: Of the run.
        force: Replace whatever is there.
        resumed: Go on with the record of an earlier part of the run: what that wrote may be
            replaced, and nothing else.

    Raises:
        OutputError: The record of another run cannot be removed.
    """

    def __init__(self, run_dir: Path, *, force: bool, resumed: bool) -> None:
        self._run_dir = run_dir
        self._force = force
        self.record = Record.read(run_dir) if resumed else Record()
        if not resumed:
            try:
                (run_dir / _RECORD).unlink(missing_ok=True)
            except OSError as error:
                reason = error.strerror or type(error).__name__
                raise OutputError(
                    f"{str(run_dir / _RECORD)!r} cannot be removed: {reason}; name another "
                    "--run-dir"
                ) from error

    def check(self, paths: Sequence[Path]) -> None:
        """Refuse, before any work is done, what could not be written after it.

        Raises:
            OutputError: An output exists, neither by this run nor to be replaced by force.
        """
        for path in paths:
            if path.exists() and not self.may_replace(path):
                raise OutputError(
                    f"{str(path)!r} exists already and is not what this run wrote; name another "
                    "output, or move it away"
                )

    def may_replace(self, path: Path) -> bool:
        """Whether what is there may be replaced."""
        known = self.record.written.get(str(path.resolve()), "")
        return self._force or (bool(known) and _digest_of(path) == known)

    def has(self, path: Path) -> bool:
        """Whether this run wrote what is there."""
        known = self.record.written.get(str(path.resolve()), "")
        return bool(known) and _digest_of(path) == known

    def write(self, path: Path, data: bytes) -> None:
        """Write an output whole or not at all; one that is there already stays as it is.

        It is noted before it is written: a run that is killed in between promised too much.

        Raises:
            OutputError: A file has appeared there meanwhile, or it cannot be written.
        """
        replace_it, digest = self.may_replace(path), sha256(data).hexdigest()
        self.note(written={**self.record.written, str(path.resolve()): digest})
        if _digest_of(path) == digest:
            return
        try:
            write_bytes(path, data, replace=replace_it)
        except FileExistsError as error:
            raise OutputError(
                f"{str(path)!r} has appeared during the search and is kept; name another output "
                "and add --resume: what was measured is on record"
            ) from error

    def note(self, **changes: Any) -> None:  # noqa: ANN401 - fields of `Record`
        """Change the record.

        Raises:
            OutputError: The run directory cannot be written.
        """
        self.record = replace(self.record, **changes)
        write_text(self._run_dir / _RECORD, json.dumps(asdict(self.record), sort_keys=True))


def _digest_of(path: Path) -> str:
    """SHA-256 of a file, "" if there is none that can be read."""
    digest = sha256()
    try:
        if not path.is_file():
            return ""
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    except OSError:
        return ""
    return digest.hexdigest()


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not text")
    return value


@contextmanager
def reserved(paths: Sequence[Path]) -> Iterator[None]:
    """Keep other runs from writing these files while the context lasts.

    Raises:
        OutputError: Another run has reserved one, or its folder cannot hold a lock file.
    """
    with ExitStack() as stack:
        for path in paths:
            stack.enter_context(_reserved(path))
        yield


@contextmanager
def _reserved(path: Path) -> Iterator[None]:
    target = path.resolve()
    lock = target.parent / f".{target.name[:200]}.lock"
    try:
        descriptor = _taken(lock)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise OutputError(
            f"{str(path)!r} cannot be written: {reason}; name another output"
        ) from error
    if descriptor is None:
        raise OutputError(
            f"another run is going to write {str(path)!r}; wait for it, or name another output"
        )
    remove_unfinished(target)
    try:
        yield
    finally:
        with suppress(OSError):  # who opened it meanwhile sees that it is gone, and makes a new one
            lock.unlink()
        os.close(descriptor)


def _taken(lock: Path) -> int | None:
    """The open lock file; ``None`` if another process has it."""
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    while True:
        descriptor = os.open(lock, flags | getattr(os, "O_BINARY", 0), 0o666)
        try:
            if not locked(descriptor):
                os.close(descriptor)
                return None
            if _same(descriptor, lock):
                return descriptor
        except OSError as error:
            os.close(descriptor)
            if error.errno in (errno.ENOTSUP, errno.ENOLCK, errno.ENOSYS):
                return os.open(os.devnull, os.O_RDONLY)  # such a file system knows no locks
            raise
        os.close(descriptor)  # its owner took it away before we had the lock


def _same(descriptor: int, path: Path) -> bool:
    """Whether an open file still has its name."""
    try:
        named = path.stat(follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(os.fstat(descriptor), named)
