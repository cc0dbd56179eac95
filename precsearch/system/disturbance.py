"""Whether something else used the device while an engine was timed.

On Linux the scheduler tells it of each thread: how long it could have run and had no core (the
second number of ``/proc/<pid>/task/<tid>/schedstat``, in nanoseconds; the third counts its turns).
Elsewhere the clock of the process and its involuntary switches stand in for that. None of these
sees who shares a core's caches or its other hyper-thread: against that, engines are timed again at
another time (`precsearch.measurement.timing.apart`).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

__all__ = ["CpuWatch", "NoWatch", "Patience", "Seen", "Watch", "Watches"]

_TASKS = Path("/proc/self/task")
_PER_TURN_S = 50e-6
"""Waking a thread takes so long on a machine that is idle, a virtual one above all."""
_PER_SWITCH_S = 1e-3
"""What one involuntary switch costs at least, where nothing tells it."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What happened between two looks.

    Attributes:
        waited: Seconds that threads of this process wanted a core and had none, all together.
        others: Whether another process used the device.
        known: Whether nothing of this process ran while it waited, so that the wall time without
            ``waited`` is the time that it computed.
    """

    waited: float = 0.0
    others: bool = False
    known: bool = False


class Watch(Protocol):
    """Watches for what disturbs a timing."""

    def look(self) -> Seen:
        """What happened since the last look."""
        ...


@runtime_checkable
class Watches(Protocol):
    """A backend that can tell whether something else used its device."""

    def watch(self) -> Watch:
        """A new watch, which sees the threads and processes that there are at each look."""
        ...


class NoWatch:
    """Sees nothing: a backend whose times do not depend on who else is there, or cannot tell."""

    def look(self) -> Seen:
        """See `Watch.look`."""
        return Seen()


class CpuWatch:
    """Watches how long this process wanted to run on a CPU and could not.

    Args:
        threads: How many threads an engine computes with. With one, all waiting counts; with
            more, waking them up is no disturbance.
        tasks: Where the scheduler tells of this process's threads.
    """

    def __init__(self, threads: int, tasks: Path = _TASKS) -> None:
        self._threads = threads
        self._tasks = tasks
        self._known = _scheduled(tasks) is not None
        self._last = self._counters()

    def look(self) -> Seen:
        """See `Watch.look`."""
        now, before = self._counters(), self._last
        self._last = now
        waited, turns = now[0] - before[0], now[1] - before[1]
        if self._threads > 1:
            waited -= turns * _PER_TURN_S
        return Seen(max(0.0, waited), known=self._threads == 1)

    def _counters(self) -> tuple[float, float]:
        """Seconds waited, and turns, since the process began."""
        counters = _scheduled(self._tasks) if self._known else None
        return counters if counters is not None else _switched(self._threads)


def _scheduled(tasks: Path) -> tuple[float, float] | None:
    """What the scheduler tells of all threads; ``None`` where it tells nothing."""
    waited = turns = 0
    try:
        names = os.listdir(tasks)  # noqa: PTH208 - twice as fast, between two timings
    except OSError:
        return None
    reported = False
    for name in names:
        with suppress(OSError, ValueError, IndexError):  # a thread may end any time
            fields = (tasks / name / "schedstat").read_bytes().split()
            waited += int(fields[1])
            turns += int(fields[2])
            reported = True
    return (waited * 1e-9, float(turns)) if reported else None


def _switched(threads: int) -> tuple[float, float]:
    """The same from what every system tells: the process's clock, or its involuntary switches."""
    if threads == 1:
        return time.perf_counter() - time.process_time(), 0.0
    try:
        import resource
    except ImportError:  # not on this system
        return 0.0, 0.0
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw * _PER_SWITCH_S, 0.0


class Patience:
    """How long a process waits in all for a machine to become quiet.

    It grows with the work that is done, so that waiting stays a small part of a search.

    Args:
        seconds: To begin with.
        sleep: Waits.
        share: Of the time that engines run, what is added.
        steps: How long it waits the first time, the second, and so on; the last is repeated.
    """

    def __init__(
        self,
        seconds: float = 1.0,
        sleep: Callable[[float], None] = time.sleep,
        share: float = 0.2,
        steps: Iterable[float] = (0.1, 0.2, 0.5, 1.0),
    ) -> None:
        self._left = seconds
        self._sleep = sleep
        self._share = share
        self._steps = tuple(steps)

    def worked(self, seconds: float) -> None:
        """Engines have run for so long."""
        self._left += self._share * seconds

    def wait(self, time_in_a_row: int) -> bool:
        """Wait a little, longer each time in a row (from 0); ``False`` if patience is at an end."""
        step = self._steps[min(time_in_a_row, len(self._steps) - 1)]
        if self._left < step:
            return False
        self._left -= step
        self._sleep(step)
        return True
