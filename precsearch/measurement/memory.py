"""How much host memory an engine takes: the peak of a process, before and after it runs."""

from __future__ import annotations

import contextlib
import resource
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from precsearch.core.backend import Backend, Feed

__all__ = ["memory_of", "peak_growth"]

_STATUS = Path("/proc/self/status")
_RESET = Path("/proc/self/clear_refs")


def memory_of(backend: Backend, artifact: bytes, feeds: Sequence[Feed]) -> int:
    """Bytes of host memory that opening an engine and running it takes, at the peak.

    Args:
        backend: Opens it.
        artifact: The engine, which is in memory already and is not counted.
        feeds: What it runs.

    Raises:
        BuildError: It does not open.
        RunError: It failed.
    """

    def run() -> None:
        session = backend.open(artifact)
        try:
            for feed in feeds:
                session.run(feed)
        finally:
            session.close()

    return peak_growth(run)


def peak_growth(run: Callable[[], object]) -> int:
    """Bytes by which the process's peak of resident memory exceeds what it held before ``run``.

    Memory that the process has freed and keeps is not counted when it is used again, so the number
    is meant for a new process. On systems without /proc the peak of the whole life of the process
    stands for the memory before.

    Args:
        run: Opens an engine, runs it and closes it.
    """
    with contextlib.suppress(OSError):
        _RESET.write_text("5")  # the peak begins anew at what is held now
    before = _field("VmRSS") or _lifetime_peak()
    run()
    return max((_field("VmHWM") or _lifetime_peak()) - before, 0)


def _field(name: str) -> int:
    """A size of the process in bytes, 0 where the system does not tell."""
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        return 0
    fields = [line.split() for line in lines if line.startswith(f"{name}:")]
    return int(fields[0][1]) << 10 if fields else 0


def _lifetime_peak() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak << 10
