"""What decides which engine ships, fact by fact: a fault in any of these ships the wrong one."""

from __future__ import annotations

import math

import pytest

from precsearch.core.errors import OptionError
from precsearch.core.problem import Bound, Budget, Goal, pareto
from precsearch.core.space import Assignment
from precsearch.core.trial import (
    Accuracy,
    Fidelity,
    Latency,
    Measured,
    Measurement,
    Proposal,
    Trial,
)

GOAL = Goal(Bound(0.10, "rel-l2", guard=1.25), noise=0.05)


def measurement(loss: float, ratio: float = 1.0, upper: float | None = None) -> Measurement:
    latency = Latency(ratio, ratio, ratio, ratio, ratio, ratio, (), ())
    return Measurement(Accuracy(loss, loss if upper is None else upper), latency)


def trial(number: int, loss: float, ratio: float, fidelity: Fidelity = Fidelity.ENGINE) -> Trial:
    proposal = Proposal(Assignment(), fidelity)
    return Trial(number, proposal, Measured(measurement(loss, ratio)))


def test_the_search_works_against_the_tolerance_less_its_guard() -> None:
    assert GOAL.bound.target == pytest.approx(0.08)
    assert GOAL.passes(measurement(0.08))
    assert not GOAL.passes(measurement(0.0801))
    assert not GOAL.passes(measurement(0.05, upper=0.1001)), "what is likely counts, too"
    assert GOAL.passes(measurement(0.05, upper=0.10))


def test_an_engine_that_was_not_chosen_needs_no_guard() -> None:
    assert GOAL.admits(measurement(0.10))
    assert not GOAL.admits(measurement(0.1001))
    assert not GOAL.admits(measurement(math.inf))
    assert not GOAL.admits(measurement(math.nan))
    assert not GOAL.passes(measurement(math.nan))


def test_faster_beyond_the_noise_wins_and_a_tie_goes_to_the_accurate() -> None:
    fast, slow = measurement(0.05, 0.5), measurement(0.01, 0.6)
    assert GOAL.better(fast, slow)
    assert not GOAL.better(slow, fast)
    tied = measurement(0.01, 0.51)
    assert GOAL.better(tied, fast)
    assert not GOAL.better(fast, tied)


def test_the_best_is_the_most_accurate_of_those_tied_with_the_fastest() -> None:
    trials = [trial(0, 0.0, 1.0), trial(1, 0.07, 0.50), trial(2, 0.02, 0.52), trial(3, 0.2, 0.1)]
    for order in (trials, trials[::-1]):
        best = GOAL.best(order)
        assert best is not None
        assert best.number == 2
    assert GOAL.best([trial(0, 0.2, 0.1)]) is None


def test_the_front_holds_what_nothing_beats() -> None:
    trials = [
        trial(0, 0.0, 1.0),
        trial(1, 0.05, 0.5),
        trial(2, 0.06, 0.7),
        trial(3, 0.01, 0.8),
        trial(4, math.inf, 0.1),
        trial(5, 0.0, 0.2, Fidelity.PROXY),
    ]
    assert [t.number for t in pareto(trials)] == [1, 3, 0]


def test_a_budget_is_spent_at_its_limit() -> None:
    assert not Budget(3, 60.0).spent(2, 59.9)
    assert Budget(3, 60.0).spent(3, 0.0)
    assert Budget(3, 60.0).spent(0, 60.0)
    assert not Budget().spent(10**6, 1e9)
    for wrong in ({"max_builds": 0}, {"seconds": 0.0}, {"seconds": math.nan}):
        with pytest.raises(OptionError):
            Budget(**wrong)
