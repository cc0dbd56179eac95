"""`optimize`: one stream of events from the model to the plan."""

from __future__ import annotations

import time
from dataclasses import replace

from precsearch.api.config import OptimizeConfig, OptimizeResult
from precsearch.api.files import check_free
from precsearch.api.healing import curing
from precsearch.api.setup import identity
from precsearch.api.stages import Run, Stream
from precsearch.journal import NAME, Journal
from precsearch.onnxio.read import read_model
from precsearch.registry import backend_name, strategy

__all__ = ["optimize_events"]


def optimize_events(config: OptimizeConfig) -> Stream:
    """Search, and yield what happens; the generator returns the result.

    A `KeyboardInterrupt`, raised inside or thrown in, ends the search; the best plan so far is
    still written.

    Raises:
        InputError: Something that the user gave is wrong; the message says what to change.
    """
    started = time.monotonic()
    config = replace(config, backend=backend_name(config.backend))
    outputs = [p for p in (config.plan_path, config.artifact) if p is not None]
    journal_path = config.run_path / NAME
    inputs_read = (config.model, config.data, config.calibration, config.holdout, journal_path)
    check_free(outputs, force=config.force or config.resume, inputs=inputs_read)
    source = read_model(config.model)
    check_free(outputs, force=True, inputs=source.external)
    chosen = strategy(config.strategy)
    target, inputs, cured = yield from curing(config, source)
    identified = identity(config, target, inputs)
    with Journal.open(
        config.run_path, identified, resume=config.resume, force=config.force
    ) as journal:
        run = Run(config, target, inputs, chosen, journal, started, cured=cured)
        return (yield from _recorded(run.events(identified), journal))


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
