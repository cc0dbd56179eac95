"""Writing results: to a temporary file, then renamed, and never over what exists by accident."""

from __future__ import annotations

import filecmp
import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

from precsearch.errors import OutputError

__all__ = ["check_free", "copy_beside", "write_bytes", "write_text"]


def check_free(paths: Iterable[Path], *, force: bool) -> None:
    """Refuse before any work is done what could not be written after it.

    Raises:
        OutputError: A path exists and ``force`` is false, is a folder, or its folder is missing or
            not writable.
    """
    for path in paths:
        if path.is_dir():
            raise OutputError(f"{str(path)!r} is a folder; name a file")
        if path.exists() and not force:
            raise OutputError(f"{str(path)!r} exists already; add --force to replace it")
        folder = path.resolve().parent
        if not folder.is_dir():
            raise OutputError(f"the folder {str(path.parent)!r} does not exist; create it first")
        if not os.access(folder, os.W_OK):
            raise OutputError(f"the folder {str(path.parent)!r} is not writable; name another")


def write_bytes(path: Path, data: bytes) -> None:
    """Write ``path`` whole or not at all.

    Raises:
        OutputError: It cannot be written (the disk is full, say).
    """
    folder = path.resolve().parent
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=folder)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(name).chmod(0o666 & ~_umask())
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise OutputError(f"{str(path)!r} cannot be written: {reason}") from error


def write_text(path: Path, text: str) -> None:
    """`write_bytes` of UTF-8."""
    write_bytes(path, text.encode())


def copy_beside(files: Iterable[Path], target: Path) -> None:
    """Copy external weights into the folder of ``target``, where the model will look for them.

    Raises:
        OutputError: A different file of that name is there, or it cannot be written.
    """
    folder = target.resolve().parent
    for file in files:
        copy = folder / file.name
        if copy == file:
            continue
        try:
            if copy.exists() and not filecmp.cmp(file, copy, shallow=False):
                raise OutputError(
                    f"{copy.name!r} beside {str(target)!r} is not the model's weights; name an "
                    "output in another folder"
                )
            if not copy.exists():
                shutil.copyfile(file, copy)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise OutputError(f"{str(copy)!r} cannot be written: {reason}") from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
