"""Whose turn it is on a device: many may work on it, or one has it alone.

Timing is exclusive per device, and so is building where a builder chooses kernels by timing them
(TensorRT). On a CPU whatever else runs there disturbs a measurement: builds, accuracy runs and
proxies of the other workers, and the lowering and the starting of workers in the parent. All of
these share the device. On a GPU references, calibration, proxies and lowering run on the CPU: they
need no turn, and go on while another worker builds or times. The backend says which stage is
which, see `precsearch.core.backend.DeviceUse`.

The discipline is that of readers and writers, kept by the operating system (``flock``): whatever
ends a process, by a crash or a kill, also gives back what it held.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

from precsearch.core.backend import DeviceUse
from precsearch.measurement.reference_service import Announce
from precsearch.system.regular_file import open_descriptor

__all__ = ["WAITING", "DeviceLock", "SerializedService"]

WAITING = "wait"
"""What is announced before a turn is waited for; the time limit of a call stands still then."""


class DeviceLock:
    """A turn on a device that several processes use. Not for two threads at once.

    A second lock is held while the first is waited for, so that one who wants the device alone is
    not overtaken for ever by those who share it.

    Args:
        path: A file that all of these processes can write; it is made, and so is
            ``<path>.queue`` beside it.

    Raises:
        OSError: A file cannot be opened.
    """

    def __init__(self, path: str) -> None:
        self._turn, self._queue = _opened(path), _opened(f"{path}.queue")

    def take(self, *, alone: bool) -> None:
        """Wait for a turn; one that is held is given back before.

        Raises:
            OSError: The file system cannot lock.
        """
        import fcntl

        self.release()
        fcntl.flock(self._queue, fcntl.LOCK_EX)
        try:
            fcntl.flock(self._turn, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        finally:
            fcntl.flock(self._queue, fcntl.LOCK_UN)

    def release(self) -> None:
        """Give the turn back, if one is held."""
        import fcntl

        fcntl.flock(self._turn, fcntl.LOCK_UN)

    @classmethod
    @contextmanager
    def shared(cls, *paths: str) -> Iterator[None]:
        """Share devices for a while; without a path, nothing is waited for.

        Raises:
            OSError: A file cannot be opened, or not be locked.
        """
        with ExitStack() as stack:
            for path in paths:
                lock = cls(path)
                stack.callback(lock.close)
                lock.take(alone=False)
            yield

    def close(self) -> None:
        """Give back what is held, and the files."""
        os.close(self._turn)
        os.close(self._queue)


class SerializedService:
    """Another object, whose methods take turns by the stages that they announce.

    A stage holds until the next one or the end of the call, so that what follows the timing (the
    profile) is not disturbed either.

    Args:
        make: Makes the object from what it shall announce its stages to.
        path: See `DeviceLock`.
        use: Which stages want the device alone, and which leave it to others.
        announce: Told each stage once the turn has come, and `WAITING` before.
    """

    def __init__(
        self,
        make: Callable[[Announce], object],
        path: str,
        use: DeviceUse,
        announce: Announce,
    ) -> None:
        self._lock = DeviceLock(path)
        self._use = use
        self._announce = announce
        self._held = ""
        self._made = make(self._enter)

    def __getattr__(self, name: str) -> Callable[..., object]:
        return partial(self._call, getattr(self._made, name))

    def _call(self, method: Callable[..., object], *args: object, **more: object) -> object:
        try:
            return method(*args, **more)
        finally:
            self._held = ""
            self._lock.release()

    def _enter(self, stage: str) -> None:
        if stage in self._use.elsewhere:
            self._held = ""
            self._lock.release()
            self._announce(stage)
            return
        turn = "alone" if stage in self._use.alone else "shared"
        if turn != self._held:
            self._announce(WAITING)
            self._lock.take(alone=turn == "alone")
            self._held = turn
        self._announce(stage)


def _opened(path: str) -> int:
    return open_descriptor(path, os.O_RDWR | os.O_CREAT, follow=False, mode=0o644)
