"""`Worker`: calls into a child process that is replaced when it dies."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from precsearch.core.errors import WorkerCrashed, WorkerError, WorkerKilled, WorkerTimeout
from precsearch.executors.process.child import Child
from precsearch.executors.process.limit import Limit
from precsearch.executors.process.wire import pack
from precsearch.system.interrupts import interruptible

__all__ = ["Worker"]

_START_S = 60.0
"""A limit that is short for a call must not forbid a slow disk to load an interpreter."""

_LIVES = 3
"""How often a call is begun, where something outside kills the child each time."""

_FROM_OUTSIDE = {
    -int(getattr(signal, name))
    for name in ("SIGKILL", "SIGTERM", "SIGHUP", "SIGINT")
    if hasattr(signal, name)
}
"""Return codes of a child that did not end by its own doing, unless we killed it."""

T = TypeVar("T")


class Worker:
    """Serves the methods of ``factory(*args, announce)`` from a child process.

    The object tells through ``announce(stage)`` what it is at, so that a crash can be attributed.
    After a crash or a timeout, the next call starts a fresh child. One call at a time; others wait.
    A child that something outside killed (the out-of-memory killer, an operator) says nothing about
    what it was asked: it is started again and asked again.

    Args:
        factory: Importable, so not from the script that is run.
        args: Its arguments, picklable.
        limit_s: Seconds that a call may take, not counting those after it announced
            `precsearch.measurement.device_lock.WAITING`; constructing the object may take a minute
            more.
        preload: Modules that the child imports at once, while we do something else.
        memory_limit: Bytes of address space, where the system can limit them.

    Raises:
        WorkerError: No process can be started.
    """

    def __init__(
        self,
        factory: Callable[..., object],
        args: Sequence[object] = (),
        *,
        limit_s: float,
        preload: Sequence[str] = ("onnxruntime",),
        memory_limit: int | None = None,
    ) -> None:
        self._factory = factory
        self._args = tuple(args)
        self._limit_s = limit_s
        self._options: dict[str, Any] = {"preload": list(preload), "memory": memory_limit}
        self._lock = threading.RLock()
        self._closed = False
        self._made = False
        self._settled: list[tuple[str, tuple[object, ...]]] = []
        self._child = Child(self._options)

    def another(self, *args: object) -> Worker:
        """A new worker of the same factory, in a process of its own.

        Args:
            args: What the factory is given there.

        Raises:
            WorkerError: No process can be started.
        """
        return Worker(
            self._factory,
            args,
            limit_s=self._limit_s,
            preload=self._options["preload"],
            memory_limit=self._options["memory"],
        )

    @property
    def pid(self) -> int:
        """Process id of the current or last child; its process group has the same."""
        return self._child.process.pid

    @property
    def ready(self) -> bool:
        """Whether the object is made, so that a call begins with the method itself."""
        return self._made and self._child.alive

    def prepare(self) -> None:
        """Make the object, in a fresh child if the last one died.

        Raises:
            PrecsearchError: See `call`.
        """
        with self._lock:
            self._outlive(self._prepare, _LIVES)

    def call(
        self,
        method: str,
        /,
        *args: object,
        limit_s: float | None = None,
        again: bool = True,
    ) -> Any:  # noqa: ANN401 - what the method returns
        """The result of a method, run in the child.

        Args:
            method: Its name.
            args: Its arguments, picklable.
            limit_s: Seconds that it may take, if not the worker's own limit.
            again: Ask a fresh child if something outside kills the one that is asked. False where
                the caller does so itself.

        Raises:
            PrecsearchError: The method raised it. Like all of these it has an attribute ``stage``:
                what the child announced last, "start" before that.
            MemoryError: Likewise.
            EngineError: The method raised anything else; this is one line of it.
            WorkerCrashed: The child died; `WorkerKilled` if something outside killed it.
            WorkerTimeout: It passed the limit and was killed.
            WorkerError: `stop` was called, the worker is closed, or no process can be started.
        """

        def once() -> Any:  # noqa: ANN401 - see above
            self._prepare()
            return self._ask(method, args, self._limit_s if limit_s is None else limit_s)

        with self._lock:
            return self._outlive(once, _LIVES if again else 1)

    def settle(self, method: str, /, *args: object) -> None:
        """Call a method now, and first thing in every child that replaces this one.

        For what changes the object: without it, a fresh child would go on as if nothing had been
        said. Forgotten by `restart_with`.

        Raises:
            PrecsearchError: See `call`.
        """
        with self._lock:
            self.call(method, *args)
            self._settled.append((method, args))

    def _outlive(self, act: Callable[[], T], lives: int) -> T:
        """What ``act`` gives, begun again after a kill from outside."""
        for _ in range(lives - 1):
            with suppress(WorkerKilled):
                return act()
        return act()

    def _prepare(self) -> None:
        if self._closed:
            raise _at("start", WorkerError("the worker is closed"))
        if not self._child.alive:
            self._discard()
            self._child = Child(self._options)
        if not self._made:
            self._ask(None, (self._factory, self._args), self._limit_s + _START_S)
            self._made = True
            for method, args in self._settled:
                self._ask(method, args, self._limit_s)

    def restart_with(self, *args: object) -> None:
        """Construct the served object anew at the next call, with other arguments."""
        with self._lock:
            self._args = args
            self._made = False
            self._settled.clear()

    def remember(self, *args: object) -> None:
        """Construct it with these arguments should the child die; go on with it as it is."""
        with self._lock:
            self._args = args

    def log_tail(self) -> str:
        """The end of what the current or last child printed, native libraries included."""
        return self._child.log()

    def stop(self) -> None:
        """Kill the child; from any thread. A call that is running raises `WorkerError`."""
        self._child.kill("stopped")

    def close(self) -> None:
        """End the child; a call that runs in another thread is cut short. May be called twice."""
        if not self._lock.acquire(blocking=False):
            self.stop()
            self._lock.acquire()
        try:
            self._closed = True
            self._child.end()
        finally:
            self._lock.release()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _discard(self) -> None:
        self._made = False
        self._child.kill("discarded")
        self._child.reap()

    def _ask(self, method: str | None, args: tuple[object, ...], limit_s: float) -> Any:  # noqa: ANN401
        child = self._child
        child.stage = "start"
        request = pack((limit_s, method, args))
        limit = Limit(limit_s, child)
        try:
            with interruptible():
                kind, value = child.ask(request, limit.heard)
        except (EOFError, OSError):
            raise self._death(limit_s) from None
        except BaseException:  # Ctrl-C, say: its reply would be taken for that to the next request
            self._discard()
            raise
        finally:
            limit.end()
        if kind == "result":
            return value
        if method is None:
            self._discard()
        raise _at(child.stage, value)

    def _death(self, limit_s: float) -> BaseException:
        """What ended the child, as an error."""
        child = self._child
        self._discard()
        where = f"at stage {child.stage!r}"
        if child.killed_for == "expired":
            text = f"the worker passed its limit of {limit_s:g} s {where} and was killed"
            return _at(child.stage, WorkerTimeout(text))
        if child.killed_for == "stopped":
            return _at(child.stage, WorkerError(f"the worker was stopped {where}"))
        code = child.process.returncode
        if code in _FROM_OUTSIDE:
            name = signal.Signals(-code).name
            killed = WorkerKilled(
                f"something outside killed the worker ({name}) {where}: if memory ran out, give "
                "the process more, or use fewer samples or a smaller model"
            )
            return _at(child.stage, killed)
        how = _ending(code)
        return _at(child.stage, WorkerCrashed(f"the worker {how} {where}"))


def _at(stage: str, error: BaseException) -> BaseException:
    """``error`` with a stage, for whoever makes an outcome of it."""
    error.__dict__["stage"] = stage
    return error


def _ending(code: int | None) -> str:
    if code is None:
        return "does not answer and cannot be killed"
    if code >= 0:
        return f"exited with code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"died of {name}"
