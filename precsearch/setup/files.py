"""Writing results: to a temporary file, then renamed, and never over what exists by accident."""

from __future__ import annotations

import glob
import os
import shutil
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from precsearch.core.errors import OutputError
from precsearch.system.regular_file import resolved

__all__ = [
    "check_free",
    "remove_unfinished",
    "write_bytes",
    "write_output",
    "write_pieces",
    "write_text",
]


def check_free(paths: Iterable[Path], *, force: bool, inputs: Iterable[Path | None] = ()) -> None:
    """Refuse before any work is done what could not be written after it.

    Args:
        paths: What will be written.
        force: Replace what is there; never one of ``inputs``, nor what is no file.
        inputs: What is read; ``None`` stands for nothing.

    Raises:
        OutputError: A path exists and ``force`` is false, is an input, comes twice, is a folder or
            a device, or its folder is missing or not writable.
    """
    read = [path for path in inputs if path is not None]
    seen: list[Path] = []
    for path in paths:
        try:
            _check_one(path, force, read, seen)
        except (OSError, ValueError) as error:  # too long, a NUL, a loop of links
            raise _unwritable(path, error) from error
        seen.append(path)


def _check_one(path: Path, force: bool, read: Iterable[Path], seen: Iterable[Path]) -> None:
    target = resolved(path)
    for other in read:
        if _same(target, other):
            raise OutputError(
                f"{str(path)!r} is the input {str(other)!r}, which is never overwritten; name "
                "another output"
            )
    if any(_same(target, other) for other in seen):
        raise OutputError(f"{str(path)!r} is named for two outputs; name another file for one")
    if target.is_dir():
        raise OutputError(f"{str(path)!r} is a folder; name a file")
    if target.exists() and not target.is_file():
        raise OutputError(f"{str(path)!r} is a device or a pipe, not a file; name a file")
    if target.exists() and not force:
        raise OutputError(f"{str(path)!r} exists already; add --force to replace it")
    folder = target.parent
    if not folder.is_dir():
        raise OutputError(f"the folder {str(path.parent)!r} does not exist; create it first")
    if not os.access(folder, os.W_OK):
        raise OutputError(f"the folder {str(path.parent)!r} is not writable; name another")


def _same(target: Path, other: Path) -> bool:
    if target.exists() and other.exists():
        return target.samefile(other)
    return target == other.resolve()


def write_bytes(path: Path, data: bytes, *, replace: bool = True, follow: bool = True) -> None:
    """Write ``path`` whole or not at all.

    Args:
        path: The file.
        data: Its content.
        replace: Whether what is there is replaced.
        follow: Where ``path`` is a link, write what it points to; else replace the link. What
            precsearch keeps in a run directory is never a link of its own making.

    Raises:
        FileExistsError: There is something, and ``replace`` is false.
        OutputError: It cannot be written (the disk is full, say).
    """
    write_pieces(path, [data], replace=replace, follow=follow)


def write_pieces(
    path: Path, pieces: Iterable[bytes], *, replace: bool = True, follow: bool = True
) -> None:
    """`write_bytes` of what comes in pieces.

    Raises:
        FileExistsError: There is something, and ``replace`` is false.
        OutputError: It cannot be written.
    """
    try:
        _place(resolved(path) if follow else path, pieces, replace=replace)
    except FileExistsError:
        raise
    except (OSError, ValueError) as error:
        raise _unwritable(path, error) from error


def write_output(path: Path, data: bytes | str, *, force: bool) -> None:
    """Write what the user asked for, and replace nothing unless ``force`` says so.

    Args:
        path: Where.
        data: Bytes, or text to write as UTF-8.
        force: Whether what is there is replaced.

    Raises:
        OutputError: Something has appeared there since `check_free`, or it cannot be written.
    """
    try:
        write_bytes(path, data if isinstance(data, bytes) else _encoded(data), replace=force)
    except FileExistsError as error:
        raise OutputError(f"{str(path)!r} exists already; add --force to replace it") from error


def _place(target: Path, pieces: Iterable[bytes], *, replace: bool) -> None:
    handle, name = tempfile.mkstemp(prefix=_unfinished(target), dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            for piece in pieces:
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o666 & ~_umask())
        if replace:
            Path(name).replace(target)
        else:
            _link(Path(name), target)
    finally:
        Path(name).unlink(missing_ok=True)


def _unfinished(target: Path) -> str:
    """What the name of a file begins with that is written before it gets its own name."""
    return f".{target.name[:64]}.unfinished-"


def remove_unfinished(target: Path) -> None:
    """Remove what a process that was killed while it wrote a file has left beside that file.

    Args:
        target: The file. Nobody else may be writing it.
    """
    with suppress(OSError):
        for left in target.parent.glob(f"{glob.escape(_unfinished(target))}*"):
            if left.is_file() and not left.is_symlink():
                left.unlink()


def _link(link: Path, target: Path) -> None:
    """Give a finished file its name, unless something else has it.

    Raises:
        FileExistsError: Something has.
        OSError: It cannot be written.
    """
    try:
        os.link(link, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links: at least nothing is replaced
        with link.open("rb") as source, target.open("xb") as file:
            try:
                shutil.copyfileobj(source, file)
                file.flush()
                os.fsync(file.fileno())
            except BaseException:
                target.unlink(missing_ok=True)
                raise


def write_text(path: Path, text: str, *, follow: bool = True) -> None:
    """`write_bytes` of UTF-8."""
    write_bytes(path, _encoded(text), follow=follow)


def _encoded(text: str) -> bytes:
    """UTF-8; half of a surrogate pair, which JSON can hold and UTF-8 cannot, is escaped."""
    return text.encode(errors="backslashreplace")


def _unwritable(path: Path, error: Exception) -> OutputError:
    return OutputError(f"{str(path)!r} cannot be written: {_reason(error)}; name another output")


def _reason(error: Exception) -> str:
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return reason or type(error).__name__


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
