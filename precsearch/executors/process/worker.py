"""`Worker`: calls into a child process that is replaced when it dies."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Concatenate, ParamSpec, TypeVar

from precsearch.core.device import DeviceSpec
from precsearch.core.errors import PrecsearchError, WorkerError, WorkerKilled
from precsearch.executors.process.child import Child
from precsearch.executors.process.death import at_stage, death_of
from precsearch.executors.process.limit import Limit
from precsearch.executors.process.start import Launch
from precsearch.executors.process.wire import pack
from precsearch.executors.protocol import Channel
from precsearch.measurement.place import Place
from precsearch.system.interrupts import interruptible

__all__ = ["Worker"]

_START_S = 60.0
"""A limit that is short for a call must not forbid a slow disk to load an interpreter."""

_LIVES = 3
"""How often a call is begun, where something outside kills the child each time."""

S = TypeVar("S")
T = TypeVar("T")
P = ParamSpec("P")
R = TypeVar("R")


class Worker(Channel[S]):
    """Serves the methods of ``factory(*args, announce)`` from a child process.

    It is a `precsearch.executors.protocol.Channel`. The object tells through ``announce(stage)``
    what it is at, so that a crash can be attributed. After a crash or a timeout, the next call
    starts a fresh child. One call at a time; others wait. A child that something outside killed
    (the out-of-memory killer, an operator) says nothing about what it was asked: `call` starts it
    again and asks again.

    Args:
        factory: Importable, so not from the script that is run.
        args: Its arguments, picklable.
        limit_s: Seconds that a call may take, not counting those after it announced
            `precsearch.measurement.device_lock.WAITING`; constructing the object may take a minute
            more.
        preload: Modules that the child imports at once, while we do something else.
        memory_limit: Bytes of address space, where the system can limit them.
        device: What the child runs on: its cores, or the GPU that it sees.
        place: The first argument of ``factory``, ``None`` if it takes none.
        launch: The command line of a child from what it is given, ``None`` for one on this machine.
        binding: Makes the object from ``factory`` and its arguments, on the child's host.

    Raises:
        WorkerMissing: No process can be started.
    """

    def __init__(
        self,
        factory: Callable[..., S],
        args: Sequence[object] = (),
        *,
        limit_s: float,
        preload: Sequence[str] = ("onnxruntime",),
        memory_limit: int | None = None,
        device: DeviceSpec = DeviceSpec(),  # noqa: B008 - it is frozen
        place: Place | None = None,
        launch: Launch | None = None,
        binding: Callable[..., Any] | None = None,
    ) -> None:
        self._device = device
        self._place = place
        self._launch = launch
        self._binding = binding
        self._factory = self._placed(factory)
        self._args = tuple(args)
        self._limit_s = limit_s
        self._options: dict[str, Any] = {"preload": list(preload), "memory": memory_limit}
        self._lock = threading.RLock()
        self._closed = False
        self._made = False
        self._settled: list[tuple[str, tuple[object, ...], dict[str, object]]] = []
        self._child = Child(self._options, device, launch)

    @property
    def device(self) -> DeviceSpec:
        """See `Channel.device`."""
        return self._device

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

    def call(self, method: Callable[Concatenate[S, P], R], /, *args: P.args, **more: P.kwargs) -> R:
        """The result of a method, run in the child; see `Channel.call` for what is raised.

        Args:
            method: Of the object's class, unbound; what is called is the object's of its name.
            args: Its arguments, picklable.
            more: Its arguments by name, picklable.
        """
        return self._called(method, args, more, self._limit_s, _LIVES)

    def named(
        self, method: str, args: tuple[object, ...], more: Mapping[str, Any], *, again: bool
    ) -> object:
        """`call` or `once` by the name of a method, for a caller on another host."""
        return self._asked(method, args, more, self._limit_s, _LIVES if again else 1)

    def once(self, method: Callable[Concatenate[S, P], R], /, *args: P.args, **more: P.kwargs) -> R:
        """`call`, but a fresh child is not asked again if something outside kills this one."""
        return self._called(method, args, more, self._limit_s, 1)

    def within(
        self,
        limit_s: float,
        method: Callable[Concatenate[S, P], R],
        /,
        *args: P.args,
        **more: P.kwargs,
    ) -> R:
        """`call` with another limit, in seconds."""
        return self._called(method, args, more, limit_s, _LIVES)

    def _called(
        self,
        method: Callable[Concatenate[S, P], R],
        args: tuple[object, ...],
        more: Mapping[str, Any],
        limit_s: float,
        lives: int,
    ) -> R:
        result: R = self._asked(method.__name__, args, more, limit_s, lives)
        return result

    def _asked(
        self,
        method: str,
        args: tuple[object, ...],
        more: Mapping[str, Any],
        limit_s: float,
        lives: int,
    ) -> Any:  # noqa: ANN401 - a reply from the wire
        def begun() -> Any:  # noqa: ANN401 - what the object's method gives
            self._prepare()
            return self._ask(method, args, more, limit_s)

        with self._lock:
            return self._outlive(begun, lives)

    def settle(
        self, method: Callable[Concatenate[S, P], R], /, *args: P.args, **more: P.kwargs
    ) -> None:
        """Call a method now, and first thing in every child that replaces this one.

        For what changes the object: without it, a fresh child would go on as if nothing had been
        said. Forgotten by `serve`.

        Raises:
            PrecsearchError: See `call`.
        """
        with self._lock:
            self.call(method, *args, **more)
            self._settled.append((method.__name__, args, dict(more)))

    def _outlive(self, act: Callable[[], T], lives: int) -> T:
        """What ``act`` gives, begun again after a kill from outside."""
        for _ in range(lives - 1):
            with suppress(WorkerKilled):
                return act()
        return act()

    def _prepare(self) -> None:
        if self._closed:
            raise at_stage("start", WorkerError("the worker is closed"))
        if not self._child.alive:
            self._discard()
            self._child = Child(self._options, self._device, self._launch)
        if not self._made:
            self._ask(None, (self._factory, self._args), {}, self._limit_s + _START_S)
            self._made = True
            for method, args, more in self._settled:
                self._ask(method, args, more, self._limit_s)

    def serve(self, *args: object) -> None:
        """Construct the served object anew at the next call, with other arguments."""
        with self._lock:
            self._args = args
            self._made = False
            self._settled.clear()

    def remember(self, *args: object) -> None:
        """Construct it with these arguments should the child die; go on with it as it is."""
        with self._lock:
            self._args = args

    def become(self, factory: Callable[..., T], *args: object) -> Worker[T]:
        """Serve another object from the same process, in place of this one, from the next call on.

        Args:
            factory: See the class.
            args: Its arguments.

        Returns:
            This worker.
        """
        worker: Worker[Any] = self
        with self._lock:
            worker._factory = self._placed(factory)
            self.serve(*args)
        return worker

    def _placed(self, factory: Callable[..., T]) -> Callable[..., T]:
        if self._binding is not None:
            return partial(self._binding, factory)
        return factory if self._place is None else partial(factory, self._place)

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

    def __enter__(self) -> Worker[S]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _discard(self) -> None:
        self._made = False
        self._child.kill("discarded")
        self._child.reap()

    def _ask(
        self,
        method: str | None,
        args: tuple[object, ...],
        more: Mapping[str, Any],
        limit_s: float,
    ) -> Any:  # noqa: ANN401 - a reply from the wire; `_called` names its type
        child = self._child
        child.stage = "start"
        request = pack((limit_s, method, args, dict(more)))
        limit = Limit(limit_s, child)
        try:
            with interruptible():
                kind, value = child.ask(request, limit.heard)
        except (EOFError, OSError):
            child.outwait()
            self._discard()
            raise death_of(child, limit_s) from None
        except BaseException:  # Ctrl-C, say: its reply would be taken for that to the next request
            self._discard()
            raise
        finally:
            limit.end()
        if kind == "result":
            return value
        if method is None:
            self._discard()
        assert isinstance(value, PrecsearchError), "the child makes one of every error"
        raise at_stage(child.stage, value)
