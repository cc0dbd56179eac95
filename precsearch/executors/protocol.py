"""The seam between a search and whatever runs its engines: `Executor` and `Channel`.

An executor knows devices and starts services on them; a channel calls the methods of one service.
Subprocesses of this machine (`precsearch.executors.process`) are one executor. What a search asks
of a device, typed, is `precsearch.executors.client.MeasurementClient`: it needs nothing else than a
channel, so that an executor has no method for each thing that is measured.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from precsearch.core.device import DeviceSpec

__all__ = ["Channel", "Executor", "Service"]

P = ParamSpec("P")
R = TypeVar("R")
Service = TypeVar("Service")
Service_co = TypeVar("Service_co", covariant=True)
Other = TypeVar("Other")


class Channel(Protocol[Service_co]):
    """Calls the methods of one service, which runs in a process that may die.

    One call at a time; callers in other threads wait. After a crash or a timeout, the next call
    starts the service again. The methods are passed unbound, such as
    ``channel.call(MeasurementService.measure, candidate, fidelity)``, so that a type checker knows
    arguments and result.
    """

    @property
    def device(self) -> DeviceSpec:
        """What the service runs on."""
        ...

    @property
    def ready(self) -> bool:
        """Whether the service runs, so that a call begins with the method itself."""
        ...

    def prepare(self) -> None:
        """Start the service unless it runs.

        Raises:
            PrecsearchError: See `call`.
        """
        ...

    def call(
        self, method: Callable[Concatenate[Service_co, P], R], /, *args: P.args, **more: P.kwargs
    ) -> R:
        """The result of a method. It is called again if something outside ends the process.

        Raises:
            PrecsearchError: The method raised it. Like all of these it has a ``stage``.
            EngineError: The method raised anything else; the message is one line of it.
            OutOfMemory: Memory did not suffice for it.
            WorkerCrashed: The process died; `WorkerKilled` if something outside ended it.
            WorkerTimeout: It passed the time limit and was killed.
            WorkerError: `stop` was called, or the channel is closed.
            WorkerMissing: No process can be started.
        """
        ...

    def once(
        self, method: Callable[Concatenate[Service_co, P], R], /, *args: P.args, **more: P.kwargs
    ) -> R:
        """`call`, but it is not called again: what killed a device must not be built again.

        Raises:
            PrecsearchError: See `call`.
        """
        ...

    def settle(
        self, method: Callable[Concatenate[Service_co, P], R], /, *args: P.args, **more: P.kwargs
    ) -> None:
        """Call a method now, and first thing whenever the service is started again.

        For what changes the service. `serve` forgets it.

        Raises:
            PrecsearchError: See `call`.
        """
        ...

    def serve(self, *args: object) -> None:
        """Construct the service anew at the next call, with other arguments."""
        ...

    def remember(self, *args: object) -> None:
        """Construct it with other arguments should it be started again; go on with it as it is."""
        ...

    def become(self, make: Callable[..., Other], /, *args: object) -> Channel[Other]:
        """Serve another service from the same process, from the next call on.

        Args:
            make: See `Executor.open`.
            args: See `Executor.open`.
        """
        ...

    def stop(self) -> None:
        """End the process, from any thread. A call that is running raises `WorkerError`."""
        ...

    def close(self) -> None:
        """End the process for good; a call in another thread is cut short. May be called twice."""
        ...

    def __enter__(self) -> Channel[Service_co]: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None: ...


class Executor(Protocol):
    """Starts services on devices."""

    def devices(self) -> Sequence[DeviceSpec]:
        """The devices of a search, the home device first: its timings are compared."""
        ...

    def open(
        self,
        device: DeviceSpec,
        make: Callable[..., Service],
        /,
        *args: object,
        limit_s: float = 3600.0,
    ) -> Channel[Service]:
        """A channel to a service on a device. The service is constructed by the first call.

        Args:
            device: One of `devices`.
            make: Constructs the service in its own process, so it is importable by name. It is
                given the `precsearch.measurement.place.Place` that the service has on its host,
                then ``args``, then ``announce``, which the service tells the name of each stage as
                the stage begins.
            args: Picklable.
            limit_s: Seconds that a call may take, without those spent waiting for the device.

        Raises:
            WorkerMissing: No process can be started.
        """
        ...

    def lock(self, device: DeviceSpec) -> str | None:
        """The file on this machine by which services of a device take turns.

        ``None`` if one service has the device to itself, or the device is another machine's: what
        this process computes does not disturb it.
        """
        ...

    def close(self) -> None:
        """Free what the executor holds; its channels are closed before. May be called twice."""
        ...
