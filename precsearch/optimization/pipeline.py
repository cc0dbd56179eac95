"""The stages of a run, from the reference outputs to the plan, as one stream of events."""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace

from precsearch._version import __version__
from precsearch.core.backend import Fingerprint
from precsearch.core.events import (
    Event,
    GroupOutline,
    RunStarted,
    SearchStarted,
    UniformEngine,
    Warned,
)
from precsearch.core.problem import Bound, Budget, Goal, Prior, Problem
from precsearch.core.strategy import Strategy
from precsearch.core.trial import Measured, Measurement, Trial
from precsearch.executors.candidates import busy
from precsearch.executors.client import MeasurementClient, ReferenceClient
from precsearch.executors.connect import connect, reference
from precsearch.executors.fleet import Fleet, assembled
from precsearch.executors.open import executor_of
from precsearch.executors.protocol import Executor
from precsearch.executors.references import holdout_of
from precsearch.executors.request import Request
from precsearch.lowering.lower import Lowering
from precsearch.measurement.build_service import Engine
from precsearch.optimization.evaluation import Evaluation
from precsearch.optimization.explanation.caveats import hidden_by_loss
from precsearch.optimization.explanation.demoted import demoted
from precsearch.optimization.shipment import Shipment, chosen_engine
from precsearch.optimization.stages.baseline import BaselineStage, refused, told
from precsearch.optimization.stages.prepare import Preparation, Prepared
from precsearch.optimization.stages.search import Rounds
from precsearch.optimization.stages.select import Choice, Confirmed, confirm
from precsearch.optimization.stopwatch import Stopwatch
from precsearch.optimization.stored import take_over
from precsearch.optimization.warm import Warm, warm_start
from precsearch.optimization.write_plan import Finish
from precsearch.plan.plan import CorrectionEvidence, Fp32Evidence
from precsearch.search.evaluator import Evaluate
from precsearch.search.journal import Journal
from precsearch.setup.config import OptimizeConfig, OptimizeResult
from precsearch.setup.inputs import Inputs
from precsearch.setup.outputs import Outputs
from precsearch.setup.target import Target

__all__ = ["Run", "Stream"]

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
        outputs: Where plan and artifact go.
        warnings: What the plan will say that the user should know: the messages of `Warned`, as
            they are recorded.
        priors: Hazards that the search starts from.
        rewritten: What rewrites did to the model, a sentence each.
        corrections: What was tried to make INT8 more accurate.
        fp32: The FP32 engines that were tried, where there are several ways to compute FP32.
        devices: Names of the devices, the home device first.
        lost: What is to be said about devices that were lost.
    """

    config: OptimizeConfig
    target: Target
    inputs: Inputs
    strategy: Strategy
    journal: Journal
    started: float
    outputs: Outputs
    warnings: list[str] = field(default_factory=list)
    priors: tuple[Prior, ...] = ()
    rewritten: tuple[str, ...] = ()
    corrections: tuple[CorrectionEvidence, ...] = ()
    fp32: tuple[Fp32Evidence, ...] = ()
    devices: tuple[str, ...] = ()
    lost: list[str] = field(default_factory=list)

    @property
    def _watch(self) -> Stopwatch:
        return Stopwatch(self.started, self.journal.memo.seconds, self.config.time_budget)

    @property
    def _limit_s(self) -> float:
        return self.target.facts.trial_limit_s

    def events(self, identified: dict[str, str]) -> Stream:
        """The whole run."""
        yield RunStarted(identified, self.config.model.name, __version__)
        notes = self.target.source.notes
        yield from self._warn((*notes, *self.inputs.warnings(self.config.tol), *self.rewritten))
        take_over(self.config.run_path, self.config.warm_start)
        with self._executor() as executor, reference(executor, limit_s=self._limit_s) as first:
            ready = yield from self._prepared(executor, first)
            lowering, worker = ready.lowering, ready.worker
            admits, known = self._problem(0.0).goal.admits, self.journal.memo.fp32
            before = self.journal.memo.device, self.journal.memo.runtime
            gating = BaselineStage(
                *(self.config, self.target, self.inputs, ready.setup, admits, known, before)
            )
            passed = yield from gating.on(worker)
            if not passed.passed:
                return refused(passed, self.config, self.inputs)
            self.target, self.fp32 = passed.target, passed.modes
            fingerprint, baseline, setup = passed.fingerprint, passed.measurement, passed.setup
            yield from self._warn(told(passed, self.config, self.inputs))
            yield from self._told_busy(baseline)
            warm = self._warm(identified)
            warm.check(lowering.lower)
            yield from self._warn((*warm.said, *warm.elsewhere(fingerprint)))
            noise = self.journal.memo.noise
            with assembled(
                executor, worker, setup, fingerprint, self._limit_s, noise=noise
            ) as fleet:
                yield from self._warn(fleet.notes)
                self.devices = fleet.names
                wanted = self._problem(fleet.noise, baseline.artifact_bytes)
                problem = replace(warm(wanted), devices=len(fleet.clients))
                ready = replace(ready, setup=replace(setup, noise=fleet.noise))
                rounds = self._rounds(problem, ready, executor, fleet, baseline)
                choice = yield from rounds.events(self._search_started(fingerprint, problem))
            engine, warnings = chosen_engine(self.target, lowering, rounds, choice, worker)
            self.warnings += warnings
        return (yield from self._finish(rounds, lowering, fingerprint, choice, engine))

    def _warm(self, identified: dict[str, str]) -> Warm:
        """What is known from earlier runs; what a resumed run knew when it began."""
        memo, space = self.journal.memo, self.target.space
        plans = [p for p in self.config.warm_start if p.suffix == ".json"]
        begun = memo.device or memo.noise
        warm = warm_start(plans if begun else self.config.warm_start, identified, space)
        return replace(warm, trials=memo.earlier) if begun else warm

    def _warn(self, messages: Sequence[str]) -> Generator[Event, None, None]:
        for message in messages:
            yield Warned(message)

    def _told_busy(self, measurement: Measurement | None) -> Generator[Event, None, None]:
        while self.lost:
            yield from self._warn([self.lost.pop(0)])
        message = busy(measurement)
        if message and message not in self.warnings:
            yield from self._warn([message])

    def _executor(self) -> AbstractContextManager[Executor]:
        config, target = self.config, self.target
        request = Request(
            target.source,
            target.facts,
            config.run_path,
            config.devices,
            config.threads,
            config.workers,
            config.where,
        )
        return executor_of(request)

    def _prepared(
        self, executor: Executor, worker: ReferenceClient
    ) -> Generator[Event, None, Prepared]:
        given = Preparation(
            self.config,
            self.target,
            self.inputs,
            self.journal.memo.noise,
            self._warn,
            executor,
            self._limit_s,
        )
        prepared = yield from given.on(worker)
        self.target, self.priors = prepared.target, prepared.priors
        self.corrections = prepared.corrections
        return prepared

    def _problem(self, noise: float, size: int = 0) -> Problem:
        config = self.config
        bound = Bound(self.inputs.bound, self.inputs.metric.name)
        return Problem(
            space=self.target.space,
            goal=Goal(bound, noise, config.objective, config.limits, size),
            budget=Budget(config.max_builds, config.time_budget),
            priors=self.priors,
            seed=config.seed,
            # Strategies may decide by it, so a resumed run has the first one's.
            setup_seconds=self.journal.memo.setup_seconds or self._watch.run,
        )

    def _search_started(self, fingerprint: Fingerprint, problem: Problem) -> SearchStarted:
        return SearchStarted(
            device=fingerprint.device,
            runtime=fingerprint.runtime,
            strategy=self.config.strategy,
            groups=len(problem.space.free),
            nodes=len(self.target.graph.nodes),
            budget=problem.budget,
            spent=self.journal.memo.seconds,
            outline=tuple(map(GroupOutline.of, problem.space.groups)),
            fp32=self.fp32[-1].mode if self.fp32 else "",
            setup_seconds=problem.setup_seconds,
            earlier=problem.earlier,
            uniform=tuple(UniformEngine(p, a) for a, p in problem.uniforms.items()),
            **SearchStarted.fields_of(problem.goal),
        )

    def _rounds(
        self,
        problem: Problem,
        ready: Prepared,
        executor: Executor,
        fleet: Fleet,
        baseline: Measurement,
    ) -> Rounds:
        """The search and what follows it, until an engine is chosen."""
        lower, worker = ready.lowering.lower, ready.worker
        known = {ready.setup.baseline.digest: Measured(baseline)}
        trials: list[Trial] = list(problem.known)
        evaluation = Evaluation(
            executor, fleet, ready, self.config.workers, self._limit_s, trials, self.lost
        )

        def evaluating(now: Problem) -> AbstractContextManager[Evaluate]:
            return evaluation.of(now, {**known, **memo.engines})

        memo, holdout = self.journal.memo, holdout_of(self.target, self.inputs, worker)

        def fresh() -> MeasurementClient:
            return connect(executor, worker.device, ready.setup.to_time(), self._limit_s)

        def confirmed(
            chosen: Sequence[Trial], seconds: float | None
        ) -> Generator[Event, None, Confirmed]:
            return confirm(problem, chosen, lower, worker, fresh, holdout, seconds)

        return Rounds(
            problem,
            self.strategy,
            baseline,
            memo,
            self._watch,
            evaluating,
            confirmed,
            self._warn,
            self._told_busy,
            trials,
        )

    def _finish(
        self,
        rounds: Rounds,
        lowering: Lowering,
        fingerprint: Fingerprint,
        choice: Choice,
        engine: Engine | None,
    ) -> Stream:
        """Write plan and artifact."""
        shipment = Shipment(self.config, self.target, self.inputs, self.outputs)
        yield from self._warn(hidden_by_loss(rounds.problem, rounds.trials, choice))
        yield from self._warn(demoted(choice.trial.assignment, choice.measurement.achieved))
        if self.config.artifact is not None and shipment.artifact(engine) is None:
            yield from self._warn(
                ["no engine is written: 'precsearch build' makes it from the plan"]
            )
        lowered = lowering.lower(choice.trial.assignment)
        assert rounds.baseline.latency is not None
        finish = Finish(
            choice,
            tuple(rounds.trials),
            fingerprint,
            rounds.baseline.latency,
            rounds.stopped,
            tuple(dict.fromkeys(self.warnings)),
            time.monotonic() - self.started,
            engine,
            self.fp32,
            tuple(rounds.continued),
            devices=self.devices,
            corrections=self.corrections,
            expected_gain=rounds.expected_gain,
        )
        return (yield from shipment.written(rounds, lowered, finish))
