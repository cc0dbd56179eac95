"""Small parts that the tests of the loop share: spaces, a reacting strategy, a service, runs."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import numpy as np

from precsearch.backends.fake import (
    Cost,
    FakeBackend,
    FakeLowered,
    Landscape,
    fake_lower,
    fake_reference,
)
from precsearch.core.backend import BackendOptions
from precsearch.core.errors import BuildError, DeviceLost, OptionError
from precsearch.core.events import Event, RunStarted, TrialFinished
from precsearch.core.precision import Precision
from precsearch.core.problem import Bound, Budget, Goal, Problem
from precsearch.core.space import Assignment, LayerGroup, SearchSpace
from precsearch.core.strategy import Proposals
from precsearch.core.trial import Accuracy, Fidelity, Latency, Measurement, Outcome, Proposal, Trial
from precsearch.executors.process import Worker
from precsearch.search.evaluator import Evaluate, EvaluateOne, evaluators, pooled, sequential
from precsearch.search.journal import Journal
from precsearch.search.loop import search

FP32, FP16, INT8 = Precision.FP32, Precision.FP16, Precision.INT8
FEEDS = tuple({"input": np.full(3, i, np.float32)} for i in range(2))
IDENTITY = {"model": "a" * 64, "seed": "0"}


def toy_space(groups: int = 5) -> SearchSpace:
    """A chain; every third group is passive."""
    return SearchSpace(
        tuple(
            LayerGroup(f"g{i}", "conv", (f"g{i}",), (FP32, FP16, INT8), passive=i % 3 == 2)
            for i in range(groups)
        ),
        tuple((i, i + 1) for i in range(groups - 1)),
    )


def toy_landscape(space: SearchSpace, seed: int = 0) -> Landscape:
    rng = random.Random(seed)
    costs = {
        g.key: {
            FP32: Cost(1e-3),
            FP16: Cost(rng.uniform(3e-4, 9e-4), rng.uniform(1e-4, 2e-3)),
            INT8: Cost(rng.uniform(1e-4, 1e-3), rng.uniform(1e-3, 1e-2)),
        }
        for g in space.groups
    }
    return Landscape(costs, boundary=5e-5, noise=0.01, seed=seed)


def toy_problem(
    space: SearchSpace | None = None, *, builds: int | None = None, seconds: float | None = None
) -> Problem:
    return Problem(space or toy_space(), Goal(Bound(1e-2)), Budget(builds, seconds))


@dataclass(frozen=True)
class Climb:
    """Changes one group at a time, batch by batch, by what the trials of the batch showed.

    Mixes proxies and engines, asks again for what it knows, and for assignments that differ only
    in what cannot take effect.
    """

    steps: int = 6

    def propose(self, problem: Problem, /) -> Proposals:
        trials = yield [Proposal(Assignment(), reason="start")]
        best = trials[0]
        for _ in range(self.steps):
            moves = [
                best.assignment.with_({g.key: choice})
                for g in problem.space.free
                for choice in g.choices
                if choice is not best.assignment[g.key]
            ]
            proxies = yield [Proposal(m, Fidelity.PROXY) for m in moves]
            ranked = sorted(proxies, key=_loss)
            trials = yield [Proposal(t.assignment, reason="climb") for t in [best, *ranked[-3:]]]
            found = problem.goal.best(trials)
            if found is None or found.assignment == best.assignment:
                return
            best = found


def _loss(trial: Trial) -> tuple[float, int]:
    measurement = trial.measurement
    return (measurement.accuracy.loss if measurement else float("inf")), trial.number


class ToyService:
    """Measures fake models; made in a worker by name."""

    def __init__(
        self, landscape: str, seconds: float, announce: Callable[[str], None] = lambda _: None
    ) -> None:
        self._backend = FakeBackend(BackendOptions(), landscape)
        self._seconds = seconds
        self._announce = announce

    def measure(self, model: bytes, fidelity: Fidelity) -> Measurement:
        self._announce("build")
        session = self._backend.open(self._backend.build(model))
        self._announce("run")
        time.sleep(self._seconds)
        losses = []
        for feed in FEEDS:
            reference = fake_reference(feed)["output"]
            wrong = np.subtract(session.run(feed)["output"], reference)
            losses.append(float(np.linalg.norm(wrong) / np.linalg.norm(reference)))
        accuracy = Accuracy(max(losses), max(losses), {"output": max(losses)}, tuple(losses))
        if fidelity is Fidelity.PROXY:
            return Measurement(accuracy)
        self._announce("time")
        samples = tuple(session.time(FEEDS[0], 9))
        seconds = median(samples)
        ratio = seconds / self._backend.landscape.latency(Assignment())
        latency = Latency(seconds, seconds, seconds, ratio, ratio, ratio, samples)
        kernels = {k.nodes[0]: k.seconds for k in session.profile(FEEDS[0], 1)}
        return Measurement(accuracy, latency, kernels)

    def pid(self) -> int:
        return os.getpid()


class Oddities:
    """Everything that can go wrong in a child."""

    def __init__(self, tag: str, announce: Callable[[str], None]) -> None:
        if tag == "unmakable":
            raise OptionError("not like this")
        self._tag = tag
        self._announce = announce
        self._count = 0

    def echo(self, value: object) -> object:
        return value

    def tag(self) -> str:
        return self._tag

    def count(self) -> int:
        self._count += 1
        return self._count

    def pid(self) -> int:
        return os.getpid()

    def crash(self, stage: str, number: int) -> None:
        self._announce(stage)
        print("last words", flush=True)
        os.write(2, b"from native code\n")
        os.kill(os.getpid(), number)
        time.sleep(60)

    def leave(self, code: int) -> None:
        raise SystemExit(code)

    def lose_device(self) -> None:
        self._announce("run")
        raise DeviceLost("CUDA failure 700: an illegal memory access was encountered")

    def hang(self, stage: str = "time") -> None:
        self._announce(stage)
        time.sleep(600)

    def hang_with_lock(self) -> None:
        """Like a native call that keeps the interpreter lock."""
        import ctypes

        ctypes.PyDLL(None).sleep(600)

    def hang_with_child(self) -> None:
        pid = os.fork()
        if pid == 0:
            time.sleep(600)
            os._exit(0)
        self._announce(f"forked {pid}")
        time.sleep(600)

    def fail(self, kind: str) -> None:
        if kind == "build":
            raise BuildError("refused")
        if kind == "memory":
            np.zeros(10**15)
        raise KeyError("two\nlines")

    def grab(self, size: int) -> int:
        return len(bytearray(size))

    def unpicklable(self) -> object:
        return lambda: None

    def interrupt_yourself(self) -> str:
        os.kill(os.getpid(), signal.SIGINT)
        return "still here"


def in_process(
    space: SearchSpace,
    landscape: Landscape,
    workers: int = 1,
    *,
    known: Mapping[str, Outcome] | None = None,
    delays: random.Random | None = None,
    lower: Callable[[Assignment], FakeLowered] | None = None,
) -> Evaluate:
    """Evaluates in this process, with a thread for each of several services."""
    text = landscape.to_json()
    services = [ToyService(text, 0.0) for _ in range(workers)]

    def with_(service: ToyService) -> Callable[[FakeLowered, Fidelity], Measurement]:
        def measure(lowered: FakeLowered, fidelity: Fidelity) -> Measurement:
            if delays is not None:
                time.sleep(delays.uniform(0, 2e-3))
            return service.measure(lowered.model, fidelity)

        return measure

    each = evaluators(lower or fake_lower(space), [with_(b) for b in services], known or {})
    return sequential(each[0]) if workers == 1 else pooled(each)


def in_workers(
    space: SearchSpace, workers: Sequence[Worker[ToyService]]
) -> tuple[EvaluateOne, ...]:
    """Evaluators that call a `ToyService` in each worker."""

    def with_(worker: Worker[ToyService]) -> Callable[[FakeLowered, Fidelity], Measurement]:
        def measure(lowered: FakeLowered, fidelity: Fidelity) -> Measurement:
            return worker.call(ToyService.measure, lowered.model, fidelity)

        return measure

    return evaluators(fake_lower(space), [with_(w) for w in workers])


def finish(
    events: Generator[Event, None, tuple[Trial, ...]],
) -> tuple[list[Event], tuple[Trial, ...]]:
    """All events of a search and its result."""
    result: list[tuple[Trial, ...]] = []

    def all_of() -> Iterator[Event]:
        result.append((yield from events))

    return list(all_of()), result[0]


def timeless(trials: Sequence[Trial]) -> list[Trial]:
    """Trials without the wall time that they took."""
    return [replace(t, seconds=0.0) for t in trials]


def journaled(
    run_dir: Path,
    problem: Problem,
    evaluate: Callable[[Mapping[str, Outcome]], Evaluate],
    *,
    resume: bool = False,
    stop_after: int | None = None,
    steps: int = 6,
) -> tuple[Trial, ...] | None:
    """A run with a journal, ``None`` if it was stopped after so many finished trials."""
    with Journal.open(run_dir, IDENTITY, resume=resume) as journal:
        memo = journal.memo
        journal.append(RunStarted(IDENTITY, "toy.onnx", "0"))
        events = search(
            problem, Climb(steps), evaluate(memo.engines), memo=memo, spent=memo.seconds
        )
        finished = 0
        while True:
            try:
                event = next(events)
            except StopIteration as stop:
                result: tuple[Trial, ...] = stop.value
                return result
            journal.append(event)
            finished += isinstance(event, TrialFinished)
            if stop_after is not None and finished > stop_after:
                events.close()
                return None
