"""A search goes on after everything that an engine can do to its worker."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace

from precsearch.backends.fake import Fault, Landscape
from precsearch.core.problem import Problem
from precsearch.core.space import Assignment
from precsearch.core.strategy import Proposals
from precsearch.core.trial import Failed, Proposal
from precsearch.executors.process import Worker
from precsearch.search.evaluator import Evaluate, pooled
from precsearch.search.loop import search
from tests.search.loop_toys import (
    FP16,
    INT8,
    ToyService,
    finish,
    in_process,
    in_workers,
    toy_landscape,
    toy_problem,
    toy_space,
)

FAULTS = {
    ("run", "crash"): Fault("segv", "run", {"g0": INT8}),
    ("build", "crash"): Fault("exit", "build", {"g0": FP16}),
    ("time", "timeout"): Fault("hang", "time", {"g1": INT8}),
    ("run", "memory"): Fault("memory", "run", {"g1": FP16}),
    ("build", "error"): Fault("error", "build", {"g3": INT8}),
}


class FaultsAndHealthy:
    def propose(self, problem: Problem, /) -> Proposals:
        yield [
            Proposal(Assignment.of({**changes, **fault.when}))
            for fault in FAULTS.values()
            for changes in ({}, {"g4": INT8})
            if changes or fault.kind in ("segv", "hang")
        ]
        yield [Proposal(Assignment()), Proposal(Assignment.of({"g4": INT8}))]


def test_a_search_survives_everything_that_an_engine_can_do() -> None:
    space = toy_space()
    landscape = replace(toy_landscape(space, 5), faults=tuple(FAULTS.values()))
    with ExitStack() as stack:
        arguments = (landscape.to_json(), 0.0)
        pool = [
            stack.enter_context(Worker(ToyService, arguments, limit_s=4.0, preload=()))
            for _ in range(2)
        ]
        evaluate = pooled(in_workers(space, pool))
        _, trials = finish(search(toy_problem(space), FaultsAndHealthy(), evaluate))
    failures = [
        (t.outcome.stage, t.outcome.kind) if isinstance(t.outcome, Failed) else None for t in trials
    ]
    crash, exit_, hang, memory, error = FAULTS
    assert failures == [crash, crash, exit_, hang, hang, memory, error, None, None]
    _, expected = finish(search(toy_problem(space), FaultsAndHealthy(), _healthy(landscape)))
    assert [t.outcome for t in trials[-2:]] == [t.outcome for t in expected[-2:]]


def _healthy(landscape: Landscape) -> Evaluate:
    return in_process(toy_space(), replace(landscape, faults=()))
