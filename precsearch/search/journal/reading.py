"""Reading a journal, also one that is being written."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import overload

from precsearch.codec import renamed, structure
from precsearch.core.errors import InputError
from precsearch.core.events import Event
from precsearch.system.regular_file import open_regular

__all__ = ["MAX_BYTES", "NAME", "event_of", "read", "read_from"]

NAME = "journal.jsonl"
"""Name of the journal in its run directory."""

MAX_BYTES = 1 << 30
"""Far beyond the journal of any search; it is read into memory."""


def read(path: str | Path, skip: Sequence[str] = ()) -> Sequence[Event]:
    """The events of a journal, or of the one in a run directory; a torn last line is left out.

    Events are decoded when they are looked at, which raises `InputError` for a damaged one.

    Args:
        path: The journal or its folder.
        skip: Names of events to leave out, which is much faster than decoding them.

    Raises:
        InputError: It cannot be read.
    """
    return read_from(path, 0, skip)[0]


def read_from(
    path: str | Path, offset: int, skip: Sequence[str] = ()
) -> tuple[Sequence[Event], int]:
    """The events from a place in a journal on, and the place to go on reading from.

    Raises:
        InputError: It cannot be read.
    """
    path = Path(path)
    path = path / NAME if path.is_dir() else path
    try:
        with open_regular(path, follow=False) as file:
            left = os.fstat(file.fileno()).st_size - offset
            file.seek(offset)
            data = file.read(max(left, 0)) if left <= MAX_BYTES else b""
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError(
            f"the journal {str(path)!r} cannot be read: {reason}; check the path"
        ) from error
    if left > MAX_BYTES:
        raise InputError(
            f"{str(path)!r} is larger than {MAX_BYTES:,} bytes, which no journal is; check the path"
        )
    whole = data.rfind(b"\n") + 1
    # `dumps` sorts keys, so the name of an event ends its line.
    ends = tuple(f'"type":"{name}"}}'.encode() for name in skip)
    lines = [line for line in data[:whole].splitlines() if not line.endswith(ends)]
    return _Events(path, lines), offset + whole


def event_of(line: bytes) -> Event:
    """The event of a line.

    Raises:
        ValueError: There is none; the message is one sentence.
    """
    try:
        event: Event = structure(renamed.event(json.loads(line.decode())), Event)  # type: ignore[arg-type]
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    return event


class _Events(Sequence[Event]):
    """The events of lines, decoded when asked for."""

    def __init__(self, path: Path, lines: Sequence[bytes]) -> None:
        self._path = path
        self._lines = lines

    def __len__(self) -> int:
        return len(self._lines)

    @overload
    def __getitem__(self, index: int) -> Event: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Event]: ...
    def __getitem__(self, index: int | slice) -> Event | Sequence[Event]:
        if isinstance(index, slice):
            return _Events(self._path, self._lines[index])
        try:
            return event_of(self._lines[index])
        except ValueError as error:
            raise InputError(
                f"{str(self._path)!r} holds a damaged event: {error}; restore the journal"
            ) from error
