"""The workers of a search: one, or several that take turns on the device."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from precsearch.core.space import Assignment
from precsearch.core.trial import Fidelity, Measurement, Outcome
from precsearch.emulation.multiplexed import ProxyRequest
from precsearch.executors.process import Worker
from precsearch.executors.process.open import bench_worker
from precsearch.lowering.lower import Lowered
from precsearch.measurement.device_lock import DeviceLock
from precsearch.measurement.service import BenchSetup
from precsearch.search.evaluator import Evaluate, evaluators, pooled, sequential

__all__ = ["Ask", "Pool", "turns_of"]

_TURNS = "device.lock"

Ask = Callable[[Worker, Lowered, Fidelity], Measurement]
"""Has a worker measure a model."""


def turns_of(run_dir: Path, workers: int) -> str | None:
    """The file that says whose turn it is; ``None`` where one worker has the device to itself."""
    return str((run_dir / _TURNS).resolve()) if workers > 1 else None


@dataclass(frozen=True)
class Pool:
    """How many workers measure, and how.

    What goes on side by side, and what is exclusive, is the backend's to say. On a CPU, timing is
    exclusive also against what this process does meanwhile: lowering, and starting a worker that
    has died.

    Attributes:
        setup: What every worker's bench starts from; its ``turns`` are set if there are several.
        workers: How many.
        limit_s: Seconds that a trial may take.
        ask: Has a worker measure.
        request: An assignment as the bench's proxy wants it; ``None`` where it has no proxy.
        losses: Of each sample in a rough engine, for the choice of what a proxy sees.
    """

    setup: BenchSetup
    workers: int
    limit_s: float
    ask: Ask
    request: Callable[[Assignment], ProxyRequest] | None = None
    losses: Callable[[], tuple[float, ...]] = tuple

    @contextmanager
    def evaluating(
        self, first: Worker, lower: Callable[[Assignment], Lowered], known: Mapping[str, Outcome]
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
            with DeviceLock.shared(self._turns_of_cpu):
                return lower(assignment)

        with ExitStack() as stack:
            others = [
                stack.enter_context(bench_worker(self.limit_s)) for _ in range(self.workers - 1)
            ]
            for worker in others:  # all are there before anything is timed
                worker.restart_with(self.setup)
                worker.prepare()
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

    @property
    def _turns_of_cpu(self) -> str | None:
        """Who has the device alone has the CPU alone, unless the two are different things."""
        return None if "proxy" in self.setup.use.elsewhere else self.setup.turns

    def _measuring(self, worker: Worker) -> Callable[[Lowered, Fidelity], Measurement]:
        def measure(lowered: Lowered, fidelity: Fidelity) -> Measurement:
            if not worker.ready:
                with DeviceLock.shared(self.setup.turns):
                    worker.prepare()
            return self.ask(worker, lowered, fidelity)

        return measure

    def _probing(self, worker: Worker) -> Callable[[Assignment], Measurement]:
        request = self.request
        assert request is not None

        def probe(assignment: Assignment) -> Measurement:
            with DeviceLock.shared(self._turns_of_cpu):
                asked = request(assignment)
            if not worker.ready:
                with DeviceLock.shared(self.setup.turns):
                    worker.prepare()
            found: Measurement = worker.call("probe", asked, self.losses(), again=False)
            return found

        return probe
