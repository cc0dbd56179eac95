"""Opening a file that may be anything: a regular file alone, without waiting, within a bound.

Whoever can write into a folder can put a pipe there, a device, or a link to one. Opened as it is, a
pipe keeps its reader waiting for ever, and ``/dev/zero`` fills the memory. Everything that
precsearch reads and did not write itself a moment ago is read through this module.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

__all__ = ["is_regular", "open_descriptor", "open_regular", "read_regular", "resolved"]

_BINARY = getattr(os, "O_BINARY", 0)
_SAFE = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOCTTY", 0)
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)


def open_descriptor(path: str | Path, flags: int, *, follow: bool, mode: int = 0o666) -> int:
    """A descriptor of a regular file; the caller closes it.

    Args:
        path: The file.
        flags: As for `os.open`.
        follow: Whether ``path`` itself may be a link. The files that precsearch keeps in a run
            directory are none; what a user names may be one.
        mode: Permissions of a file that is made, less the process's umask.

    Raises:
        OSError: It cannot be opened, is a link where it must not be one, or is no regular file.
    """
    if not follow and os.path.islink(path):  # noqa: PTH114 - says so where O_NOFOLLOW is unknown
        raise OSError(errno.ELOOP, "it is a link", str(path))
    descriptor = os.open(path, flags | _SAFE | _BINARY | (0 if follow else _NO_LINK), mode)
    try:
        _refuse_others(os.fstat(descriptor).st_mode, path)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _refuse_others(mode: int, path: str | Path) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "it is a device or a pipe, not a file", str(path))


def open_regular(path: str | Path, *, follow: bool = True) -> BinaryIO:
    """A regular file, open for reading bytes.

    Args:
        path: The file.
        follow: See `open_descriptor`.

    Raises:
        OSError: See `open_descriptor`.
    """
    return os.fdopen(open_descriptor(path, os.O_RDONLY, follow=follow), "rb")


def read_regular(path: str | Path, limit: int, *, follow: bool = True) -> bytes:
    """The whole of a regular file.

    Args:
        path: The file.
        limit: Most bytes that it may have.
        follow: See `open_descriptor`.

    Raises:
        OSError: See `open_descriptor`; ``errno.EFBIG`` if it has more than ``limit`` bytes.
    """
    with open_regular(path, follow=follow) as file:
        size = os.fstat(file.fileno()).st_size
        if size > limit:
            raise OSError(errno.EFBIG, f"it is larger than {limit:,} bytes", str(path))
        return file.read(size)  # what is added meanwhile is for a later look


def is_regular(path: str | Path) -> bool:
    """Whether there is a regular file of this name, or a link to one; never raises."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)  # noqa: PTH116 - a path may be any string
    except (OSError, ValueError):
        return False


def resolved(path: Path) -> Path:
    """Where a path leads, absolute and through all links; what it names need not exist.

    Raises:
        OSError: Links lead in a circle; from Python 3.13 on `Path.resolve` raises nothing for them.
        ValueError: The path holds a NUL.
    """
    try:
        target = path.resolve()
    except RuntimeError as error:  # Python 3.12 and earlier
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path)) from error
    if target.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
    return target
