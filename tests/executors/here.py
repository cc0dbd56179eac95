"""An executor whose services run in this process, each behind a channel that can be broken."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, Concatenate, ParamSpec, TypeVar

from precsearch.core.device import DeviceSpec
from precsearch.core.errors import WorkerCrashed, WorkerError, WorkerMissing
from precsearch.executors.protocol import Channel, Executor
from precsearch.measurement.place import Place

S = TypeVar("S")
T = TypeVar("T")
P = ParamSpec("P")
R = TypeVar("R")


class Here(Channel[S]):
    """A channel to an object of this process.

    Attributes:
        starts: How often the service was constructed.
        called: Names of the methods that were called.
        deaths: Names of methods at whose next call the service dies, in turn.
        lost: Whether the service cannot be constructed any more.
        lost_at: Name of a method at whose call it is lost.
    """

    def __init__(
        self, device: DeviceSpec, make: Callable[..., S], args: tuple[object, ...]
    ) -> None:
        self._device = device
        self._make: Callable[..., Any] = make
        self._args = args
        self._made: Any = None
        self._settled: list[tuple[str, tuple[object, ...], dict[str, object]]] = []
        self._lock = threading.RLock()
        self.starts = 0
        self.called: list[str] = []
        self.deaths: list[str] = []
        self.lost = False
        self.lost_at = ""
        self.closed = False

    @property
    def device(self) -> DeviceSpec:
        return self._device

    @property
    def ready(self) -> bool:
        return self._made is not None

    def prepare(self) -> None:
        with self._lock:
            if self.closed:
                raise WorkerError("the worker is closed")
            if self.lost:
                raise WorkerMissing("its node is gone")
            if self._made is None:
                self.starts += 1
                self._made = self._make(Place(), *self._args, lambda _: None)
                for name, args, more in self._settled:
                    getattr(self._made, name)(*args, **more)

    def call(self, method: Callable[Concatenate[S, P], R], /, *args: P.args, **more: P.kwargs) -> R:
        with self._lock:
            self.prepare()
            if method.__name__ == self.lost_at:
                self.lost, self._made = True, None
                self.prepare()
            self.called.append(method.__name__)
            if self.deaths and self.deaths[0] == method.__name__:
                self.deaths.pop(0)
                self._made = None
                error = WorkerCrashed("the worker died of SIGSEGV")
                error.stage = "time"
                raise error
            found: R = getattr(self._made, method.__name__)(*args, **more)
            return found

    once = call

    def settle(
        self, method: Callable[Concatenate[S, P], R], /, *args: P.args, **more: P.kwargs
    ) -> None:
        self.call(method, *args, **more)
        self._settled.append((method.__name__, args, dict(more)))

    def serve(self, *args: object) -> None:
        self._args, self._made = args, None
        self._settled.clear()

    def remember(self, *args: object) -> None:
        self._args = args

    def become(self, make: Callable[..., T], /, *args: object) -> Channel[T]:
        self._make = make
        self.serve(*args)
        other: Any = self
        return other  # type: ignore[no-any-return]

    def stop(self) -> None:
        self._made = None

    def close(self) -> None:
        self.closed = True

    def __enter__(self) -> Here[S]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class HereExecutor(Executor):
    """Opens `Here` channels.

    Args:
        devices: The home device first.
        by: Makes the service of a device; ``None`` is what the caller asks for.
    """

    def __init__(
        self,
        devices: Sequence[DeviceSpec] = (DeviceSpec(),),
        by: Callable[[DeviceSpec], Callable[..., Any]] | None = None,
    ) -> None:
        self._devices = tuple(devices)
        self._by = by
        self.opened: list[Here[Any]] = []

    def devices(self) -> Sequence[DeviceSpec]:
        return self._devices

    def open(
        self,
        device: DeviceSpec,
        make: Callable[..., S],
        /,
        *args: object,
        limit_s: float = 3600.0,
    ) -> Channel[S]:
        made: Callable[..., Any] = make if self._by is None else self._by(device)
        channel: Here[S] = Here(device, made, args)
        self.opened.append(channel)
        return channel

    def lock(self, device: DeviceSpec) -> str | None:
        return None

    def close(self) -> None:
        pass
