"""How the proposals of a search are evaluated: on which workers, and against which engines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from precsearch.core.errors import WorkerMissing
from precsearch.core.problem import Problem
from precsearch.core.trial import Fidelity, Outcome, Trial, hardness
from precsearch.executors.candidates import rival
from precsearch.executors.fleet import Fleet
from precsearch.executors.pool import Pool
from precsearch.executors.protocol import Executor
from precsearch.lowering.lower import Lowered
from precsearch.measurement.service import Rival
from precsearch.optimization.stages.prepare import Prepared
from precsearch.search.evaluator import Evaluate

__all__ = ["Evaluation"]


@dataclass(frozen=True)
class Evaluation:
    """What evaluates the proposals of a run.

    Attributes:
        executor: Starts workers.
        fleet: The devices, with a worker on each.
        ready: What is known before the first trial.
        workers: How many on each device.
        limit_s: Seconds that a trial may take.
        trials: Those of the search so far; it grows.
        lost: Takes a sentence for each device that was lost.
    """

    executor: Executor
    fleet: Fleet
    ready: Prepared
    workers: int
    limit_s: float
    trials: list[Trial]
    lost: list[str]

    def of(
        self, problem: Problem, known: Mapping[str, Outcome]
    ) -> AbstractContextManager[Evaluate]:
        """What `precsearch.search.loop.search` evaluates a problem with.

        Args:
            problem: What is searched now.
            known: Outcomes of engines by model digest; those of the trials are known, too.
        """

        def against(lowered: Lowered) -> Rival:
            # What missed on the holdout is no rival: the problem knows it as over the bound.
            seen = {t.number: t for t in (*self.trials, *problem.known)}
            return rival(problem, tuple(seen.values()), lowered)

        def lost(error: WorkerMissing) -> None:
            self.lost.append(f"{error}; the other devices go on")

        pool = Pool(
            self.executor,
            self.fleet,
            self.ready.setup,
            self.workers,
            self.limit_s,
            against,
            None if self.ready.proxy is None else self.ready.proxy.request,
            lambda: hardness(self.trials),
            lost,
        )
        return pool.evaluating(self.ready.lowering.lower, {**known, **_engines(self.trials)})


def _engines(trials: Sequence[Trial]) -> dict[str, Outcome]:
    """Outcomes of the engines among trials by model digest."""
    built = (t for t in trials if t.proposal.fidelity is Fidelity.ENGINE and t.model_digest)
    return {t.model_digest: t.outcome for t in built}
