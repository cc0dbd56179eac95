"""`optimize`: one stream of events from the model to the plan."""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass, replace

from precsearch.journal import Journal
from precsearch.workers import Worker

from precsearch._version import __version__
from precsearch.api.config import OptimizeConfig, OptimizeResult
from precsearch.api.files import check_free
from precsearch.api.setup import (
    Inputs,
    Target,
    bench_setup,
    calibrate,
    identity,
    open_inputs,
    open_target,
    reference_of,
    reference_worker,
)
from precsearch.bench import Bench
from precsearch.events import (
    Event,
    RunStarted,
    SearchStarted,
    StageStarted,
    Warned,
)
from precsearch.goal import Bound, Budget, Goal, Problem
from precsearch.onnxio.read import read_model
from precsearch.registry import strategy
from precsearch.space import Assignment
from precsearch.strategy import Strategy

__all__ = ["optimize_events"]

_TRIAL_LIMIT_S = 600.0

Stream = Generator[Event, None, OptimizeResult]


def optimize_events(config: OptimizeConfig) -> Stream:
    """Search, and yield what happens; the generator returns the result.

    A `KeyboardInterrupt`, raised inside or thrown in, ends the search; the best plan so far is
    still written.

    Raises:
        InputError: Something that the user gave is wrong; the message says what to change.
        WorkerError: The model's own FP32 engine crashes or hangs.
    """
    started = time.monotonic()
    outputs = [p for p in (config.plan_path, config.artifact) if p is not None]
    check_free(outputs, force=config.force)
    source = read_model(config.model)
    chosen_strategy = strategy(config.strategy)
    target = open_target(
        source, config.backend, config.precisions, config.granularity, config.threads
    )
    inputs = open_inputs(config, target.graph)
    identified = identity(config, target, inputs)
    with Journal.open(
        config.run_path, identified, resume=config.resume, force=config.force
    ) as journal:
        run = _Run(config, target, inputs, chosen_strategy, journal, started)
        return (yield from _recorded(run.events(), journal))


def _recorded(events: Stream, journal: Journal) -> Stream:
    """Write every event down before anyone sees it."""
    thrown: KeyboardInterrupt | None = None
    while True:
        try:
            event = next(events) if thrown is None else events.throw(thrown)
        except StopIteration as stop:
            result: OptimizeResult = stop.value
            return result
        journal.append(event)
        try:
            yield event
            thrown = None
        except KeyboardInterrupt as interrupt:
            thrown = interrupt
        except GeneratorExit:
            events.close()
            raise


@dataclass
class _Run:
    """One run's parts; `events` goes through them once."""

    config: OptimizeConfig
    target: Target
    inputs: Inputs
    strategy: Strategy
    journal: Journal
    started: float

    def events(self) -> Stream:
        config, memo = self.config, self.journal.memo
        yield RunStarted(identity(config, self.target, self.inputs), config.model.name, __version__)
        warnings = [*self.inputs.data.notes, *self.inputs.parts.notes]
        if self.inputs.data.random:
            warnings.insert(
                0, "no --data was given: losses are measured on random numbers and mean little"
            )
        for warning in warnings:
            yield Warned(warning)
        with reference_worker() as runner:
            yield StageStarted("reference", f"{len(self.inputs.parts.search)} feeds")
            searched = reference_of(self.target, self.inputs.parts.search, runner)
            self.target, lowering = yield from calibrate(
                config, self.target, self.inputs, runner, warnings
            )
        setup = bench_setup(config, self.target, lowering.lower(Assignment()), searched)
        with Worker(Bench, (setup,), limit_s=_TRIAL_LIMIT_S) as worker:
            yield StageStarted("gate", "FP32 engine against the reference")
            where = worker.call("fingerprint")
            noise = memo.noise or worker.call("calibrate_noise")
            worker.restart_with(replace(setup, noise=noise))
            problem = self._problem(noise)
            search_run = _Search(self, problem, lowering, worker, memo)
            yield SearchStarted(
                device=where.device,
                strategy=config.strategy,
                groups=len(problem.space.free),
                nodes=len(self.target.graph.nodes),
                bound=problem.goal.bound,
                budget=problem.budget,
                noise=noise,
                spent=memo.seconds,
            )
            return (yield from search_run.events(where, warnings))

    def _problem(self, noise: float) -> Problem:
        config = self.config
        return Problem(
            space=self.target.space,
            goal=Goal(Bound(self.inputs.bound, config.metric), noise),
            budget=Budget(config.max_builds, config.time_budget),
            seed=config.seed,
        )
