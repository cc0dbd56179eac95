"""How a run is asked to stop: SIGINT, SIGTERM and SIGHUP become one orderly `KeyboardInterrupt`.

A signal that raises wherever the program happens to be can tear a journal line from the trial that
it records, or get lost in a finalizer. So a signal is noted first, and raised where nothing is
half done: at `check`, which the loop over a run's events calls, and at once inside `interruptible`,
which surrounds the places where the main thread waits for a worker. Code that computes for long is
interrupted after a short patience. Inside `shielded` nothing is raised at all: a plan is written.

A thread watches, because Python runs no signal handler while a native library keeps the main
thread busy: it says that the run is stopping, insists, and ends the process at the latest after
`LIMIT_S` seconds.

Only a process that called `install` (the command line does) has any of this. In a user's own
program the functions here do nothing, and Ctrl-C raises `KeyboardInterrupt` as always.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

__all__ = [
    "LIMIT_S",
    "check",
    "heard",
    "ignore",
    "install",
    "interruptible",
    "running",
    "shielded",
    "stopped_by",
    "telling",
]

LIMIT_S = 5.0
"""Seconds after which a process that was asked to stop is ended."""

_WRITING_S = 30.0
"""The same while the plan is being written, which is worth the wait."""

_PATIENCE_S = 0.5
"""Seconds until a computation that reaches no `check` is interrupted."""

_INSIST_S = 2.0
"""Seconds until it is interrupted again: a finalizer can swallow an exception."""

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")


class _Stop:
    """What is known of a request to stop; one per process."""

    def __init__(self) -> None:
        self.number = 0
        self.noted = False
        self.installed = False
        self.running = False
        self.heard = False
        self.pending = False
        self.urgent = False
        self.shields = 0
        self.waits = 0
        self.tell: Callable[[], None] | None = None


_stop = _Stop()


def install() -> None:
    """Handle the signals from now on; one that is ignored (``nohup``) stays ignored.

    Until `running` is called, a signal ends the process at once: nothing is worth keeping yet.
    Must be called by the main thread.
    """
    for name in _NAMES:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _on_signal)
    _stop.installed = True


def running() -> None:
    """From now on there is something to end in order. Starts the thread that watches."""
    if not _stop.installed or _stop.running:
        return
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    sys.unraisablehook = _without_interrupts
    _stop.running = True
    threading.Thread(target=_watch, args=(reader,), name="precsearch-stop", daemon=True).start()


def ignore() -> None:
    """Ignore the signals from now on: the process is about to end by itself."""
    heard()


def stopped_by() -> int:
    """Number of the signal that asked to stop, 0 if none did."""
    return _stop.number


def heard() -> None:
    """Whoever caught the `KeyboardInterrupt` ends the run; no further one is raised."""
    _stop.heard = _stop.installed
    _stop.pending = False


def check() -> None:
    """A place where stopping leaves nothing half done.

    Raises:
        KeyboardInterrupt: A signal has arrived, and was not raised yet.
    """
    if _stop.pending and not _stop.shields:
        _stop.pending = False
        raise KeyboardInterrupt


@contextmanager
def interruptible() -> Iterator[None]:
    """The main thread waits for something that it can give up at any moment.

    Raises:
        KeyboardInterrupt: A signal arrived before or meanwhile.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _stop.waits += 1
    try:
        check()  # after the line above: a signal in between is raised by the handler
        yield
    finally:
        _stop.waits -= 1


@contextmanager
def shielded() -> Iterator[None]:
    """Nothing is raised inside; what arrives meanwhile is raised at the next `check`."""
    _stop.shields += 1
    try:
        yield
    finally:
        _stop.shields -= 1


@contextmanager
def telling(notify: Callable[[], None]) -> Iterator[None]:
    """Call ``notify``, from another thread, as soon as a signal has arrived."""
    _stop.tell = notify
    try:
        yield
    finally:
        _stop.tell = None


def _on_signal(number: int, _: FrameType | None) -> None:
    _stop.number = _stop.number or number
    if not _stop.noted:
        _stop.noted = True
        _stop.pending = not _stop.heard
    if not _stop.running:
        _leave("interrupted")
    if _stop.waits or _stop.urgent:
        _stop.urgent = False
        check()


def _watch(reader: int) -> None:
    """Wait for a signal, then see to it that the process stops."""
    numbers = {int(getattr(signal, name)) for name in _NAMES if hasattr(signal, name)}
    while (number := os.read(reader, 1)[0]) not in numbers:
        pass
    _stop.number = _stop.number or number  # the handler itself may never run
    since = time.monotonic()
    notify = _stop.tell
    if notify is not None:
        with suppress(OSError, ValueError):  # the screen is gone or closed
            notify()
    insist = _PATIENCE_S
    while True:
        time.sleep(0.05)
        elapsed = time.monotonic() - since
        if elapsed >= insist and not _stop.heard and not _stop.shields:
            insist = elapsed + _INSIST_S
            _interrupt_main()
        if elapsed >= (_WRITING_S if _stop.shields else LIMIT_S):
            _leave("stopped without a plan; --resume goes on from the journal, if there is one")


def _interrupt_main() -> None:
    _stop.pending = _stop.urgent = True
    main = threading.main_thread().ident
    if sys.platform != "win32" and main is not None:
        signal.pthread_kill(main, _stop.number or signal.SIGINT)


def _leave(message: str) -> None:
    """End the process without unwinding; workers end when their pipes close."""
    with suppress(OSError):
        os.write(2, f"{message}\n".encode())
    os._exit(128 + _stop.number if _stop.number else 130)


def _without_interrupts(unraisable: sys.UnraisableHookArgs) -> None:
    """An interrupt that a finalizer swallowed is raised again; its traceback helps nobody."""
    if not isinstance(unraisable.exc_value, KeyboardInterrupt):
        sys.__unraisablehook__(unraisable)
