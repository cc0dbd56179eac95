"""How much memory there is for more, and how much something takes."""

from __future__ import annotations

import math
import resource
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

__all__ = ["available_memory", "peak_growth"]

_MEMINFO = Path("/proc/meminfo")
_GROUP = Path("/sys/fs/cgroup")
_STATUS = Path("/proc/self/status")
_RESET = Path("/proc/self/clear_refs")


def available_memory() -> float:
    """Bytes that this process can take without harm; infinite where the system does not tell.

    The least of what Linux counts as available and of what the control group has left.
    """
    return min(_of_machine(), _of_group())


def _of_machine() -> float:
    with suppress(OSError, ValueError, IndexError):
        for line in _MEMINFO.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024.0
    return math.inf


def _of_group() -> float:
    with suppress(OSError, ValueError):
        limit = (_GROUP / "memory.max").read_text().strip()
        used = int((_GROUP / "memory.current").read_text())
        return math.inf if limit == "max" else float(int(limit) - used)
    return math.inf


def peak_growth(run: Callable[[], object]) -> int:
    """Bytes by which the process's peak of resident memory exceeds what it held before ``run``.

    Memory that the process has freed and keeps is not counted when it is used again, so the number
    is meant for a new process. On systems without /proc the peak of the whole life of the process
    stands for the memory before.

    Args:
        run: What is looked at, such as an engine that is opened, run and closed.
    """
    with suppress(OSError):
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
