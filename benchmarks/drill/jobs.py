"""A piece of the drill, as a process of a pool does it, which cannot import ``__main__``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

__all__ = ["Job", "done"]

Job = tuple[Callable[..., Counter[str]], int, int, bool]


def done(job: Job) -> Counter[str]:
    act, seed, count, alone = job
    return act(seed, count, processes=True) if alone else act(seed, count)
