"""`RayChannel`: calls to a service whose actor may be lost and come back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, TypeVar

from precsearch.core.device import DeviceSpec
from precsearch.core.errors import WorkerError, WorkerKilled, WorkerMissing
from precsearch.executors.protocol import Channel
from precsearch.system.interrupts import interruptible

__all__ = ["RayChannel"]

_RETURN_S = 60.0
"""How long a lost actor may take to come back."""

_START_S = 300.0
"""How long Ray may take to find room for an actor on its node."""

_LIVES = 3
"""How often a call is begun, where its actor is lost each time."""

_LOOK_S = 0.5

S = TypeVar("S")
T = TypeVar("T")
P = ParamSpec("P")
R = TypeVar("R")


class RayChannel(Channel[S]):
    """See `precsearch.executors.protocol.Channel`.

    Args:
        device: Where.
        start: Starts an actor for the device, or one in place of a lost one.
        put: Puts an object into Ray's store, once.
        make: Constructs the service.
        args: Its arguments.
        limit_s: Seconds that a call may take.
    """

    def __init__(
        self,
        device: DeviceSpec,
        start: Callable[[DeviceSpec], Any],
        put: Callable[[object], Any],
        make: Callable[..., S],
        args: tuple[object, ...],
        limit_s: float,
    ) -> None:
        self._device = device
        self._put = put
        self._make: Callable[..., Any] = make
        self._args = args
        self._limit_s = limit_s
        self._settled: list[tuple[str, tuple[object, ...], dict[str, Any]]] = []
        self._lock = threading.RLock()
        self._open = False
        self._running = False
        self._closed = False
        self.actor = start(device)

    @property
    def device(self) -> DeviceSpec:
        """See `Channel.device`."""
        return self._device

    @property
    def ready(self) -> bool:
        """See `Channel.ready`."""
        return self._open and self._running

    def prepare(self) -> None:
        """See `Channel.prepare`."""
        with self._lock:
            if self._closed:
                raise WorkerError("the worker is closed")
            if not self.ready:
                self._reopen()

    def _reopen(self) -> None:
        """Start the service; wait for an actor that Ray starts again on its node."""
        self._wait_for_place()
        deadline = time.monotonic() + _RETURN_S
        while not self._opened(deadline):
            time.sleep(_LOOK_S)

    def _wait_for_place(self) -> None:
        """Wait until Ray has started the actor, which it does once there is a GPU for it."""
        import ray

        here, deadline = self.actor.pid.remote(), time.monotonic() + _START_S
        with interruptible():
            while not ray.wait([here], timeout=_LOOK_S)[0]:
                if time.monotonic() > deadline:
                    raise WorkerMissing(
                        f"Ray has not started a worker on device {self._device.name} within "
                        f"{_START_S:.0f} s; see 'ray status' for what it waits for"
                    )

    def _opened(self, deadline: float) -> bool:
        """Whether the service runs now; not yet, if Ray is starting the actor again."""
        import ray

        refs = [self._put(a) for a in self._args]
        try:
            self._take(self.actor.open.remote(self._make, refs, self._limit_s, self._settled))
        except ray.exceptions.ActorUnavailableError as error:
            if time.monotonic() > deadline:
                raise self._missing(error) from error
            return False
        except (ray.exceptions.RayActorError, ray.exceptions.RaySystemError) as error:
            raise self._missing(error) from error
        self._open = True
        return True

    def _missing(self, error: Exception) -> WorkerMissing:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        return WorkerMissing(
            f"device {self._device.name} of the Ray cluster is lost ({reason}); check its node, "
            "and go on with --resume"
        )

    def call(self, method: Callable[Concatenate[S, P], R], /, *args: P.args, **more: P.kwargs) -> R:
        """See `Channel.call`."""
        for _ in range(_LIVES - 1):
            with suppress(WorkerKilled):
                return self._asked(method, args, more, again=True)
        return self._asked(method, args, more, again=True)

    def once(self, method: Callable[Concatenate[S, P], R], /, *args: P.args, **more: P.kwargs) -> R:
        """See `Channel.once`."""
        return self._asked(method, args, more, again=False)

    def _asked(
        self,
        method: Callable[Concatenate[S, P], R],
        args: tuple[object, ...],
        more: Mapping[str, Any],
        *,
        again: bool,
    ) -> R:
        import ray

        with self._lock:
            self.prepare()
            try:
                result: R = self._take(self.actor.ask.remote(method.__name__, args, more, again))
            except ray.exceptions.RayActorError as error:
                self._open = False
                killed = WorkerKilled(
                    f"the actor of device {self._device.name} was lost while it worked: its node "
                    "is gone, or something ended the actor"
                )
                killed.stage = "start"
                raise killed from error
        return result

    def _take(self, ref: Any) -> Any:  # noqa: ANN401 - a reply from the wire
        """Wait for a reply; a signal is heard meanwhile."""
        import ray

        with interruptible():
            while not ray.wait([ref], timeout=_LOOK_S)[0]:
                pass
        kind, value, self._running = ray.get(ref)
        if kind == "error":
            raise value
        return value

    def settle(
        self, method: Callable[Concatenate[S, P], R], /, *args: P.args, **more: P.kwargs
    ) -> None:
        """See `Channel.settle`."""
        with self._lock:
            self.call(method, *args, **more)
            self._settled.append((method.__name__, args, dict(more)))

    def serve(self, *args: object) -> None:
        """See `Channel.serve`."""
        with self._lock:
            self._args, self._open = args, False
            self._settled.clear()

    def remember(self, *args: object) -> None:
        """See `Channel.remember`."""
        with self._lock:
            self._args = args

    def become(self, make: Callable[..., T], /, *args: object) -> Channel[T]:
        """See `Channel.become`."""
        worker: RayChannel[Any] = self
        with self._lock:
            worker._make = make
            self.serve(*args)
        return worker

    def stop(self) -> None:
        """See `Channel.stop`."""
        self._running = False
        self.actor.stop.remote()

    def close(self) -> None:
        """See `Channel.close`."""
        import ray

        if self._closed:
            return
        self._closed = True
        with suppress(Exception):  # the actor or Ray itself may be gone
            ray.get(self.actor.close.remote(), timeout=10)
        with suppress(Exception):
            ray.kill(self.actor)

    def __enter__(self) -> RayChannel[S]:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
