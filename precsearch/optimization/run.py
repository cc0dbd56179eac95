"""`optimize`: one stream of events from the model to the plan."""

from __future__ import annotations

import time
from dataclasses import replace

from precsearch.backends.auto import backend_name
from precsearch.core.events import Warned
from precsearch.graph.reading.read import read_model
from precsearch.optimization.finished import written_again
from precsearch.optimization.identity import identity
from precsearch.optimization.pipeline import Run, Stream
from precsearch.optimization.preview.counted import with_work
from precsearch.optimization.stages.rewrite import rewriting
from precsearch.plan.plan import evidence_path
from precsearch.registry import strategy
from precsearch.replay.portable import artifact_paths
from precsearch.search.journal import NAME, Journal
from precsearch.setup.config import OptimizeConfig, OptimizeResult
from precsearch.setup.files import check_free
from precsearch.setup.outputs import Outputs, reserved
from precsearch.setup.ownership import check_same_model
from precsearch.system.interrupts import shielded

__all__ = ["optimize_events"]


def optimize_events(config: OptimizeConfig) -> Stream:
    """Search on one engine, and yield what happens; the generator returns the result.

    A `KeyboardInterrupt`, raised inside or thrown in, ends the search; the best plan so far is
    still written.

    Raises:
        InputError: Something that the user gave is wrong; the message says what to change.
        ResourceError: The machine lacks room, memory, handles or processes.
    """
    started = time.monotonic()
    config = replace(config, backend=backend_name(config.backend))
    plan = config.plan_path
    paths = [plan, evidence_path(plan), *artifact_paths(config.backend, config.artifact)]
    journal_path = config.run_path / NAME
    inputs_read = (config.model, config.data, config.calibration, config.holdout, journal_path)
    check_free(paths, force=True, inputs=inputs_read)
    with reserved(paths):
        source = read_model(config.model)
        check_same_model(config, source)
        check_free(paths, force=config.force or config.resume, inputs=inputs_read)
        check_free(paths, force=True, inputs=source.external)
        chosen = strategy(config.strategy, config.strategy_options)
        target, inputs, rewritten = yield from rewriting(config, source)
        target = with_work(target, inputs)
        identified = identity(config, target, inputs)
        with Journal.open(
            config.run_path, identified, resume=config.resume, force=config.force
        ) as journal:
            outputs = Outputs(config.run_path, force=config.force, resumed=config.resume)
            outputs.check(paths)
            result = yield from written_again(config, outputs, identified, len(journal.memo))
            if result is not None:
                return result
            run = Run(
                config, target, inputs, chosen, journal, started, outputs, rewritten=rewritten
            )
            return (yield from _recorded(run, run.events(identified), journal))


def _recorded(run: Run, events: Stream, journal: Journal) -> Stream:
    """Write every event down before anyone sees it, and warnings into the plan, too."""
    thrown: KeyboardInterrupt | None = None
    while True:
        try:
            event = next(events) if thrown is None else events.throw(thrown)
        except StopIteration as stop:
            result: OptimizeResult = stop.value
            return result
        with shielded():
            journal.append(event)
        if isinstance(event, Warned):
            run.warnings.append(event.message)
        try:
            yield event
            thrown = None
        except KeyboardInterrupt as interrupt:
            thrown = interrupt
        except GeneratorExit:
            events.close()
            raise
