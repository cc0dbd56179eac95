"""Timing several engines side by side, as many at a time as there is memory for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack

from precsearch.core.backend import Session
from precsearch.core.trial import Latency
from precsearch.system.memory import available_memory

__all__ = ["timed_together"]

_SPARE = 2.0
"""Of what the largest engine so far took: opening one takes more for a while than it keeps."""

Open = Callable[[], Session]
Time = Callable[[Sequence[Session]], tuple[Latency, ...]]


def timed_together(
    engines: Sequence[Open],
    time: Time,
    announce: Callable[[str], None],
    available: Callable[[], float] = available_memory,
) -> tuple[Latency, ...]:
    """The latency of each engine, all in the same rounds if they can be open at the same time.

    Where they cannot, those that can are timed together, each time beside FP32: ratios compare.

    Args:
        engines: Open one each.
        time: Times open engines in the same rounds.
        announce: Is told ``build`` and ``time`` as they begin.
        available: Bytes of memory that are left now.

    Raises:
        BuildError: The backend refused a model.
        RunError: An engine failed.
    """
    return tuple(latency for part in _parts(engines, time, announce, available) for latency in part)


def _parts(
    engines: Sequence[Open],
    time: Time,
    announce: Callable[[str], None],
    available: Callable[[], float],
) -> Iterator[tuple[Latency, ...]]:
    left, largest = list(engines), 0.0
    while left:
        announce("build")
        with ExitStack() as stack:
            sessions: list[Session] = []
            while left and (not sessions or available() > _SPARE * largest):
                before = available()
                session = left.pop(0)()
                stack.callback(session.close)
                sessions.append(session)
                largest = max(largest, before - available())
            announce("time")
            yield time(sessions)
