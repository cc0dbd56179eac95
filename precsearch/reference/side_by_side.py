"""Runs of one session on several feeds at a time: a single run keeps few of many cores busy."""

from __future__ import annotations

import mmap
import os
import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnxruntime as ort

from precsearch.core.backend import Feed
from precsearch.system.memory import available_memory, peak_growth

__all__ = ["run_in_order"]

_MOST = 4
"""Runs at a time. On 16 cores, four take 0.41 (INT8 of a transformer) and 0.6 (a residual CNN) of
the time of one after the other, eight hardly less (docs/benchmarks/gpu.md)."""

_ROOM = 2
"""A run is given this times the memory that the first one was seen to take."""

_RANDOM = re.compile(rb"Random|Bernoulli|Multinomial|Dropout")
"""Operators whose outputs depend on the order of runs, or what is named like them."""


def run_in_order(
    session: ort.InferenceSession,
    model: bytes | str,
    feeds: Iterable[Feed],
    names: Sequence[str] | None = None,
) -> Iterator[list[Any]]:
    """Outputs for each feed, in the order of the feeds, byte for byte those of a run alone.

    Runs of a session share its threads, and how an operator is cut into parts depends on their
    number alone. The first run is alone: it tells how much memory a run takes.

    Args:
        session: Open.
        model: What it was opened from: a serialized ``ModelProto``, or the path of one.
        feeds: Input name → array; at most a few are taken ahead of what is returned.
        names: Of the outputs; ``None`` is all of them.

    Raises:
        Exception: What ONNX Runtime raises, for the first feed that it refuses.
    """
    left = iter(feeds)
    first = next(left, None)
    if first is None:
        return
    found: list[list[Any]] = []
    taken = peak_growth(lambda: found.append(session.run(names, dict(first))))
    yield found.pop()
    lanes = _lanes(model, taken)
    running: deque[Future[list[Any]]] = deque()
    threads = ThreadPoolExecutor(lanes)
    try:
        while True:
            for feed in islice(left, lanes - len(running)):
                running.append(threads.submit(session.run, names, dict(feed)))
            if not running:
                return
            yield running.popleft().result()
    finally:
        threads.shutdown(wait=True, cancel_futures=True)


def _lanes(model: bytes | str, taken: int) -> int:
    """How many runs at a time the cores and the memory of this process allow."""
    if _may_be_random(model):
        return 1
    room = available_memory() / max(1, _ROOM * taken)
    return max(1, int(min(_MOST, len(os.sched_getaffinity(0)), room)))


def _may_be_random(model: bytes | str) -> bool:
    if isinstance(model, bytes):
        return _RANDOM.search(model) is not None
    with Path(model).open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as text:
        return _RANDOM.search(text) is not None
