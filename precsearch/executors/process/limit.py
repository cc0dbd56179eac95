"""How long a child may work on one call."""

from __future__ import annotations

import threading
import time

from precsearch.executors.process.child import Child
from precsearch.measurement.device_lock import WAITING

__all__ = ["Limit"]


class Limit:
    """Kills a child that works for too long; while it waits for its turn, the time stands still."""

    def __init__(self, limit_s: float, child: Child) -> None:
        self._left = limit_s
        self._child = child
        self._since = 0.0
        self._timer: threading.Timer | None = None
        self._go_on()

    def heard(self, stage: str) -> None:
        """The child announced what it is at."""
        if stage == WAITING:
            self.end()
        elif self._timer is None:
            self._go_on()

    def end(self) -> None:
        """Stand still."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._left -= time.monotonic() - self._since

    def _go_on(self) -> None:
        self._since = time.monotonic()
        self._timer = threading.Timer(max(0.0, self._left), self._child.kill, ("expired",))
        self._timer.daemon = True
        self._timer.start()
