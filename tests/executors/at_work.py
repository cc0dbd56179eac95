"""Meeting a worker while it is at work, however long it takes to begin."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from precsearch.executors.process import Worker

__all__ = ["while_at_work"]


@contextmanager
def while_at_work(worker: Worker[Any], act: Callable[[], object]) -> Iterator[None]:
    """Do something from another thread as soon as a method says that it is at stage ``time``."""

    def wait() -> None:
        deadline = time.monotonic() + 30
        while worker._child.stage != "time" and time.monotonic() < deadline:
            time.sleep(0.005)
        act()

    thread = threading.Thread(target=wait)
    thread.start()
    try:
        yield
    finally:
        thread.join()
