"""A lock on an open file, which the system gives back whatever ends the process."""

from __future__ import annotations

import os
import sys

__all__ = ["locked"]


def locked(descriptor: int) -> bool:
    """Take the lock without waiting; it is held until the descriptor is closed.

    Returns:
        False if another open file holds it.

    Raises:
        OSError: The file system cannot lock.
    """
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(descriptor, 1 << 30, os.SEEK_SET)  # far beyond: readers are not shut out
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            os.lseek(descriptor, 0, os.SEEK_SET)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True
