"""Which errors are the machine's: no room, no memory, no handles. They are nobody's bug."""

from __future__ import annotations

import errno
from collections.abc import Iterator

__all__ = ["machine_fault"]

_ROOM = "free some room, or name another place (TMPDIR for temporary files)"
_MEMORY = "raise the limit (ulimit -v, the container's), or use fewer samples or a smaller model"
_ADVICE = {
    errno.ENOSPC: f"no room is left on the disk: {_ROOM}",
    errno.EDQUOT: f"the disk quota is used up: {_ROOM}",
    errno.EFBIG: "a file would be larger than is allowed here: raise the limit (ulimit -f)",
    errno.EMFILE: "too many files are open: raise the limit (ulimit -n)",
    errno.ENFILE: "the system has too many files open: close other programs",
    errno.ENOMEM: f"out of memory: {_MEMORY}",
    errno.EAGAIN: "no further process or thread can be started: raise the limit (ulimit -u)",
    errno.EIO: "the disk reports an error: check it, or name another place",
    errno.EROFS: "the disk cannot be written: name another place (TMPDIR for temporary files)",
}
_WORDS = {
    "Too many open files": errno.EMFILE,
    "Cannot allocate memory": errno.ENOMEM,
    "failed to map segment": errno.ENOMEM,
    "can't start new thread": errno.EAGAIN,
    "No space left on device": errno.ENOSPC,
    "No usable temporary directory": errno.ENOSPC,
}
"""How libraries say it where they give no number."""


def machine_fault(error: BaseException) -> str:
    """What the machine lacks, as one sentence that says what to do; "" for any other error.

    Args:
        error: Looked at together with the errors that it came from.
    """
    for cause in _chain(error):
        if isinstance(cause, MemoryError):
            return _ADVICE[errno.ENOMEM]
        number = cause.errno if isinstance(cause, OSError) else None
        if not isinstance(cause, (OSError, ImportError, RuntimeError)):
            continue
        if number not in _ADVICE:
            number = next((n for words, n in _WORDS.items() if words in str(cause)), None)
        if number is not None:
            name = getattr(cause, "filename", None)
            where = f"{str(name)!r}: " if name else ""
            return f"{where}{_ADVICE[number]}"
    return ""


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__
