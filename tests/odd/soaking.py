"""Long searches, and what they use after each trial (on Linux, where /proc tells)."""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path

import onnx

from precsearch.api import OptimizeConfig
from precsearch.core.events import TrialFinished
from precsearch.core.problem import Bound, Budget, Goal, Problem
from precsearch.core.space import Assignment, SearchSpace
from precsearch.core.strategy import Proposals
from precsearch.core.trial import Fidelity, Measurement, Proposal
from precsearch.executors.candidates import candidate, measurement_config
from precsearch.executors.client import ReferenceClient
from precsearch.executors.open import worker_here
from precsearch.executors.process import Worker
from precsearch.executors.references import reference_of
from precsearch.graph.reading.read import read_model
from precsearch.lowering.lower import Lowered
from precsearch.measurement.timing.latency import TimingOptions
from precsearch.optimization.stages.calibrate import calibrated
from precsearch.search.evaluator import EvaluateOne, evaluators, sequential
from precsearch.search.journal import Journal
from precsearch.search.loop import search
from precsearch.setup.inputs import open_inputs
from precsearch.setup.target import open_target
from tests.graph.small_graphs import residual_net
from tests.search.loop_toys import IDENTITY, ToyService, in_workers, toy_landscape, toy_space

__all__ = ["on_onnx_runtime", "on_the_fake"]

QUICK = TimingOptions(rounds=4, max_rounds=4, round_seconds=2e-4, warmup=1)


@dataclass(frozen=True)
class Wander:
    """Asks for so many different assignments, in batches of five."""

    trials: int

    def propose(self, problem: Problem, /) -> Proposals:
        rng = random.Random(problem.seed)
        groups = problem.space.free
        seen: dict[Assignment, None] = {problem.all_fp32(): None}
        while len(seen) < self.trials:
            asked = {g.key: rng.choice(g.choices) for g in groups}
            seen[problem.space.canonical(Assignment.of(asked))] = None
        wanted = list(seen)
        for start in range(0, len(wanted), 5):
            yield [Proposal(a) for a in wanted[start : start + 5]]


def _children(task: Path) -> int:
    try:
        return len((task / "children").read_text().split())
    except OSError:  # a thread that ended since it was listed
        return 0


def resources(pids: Sequence[int]) -> dict[str, int]:
    """Bytes in memory, open handles and processes, of this process and those."""
    found = {"memory": 0, "handles": 0, "processes": 0}
    for pid in (os.getpid(), *pids):
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        found["memory"] += pages * os.sysconf("SC_PAGE_SIZE")
        found["handles"] += len(list(Path(f"/proc/{pid}/fd").iterdir()))
        tasks = Path(f"/proc/{pid}/task").iterdir()
        found["processes"] += sum(map(_children, tasks))
    found["files"] = len(list(Path(tempfile.gettempdir()).glob(f"precsearch*{pids[0]}*")))
    return found


def _soak(
    space: SearchSpace, evaluate: EvaluateOne, trials: int, run_dir: Path, pid: Callable[[], int]
) -> Iterator[dict[str, int]]:
    """What is in use after each trial of a search."""
    problem = Problem(space, Goal(Bound(1e-2)), Budget())
    with Journal.open(run_dir, IDENTITY) as journal:
        for event in search(problem, Wander(trials), sequential(evaluate)):
            journal.append(event)
            if isinstance(event, TrialFinished):
                assert event.trial.measurement is not None, event.trial.outcome
                yield resources([pid()])


def _pid(client: ReferenceClient) -> int:
    channel = client._channel
    assert isinstance(channel, Worker)
    return channel.pid


def on_the_fake(trials: int, folder: Path) -> list[dict[str, int]]:
    """What is in use after each trial of a search on the fake backend."""
    space = toy_space(12)
    service = (toy_landscape(space).to_json(), 0.0)
    with Worker(ToyService, service, limit_s=30, preload=()) as worker:
        (evaluate,) = in_workers(space, [worker])
        return list(_soak(space, evaluate, trials, folder / "fake", lambda: worker.pid))


def on_onnx_runtime(trials: int, folder: Path) -> list[dict[str, int]]:
    """The same on ONNX Runtime, with a small residual network."""
    path = folder / "model.onnx"
    onnx.save(residual_net(3), path)
    config = OptimizeConfig(path, threads=1)
    target = open_target(read_model(path), "onnxruntime", None, "group", 1)
    inputs = open_inputs(config, target.graph)
    with worker_here(target.source, target.facts) as worker:
        searched = reference_of(target, inputs.parts.search, worker)
        target, lowering, _ = calibrated(target, inputs, "minmax", worker, folder)
        assert prod(len(g.choices) for g in target.space.free) > 200
        setup = measurement_config(config, target, lowering.lower(Assignment()), searched)
        measuring = worker.measuring(replace(setup, noise=0.01, timing=QUICK))

        def measure(lowered: Lowered, fidelity: Fidelity) -> Measurement:
            return measuring.measure(candidate(lowered), fidelity)

        (evaluate,) = evaluators(lowering.lower, [measure])
        return list(_soak(target.space, evaluate, trials, folder / "ort", lambda: _pid(worker)))
