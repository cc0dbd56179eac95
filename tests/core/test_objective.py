"""What is minimized, and limits beside the loss."""

from __future__ import annotations

import pytest

from precsearch.core.errors import OptionError
from precsearch.core.objective import Limits, Objective, Timing
from precsearch.core.precision import Precision
from precsearch.core.problem import Bound, Goal
from precsearch.core.space import Assignment
from precsearch.core.trial import Accuracy, Latency, Measured, Measurement, Proposal, Trial

SMALL, FAST = Assignment.of({"a": Precision.INT8}), Assignment.of({"a": Precision.FP16})


def measured(ratio: float, size: int, loss: float = 0.0, memory: int = 0) -> Measurement:
    latency = Latency(ratio * 1e-3, ratio * 1e-3, ratio * 1e-3, ratio, ratio, ratio)
    return Measurement(
        Accuracy(loss, loss),
        latency,
        artifact_bytes=size,
        group_seconds={"a": ratio},
        group_bytes={"a": size},
        memory_bytes=memory,
    )


def trials() -> list[Trial]:
    rows = [(Assignment(), (1.0, 400)), (FAST, (0.5, 200)), (SMALL, (0.8, 100))]
    return [Trial(i, Proposal(a), Measured(measured(*found))) for i, (a, found) in enumerate(rows)]


def test_the_fastest_engine_is_not_the_smallest() -> None:
    by_time, by_size = Goal(Bound(0.1)), Goal(Bound(0.1), objective=Objective.SIZE, size=400)
    best = by_time.best(trials()), by_size.best(trials())
    assert [t.assignment for t in best if t is not None] == [FAST, SMALL]
    assert by_size.cost(measured(0.8, 100)) == 0.25
    assert by_size.parts(measured(0.8, 100)) == {"a": 100}
    assert by_time.parts(measured(0.8, 100)) == {"a": 0.8}
    assert by_size.better(measured(9.0, 100), measured(0.1, 101))


def test_a_difference_in_size_within_half_a_percent_goes_to_the_more_accurate() -> None:
    goal = Goal(Bound(0.1), noise=0.5, objective=Objective.SIZE, size=1000)
    assert goal.better(measured(1, 504, 0.01), measured(1, 502, 0.02))
    assert not goal.better(measured(1, 550, 0.01), measured(1, 502, 0.02))


def test_an_engine_that_breaks_a_limit_is_never_the_best() -> None:
    goal = Goal(Bound(0.1), limits=Limits(size=150))
    best = goal.best(trials())
    assert best is not None
    assert best.assignment == SMALL
    assert Goal(Bound(0.1), limits=Limits(size=50)).best(trials()) is None
    assert goal.broken(measured(0.5, 200)) == ("it has 200 bytes, more than 150",)


def test_each_limit_names_its_violation_and_unmeasured_values_break_none() -> None:
    limits = Limits(seconds=1e-3, size=10, memory=20)
    assert limits.broken() == ()
    assert limits.broken(1e-3, 10, 20) == ()
    assert limits.broken(2e-3, 11, 21) == (
        "it takes 2 ms, more than 1 ms",
        "it has 11 bytes, more than 10",
        "it needs 21 bytes of memory, more than 20",
    )
    assert Limits(size=1).over(limits) == Limits(seconds=1e-3, size=1, memory=20)


def test_a_limit_of_nothing_is_refused_and_an_unknown_objective_names_those_there_are() -> None:
    with pytest.raises(OptionError, match="a limit of size must be positive, not 0"):
        Limits(size=0)
    with pytest.raises(OptionError, match="'speed'; use latency, mean, p95, p99, size"):
        Objective.named("speed")


def test_an_objective_names_the_number_that_engines_are_timed_by() -> None:
    named = {o.value: o.timing for o in Objective}
    assert named["latency"] is named["size"] is Timing.MEDIAN
    assert (named["mean"], named["p95"], named["p99"]) == (Timing.MEAN, Timing.P95, Timing.P99)
    assert [t.inferences for t in Timing] == [1, 20, 20, 100]
