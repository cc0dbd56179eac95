"""How much memory there is for more."""

from __future__ import annotations

import math
from contextlib import suppress
from pathlib import Path

__all__ = ["available_memory"]

_MEMINFO = Path("/proc/meminfo")
_GROUP = Path("/sys/fs/cgroup")


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
