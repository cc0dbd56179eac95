"""The stages of a run, from the reference outputs to the plan, as one stream of events."""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field, replace

from precsearch._version import __version__
from precsearch.api.artifact import write_artifact
from precsearch.api.config import OptimizeConfig, OptimizeResult
from precsearch.api.confirm import Choice, best_so_far, confirm
from precsearch.api.ending import unmet, written
from precsearch.api.evidence import Finish, make_plan
from precsearch.api.explain import explain_result
from precsearch.api.files import write_text
from precsearch.api.measuring import bench_worker, candidate, reference_of
from precsearch.api.pool import Pool
from precsearch.api.preparing import Preparation, Prepared, gate_errors
from precsearch.api.setup import Inputs, Target
from precsearch.backend import Fingerprint
from precsearch.bench import BenchSetup, Scored
from precsearch.errors import EngineError, WorkerError
from precsearch.events import (
    Event,
    GroupOutline,
    RunStarted,
    SearchFinished,
    SearchStarted,
    StageStarted,
    TrialFinished,
    Warned,
)
from precsearch.goal import Bound, Budget, Goal, Prior, Problem
from precsearch.journal import Journal
from precsearch.maker import Engine
from precsearch.onnxio.lower import Lowered, Lowering
from precsearch.onnxio.proxygraph import ProxyGraph
from precsearch.search import search
from precsearch.space import Assignment
from precsearch.strategy import Strategy
from precsearch.trial import Fidelity, Measured, Measurement, Proposal, Trial
from precsearch.workers import Worker

__all__ = ["Run", "Stream"]

_TRIAL_LIMIT_S = {False: 600.0, True: 1800.0}
"""By whether the backend compiles: one transformer with implicit INT8 took TensorRT 363 s."""

Stream = Generator[Event, None, OptimizeResult]


@dataclass
class Run:
    """One run; `events` goes through it once.

    Attributes:
        config: What the user asked for.
        target: The model and its backend.
        inputs: Its data.
        strategy: Proposes the trials.
        journal: Where events go; what an earlier run measured.
        started: When, by the monotonic clock, in seconds.
        warnings: What the plan will say that the user should know.
        trials: Those of the search so far.
        stopped: Why the search ended.
        priors: Hazards that the search starts from.
        cured: What cures did to the model, a sentence each.
    """

    config: OptimizeConfig
    target: Target
    inputs: Inputs
    strategy: Strategy
    journal: Journal
    started: float
    warnings: list[str] = field(default_factory=list)
    trials: list[Trial] = field(default_factory=list)
    stopped: str = "interrupted"
    priors: tuple[Prior, ...] = ()
    cured: tuple[str, ...] = ()

    @property
    def _limit_s(self) -> float:
        return _TRIAL_LIMIT_S[self.target.backend.compiles]

    def events(self, identified: dict[str, str]) -> Stream:
        """The whole run."""
        yield RunStarted(identified, self.config.model.name, __version__)
        yield from self._warn((*self.inputs.warnings(self.config.tol), *self.cured))
        with bench_worker(self._limit_s) as worker:
            ready = yield from self._prepared(worker)
            lowering, setup = ready.lowering, ready.setup
            yield StageStarted("gate", "the FP32 engine against the reference")
            with gate_errors():
                where: Fingerprint = worker.call("fingerprint")
                if not setup.noise:
                    setup = replace(setup, noise=worker.call("calibrate_noise"))
                    # What was built for this is kept: an FP32 engine can take minutes.
                    worker.remember(setup)
                gate = worker.call("measure", setup.baseline, Fidelity.ENGINE)
            problem = self._problem(setup.noise)
            if not problem.goal.admits(gate):
                return unmet(self.config, self.inputs.metric, gate)
            yield self._search_started(where, problem)
            yield from self._search(problem, lowering, worker, gate, setup, ready.proxy)
            choice = yield from self._choose(problem, lowering, worker, gate)
            engine = self._engine(lowering.lower(choice.trial.assignment), worker)
        return (yield from self._finish(problem, lowering, where, gate, choice, engine))

    def _warn(self, said: Sequence[str]) -> Generator[Event, None, None]:
        for message in said:
            self.warnings.append(message)
            yield Warned(message)

    def _prepared(self, worker: Worker) -> Generator[Event, None, Prepared]:
        noise, limit_s = self.journal.memo.noise, self._limit_s
        given = Preparation(self.config, self.target, self.inputs, noise, self._warn, limit_s)
        found = yield from given.on(worker)
        self.target, self.priors = found.target, found.priors
        return found

    def _problem(self, noise: float) -> Problem:
        config = self.config
        return Problem(
            space=self.target.space,
            goal=Goal(Bound(self.inputs.bound, self.inputs.metric.name), noise),
            budget=Budget(config.max_builds, config.time_budget),
            priors=self.priors,
            seed=config.seed,
        )

    def _search_started(self, where: Fingerprint, problem: Problem) -> SearchStarted:
        return SearchStarted(
            device=where.device,
            strategy=self.config.strategy,
            groups=len(problem.space.free),
            nodes=len(self.target.graph.nodes),
            bound=problem.goal.bound,
            budget=problem.budget,
            noise=problem.goal.noise,
            spent=self.journal.memo.seconds,
            outline=tuple(map(GroupOutline.of, problem.space.groups)),
        )

    def _search(
        self,
        problem: Problem,
        lowering: Lowering,
        worker: Worker,
        gate: Measurement,
        setup: BenchSetup,
        proxy: ProxyGraph | None,
    ) -> Generator[Event, None, None]:
        """Run the strategy; a Ctrl-C ends it and keeps its trials."""

        def measure(by: Worker, lowered: Lowered, fidelity: Fidelity) -> Measurement:
            found: Measurement = by.call("measure", candidate(lowered), fidelity)
            return found

        memo = self.journal.memo
        known = {setup.baseline.digest: Measured(gate), **memo.engines}
        begun = time.monotonic() - memo.seconds
        request = None if proxy is None else proxy.request
        pool = Pool(setup, self.config.workers, self._limit_s, measure, request)
        with pool.evaluating(worker, lowering.lower, known) as evaluate:
            loop = search(problem, self.strategy, evaluate, memo=memo, spent=memo.seconds)
            try:
                for event in loop:
                    if isinstance(event, TrialFinished):
                        self.trials.append(event.trial)
                    elif isinstance(event, SearchFinished):
                        self.stopped = event.reason
                    yield event
            except KeyboardInterrupt:
                loop.close()
                builds = sum(t.proposal.fidelity is Fidelity.ENGINE for t in self.trials)
                yield SearchFinished("interrupted", builds, time.monotonic() - begun)
        self.trials.sort(key=lambda t: t.number)  # several workers finish in any order

    def _choose(
        self, problem: Problem, lowering: Lowering, worker: Worker, gate: Measurement
    ) -> Generator[Event, None, Choice]:
        """The engine that ships; FP32 where nothing else can."""
        number = 1 + max((t.number for t in self.trials), default=-1)
        plain = Trial(number, Proposal(Assignment()), Measured(gate))
        trials, part = self.trials, self.inputs.parts.holdout

        def holdout() -> Scored | None:
            return None if part is None else reference_of(self.target, part, worker)

        if not any(t.assignment == Assignment() for t in trials):
            trials = [*trials, plain]
        if self.stopped != "interrupted":
            try:
                choice = yield from confirm(problem, trials, lowering.lower, worker, holdout)
                if choice is not None:
                    return choice
                yield from self._warn(["no finalist is within the bound on the holdout"])
                return Choice(plain, gate, None, ())
            except KeyboardInterrupt:
                self.stopped = "interrupted"
        yield from self._warn(["interrupted: the choice was not confirmed on the holdout"])
        return best_so_far(problem, trials) or Choice(plain, gate, None, ())

    def _engine(self, lowered: Lowered, worker: Worker) -> Engine | None:
        """The chosen engine, where it is more than its model."""
        if not self.target.backend.compiles:
            return None
        try:
            found: Engine = worker.call("engine", candidate(lowered))
        except (EngineError, WorkerError) as error:
            self.warnings.append(f"the chosen engine could not be opened again ({error})")
            return None
        return found

    def _finish(
        self,
        problem: Problem,
        lowering: Lowering,
        where: Fingerprint,
        gate: Measurement,
        choice: Choice,
        engine: Engine | None,
    ) -> Stream:
        """Write plan and artifact."""
        config = self.config
        lowered = lowering.lower(choice.trial.assignment)
        assert gate.latency is not None
        finish = Finish(
            choice,
            tuple(self.trials),
            where,
            gate.latency,
            self.stopped,
            tuple(self.warnings),
            time.monotonic() - self.started,
            engine,
        )
        plan = make_plan(config, problem, self.target, self.inputs, lowered, finish)
        write_text(config.plan_path, plan.to_json())
        if config.artifact is not None:
            write_artifact(self.target, config.artifact, lowered, engine)
        yield written(config.plan_path, plan, choice)
        summary = explain_result(problem, self.inputs.metric, choice.trial.assignment, self.trials)
        return OptimizeResult(
            plan,
            config.plan_path,
            config.artifact,
            met=not choice.looks or any(look.passed for look in choice.looks),
            interrupted=self.stopped == "interrupted",
            summary=summary,
        )
