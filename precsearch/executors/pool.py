"""The workers of a search: one, or several that take turns on the device."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass

from precsearch.core.space import Assignment
from precsearch.core.trial import Fidelity, Measurement, Outcome
from precsearch.emulation.multiplexed import ProxyRequest
from precsearch.executors.candidates import candidate
from precsearch.executors.client import MeasurementClient, connect
from precsearch.executors.protocol import Executor
from precsearch.lowering.lower import Lowered
from precsearch.measurement.device_lock import DeviceLock
from precsearch.measurement.service import MeasurementConfig, Rival
from precsearch.search.evaluator import Evaluate, evaluators, pooled, sequential

__all__ = ["Pool"]


@dataclass(frozen=True)
class Pool:
    """How many workers measure, and how.

    What goes on side by side, and what is exclusive, is the backend's to say. On a CPU, timing is
    exclusive also against what this process does meanwhile: lowering, and starting a worker that
    has died.

    Attributes:
        executor: Starts workers.
        config: What every worker measures with.
        workers: How many on a device.
        limit_s: Seconds that a trial may take.
        rival: What an engine is up against.
        request: An assignment as the service's proxy takes it; ``None`` where it has no proxy.
        losses: Of each sample in a rough engine, for the choice of what a proxy sees.
    """

    executor: Executor
    config: MeasurementConfig
    workers: int
    limit_s: float
    rival: Callable[[Lowered], Rival | None]
    request: Callable[[Assignment], ProxyRequest] | None = None
    losses: Callable[[], tuple[float, ...]] = tuple

    @contextmanager
    def evaluating(
        self,
        first: MeasurementClient,
        lower: Callable[[Assignment], Lowered],
        known: Mapping[str, Outcome],
    ) -> Iterator[Evaluate]:
        """What `precsearch.search.loop.search` evaluates with.

        Args:
            first: A worker that is there already; it stays open.
            lower: The lowering.
            known: Outcomes of engines by model digest.

        Raises:
            WorkerError: Another worker cannot be started.
        """

        def in_turn(assignment: Assignment) -> Lowered:
            with self._on_cpu():
                return lower(assignment)

        with ExitStack() as stack:
            home = self.executor.devices()[0]
            others = [
                stack.enter_context(connect(self.executor, home, self.config, self.limit_s))
                for _ in range(self.workers - 1)
            ]  # all are there before anything is timed
            together = [first, *others]
            each = evaluators(
                in_turn,
                [self._measuring(w) for w in together],
                known,
                [self._probing(w) for w in together] if self.request is not None else (),
            )

            def stop() -> None:
                for worker in together:
                    worker.stop()

            yield pooled(each, stop) if others else sequential(each[0])

    def _on_cpu(self) -> AbstractContextManager[None]:
        """Held while this process computes, where that disturbs who times on the home device."""
        elsewhere = "proxy" in self.config.use.elsewhere
        return DeviceLock.shared(*(() if elsewhere else self._locks()))

    def _starting(self) -> AbstractContextManager[None]:
        """Held while a worker starts again, which uses the CPU and the device."""
        return DeviceLock.shared(*self._locks())

    def _locks(self) -> tuple[str, ...]:
        lock = self.executor.lock(self.executor.devices()[0])
        return () if lock is None else (lock,)

    def _measuring(self, worker: MeasurementClient) -> Callable[[Lowered, Fidelity], Measurement]:
        def measure(lowered: Lowered, fidelity: Fidelity) -> Measurement:
            worker.revive(self._starting)
            return worker.measure(candidate(lowered), fidelity, self.rival(lowered))

        return measure

    def _probing(self, worker: MeasurementClient) -> Callable[[Assignment], Measurement]:
        request = self.request
        assert request is not None

        def probe(assignment: Assignment) -> Measurement:
            with self._on_cpu():
                asked = request(assignment)
            worker.revive(self._starting)
            return worker.probe(asked, self.losses())

        return probe
