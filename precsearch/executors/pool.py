"""The workers of a search: one, or several on one or more devices."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace

from precsearch.core.device import DeviceSpec
from precsearch.core.errors import WorkerMissing
from precsearch.core.space import Assignment
from precsearch.core.trial import Fidelity, Measurement, Outcome
from precsearch.emulation.multiplexed import ProxyRequest
from precsearch.executors.candidates import candidate
from precsearch.executors.client import MeasurementClient
from precsearch.executors.connect import connect
from precsearch.executors.fleet import Fleet
from precsearch.executors.protocol import Executor
from precsearch.lowering.lower import Lowered
from precsearch.measurement.device_lock import DeviceLock
from precsearch.measurement.service import MeasurementConfig, Rival
from precsearch.search.evaluator import Evaluate, Lane, evaluators, pooled, sequential

__all__ = ["Pool"]


@dataclass(frozen=True)
class Pool:
    """How many workers measure, on which devices, and how.

    What goes on side by side on one device, and what is exclusive, is the backend's to say. On a
    CPU, timing is exclusive also against what this process does meanwhile: lowering, and starting a
    worker that has died. The thread of a worker does so on the cores of the worker's own device.

    Attributes:
        executor: Starts workers.
        fleet: The devices, with a worker on each.
        config: What every worker measures with.
        workers: How many on a device.
        limit_s: Seconds that a trial may take.
        rival: What an engine is up against.
        request: An assignment as the service's proxy takes it; ``None`` where it has no proxy.
        losses: Of each sample in a rough engine, for the choice of what a proxy sees.
        lost: Told of a device that was lost while others go on.
    """

    executor: Executor
    fleet: Fleet
    config: MeasurementConfig
    workers: int
    limit_s: float
    rival: Callable[[Lowered], Rival | None]
    request: Callable[[Assignment], ProxyRequest] | None = None
    losses: Callable[[], tuple[float, ...]] = tuple
    lost: Callable[[WorkerMissing], None] = lambda _: None

    @contextmanager
    def evaluating(
        self, lower: Callable[[Assignment], Lowered], known: Mapping[str, Outcome]
    ) -> Iterator[Evaluate]:
        """What `precsearch.search.loop.search` evaluates with.

        Args:
            lower: The lowering.
            known: Outcomes of engines by model digest.

        Raises:
            WorkerError: Another worker cannot be started.
        """
        with ExitStack() as stack:
            others = [
                stack.enter_context(
                    connect(self.executor, client.device, self.config, self.limit_s)
                )
                for client in self.fleet.clients
                for _ in range(self.workers - 1)
            ]  # all are there before anything is timed
            together = [*self.fleet.clients, *others]
            each = evaluators(
                lower,
                [self._measuring(w) for w in together],
                known,
                [self._probing(w) for w in together] if self.request is not None else (),
                [self._lane(w) for w in together],
            )

            def stop() -> None:
                for worker in together:
                    worker.stop()

            yield pooled(each, stop, self.lost) if len(together) > 1 else sequential(each[0])

    def _lane(self, worker: MeasurementClient) -> Lane:
        device = worker.device
        timing = device if self.fleet.times(worker) else self.fleet.home.device
        return Lane(timing.name, device.name, lambda: self._on_cpu(device))

    @contextmanager
    def _on_cpu(self, device: DeviceSpec) -> Iterator[None]:
        """Held while this thread computes for a device, where that disturbs who times on it."""
        elsewhere = "proxy" in self.config.use.elsewhere
        with DeviceLock.shared(*(() if elsewhere else self._lock(device))), _kept_to(device):
            yield

    def _starting(self, device: DeviceSpec) -> Callable[[], AbstractContextManager[None]]:
        """Held while a worker starts again, which uses the CPU and the device."""
        return lambda: DeviceLock.shared(*self._lock(device))

    def _lock(self, device: DeviceSpec) -> tuple[str, ...]:
        lock = self.executor.lock(device)
        return () if lock is None else (lock,)

    def _measuring(self, worker: MeasurementClient) -> Callable[[Lowered, Fidelity], Measurement]:
        home = self.fleet.home

        def measure(lowered: Lowered, fidelity: Fidelity) -> Measurement:
            worker.revive(self._starting(worker.device))
            return worker.measure(candidate(lowered), fidelity, self.rival(lowered))

        def measure_at_home(lowered: Lowered, fidelity: Fidelity) -> Measurement:
            if fidelity is Fidelity.PROXY:
                return measure(lowered, fidelity)
            engine = candidate(lowered)
            worker.revive(self._starting(worker.device))
            checked = worker.check(engine)
            if worker.device.host != home.device.host:
                home.receive(engine, worker.artifact(engine))
            home.revive(self._starting(home.device))
            timed = home.measure(engine, fidelity, self.rival(lowered), checked.accuracy)
            return replace(timed, build_seconds=checked.build_seconds, also=checked.also)

        return measure if self.fleet.times(worker) else measure_at_home

    def _probing(self, worker: MeasurementClient) -> Callable[[Assignment], Measurement]:
        request = self.request
        assert request is not None

        def probe(assignment: Assignment) -> Measurement:
            with self._on_cpu(worker.device):
                asked = request(assignment)
            worker.revive(self._starting(worker.device))
            return worker.probe(asked, self.losses())

        return probe


@contextmanager
def _kept_to(device: DeviceSpec) -> Iterator[None]:
    """Keep this thread to the cores of a device for a while, if it has any on this machine."""
    if not device.cores or device.host or not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, device.cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
