"""What a budget of engines counts: engines that ran, and failures that cost as much."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from precsearch.core.events import SearchFinished, TrialFinished
from precsearch.core.exclusions import FREE_FAILURES, LONG_S, built
from precsearch.core.precision import Precision
from precsearch.core.problem import Bound, Budget, Goal, Problem
from precsearch.core.space import Assignment, LayerGroup, SearchSpace
from precsearch.core.strategy import ReasonedProposals
from precsearch.core.trial import Accuracy, Failed, Fidelity, Measured, Measurement, Proposal, Trial
from precsearch.search.evaluator import Evaluated, Steps
from precsearch.search.loop import search

FP32, INT8 = Precision.FP32, Precision.INT8
RAN = Measured(Measurement(Accuracy(0.1, 0.1)))
BROKEN = Failed("build", "error", "an assertion failed")
SPACE = SearchSpace(tuple(LayerGroup(k, "conv", (k,), (FP32, INT8)) for k in "abcdef"))


def trial(number: int, runs: bool, seconds: float = 0.2, kind: str = "error") -> Trial:
    outcome = RAN if runs else Failed("build", kind, "")
    return Trial(number, Proposal(Assignment()), outcome, seconds=seconds)


def test_a_failure_that_takes_no_time_is_not_counted() -> None:
    assert built([trial(0, True), trial(1, False), trial(2, False), trial(3, True)]) == 2


@pytest.mark.parametrize(
    ("seconds", "kind"), [(LONG_S, "error"), (LONG_S, "crash"), (1, "timeout")]
)
def test_a_failure_that_costs_as_much_as_an_engine_is_counted(seconds: float, kind: str) -> None:
    assert built([trial(0, True), trial(1, False, seconds, kind)]) == 2


def test_proxies_are_not_counted() -> None:
    assert built([Trial(0, Proposal(Assignment(), Fidelity.PROXY), RAN)]) == 0


@given(st.lists(st.booleans(), max_size=200), st.randoms())
def test_up_to_forty_failures_in_a_row_are_free_in_any_order(
    runs: list[bool], random: Random
) -> None:
    trials = [trial(n, ran) for n, ran in enumerate(runs)]
    expected, row = 0, 0
    for ran in runs:
        row = 0 if ran else row + 1
        expected += ran or row > FREE_FAILURES
    random.shuffle(trials)
    assert built(trials) == expected


class Singles:
    """Asks for each group alone, in one batch or one by one."""

    def __init__(self, together: bool) -> None:
        self.together = together

    def propose(self, problem: Problem, /) -> ReasonedProposals:
        asked = [Proposal(Assignment.of({g.key: INT8})) for g in problem.space.free]
        if self.together:
            yield asked
        else:
            for one in asked:
                yield [one]
        return "complete"


def evaluate(proposals: Sequence[Proposal]) -> Steps:
    """The groups a to c fail."""
    for position, p in enumerate(proposals):
        yield position, None
        low = p.assignment.keys_at(INT8)
        yield position, Evaluated(BROKEN if low & set("abc") else RAN, "", 0.2)


@pytest.mark.parametrize("together", [False, True])
def test_a_failed_engine_leaves_its_place_in_the_budget_to_the_next(together: bool) -> None:
    problem = Problem(SPACE, Goal(Bound(1.0)), Budget(2))
    events = list(search(problem, Singles(together), evaluate))
    done = [e for e in events if isinstance(e, TrialFinished)]
    assert [sorted(e.trial.assignment.keys_at(INT8)) for e in done] == [[k] for k in "abcde"]
    assert [e.builds for e in done] == [0, 0, 0, 1, 2]
    last = events[-1]
    assert isinstance(last, SearchFinished)
    assert (last.reason, last.builds) == ("builds", 2)


def test_a_backend_on_which_everything_fails_spends_the_budget_in_the_end() -> None:
    groups = tuple(LayerGroup(f"g{i:03}", "conv", (f"g{i:03}",), (FP32, INT8)) for i in range(99))

    def refuse(proposals: Sequence[Proposal]) -> Steps:
        for position, _ in enumerate(proposals):
            yield position, None
            yield position, Evaluated(BROKEN, "", 0.2)

    problem = Problem(SearchSpace(groups), Goal(Bound(1.0)), Budget(5))
    events = list(search(problem, Singles(together=False), refuse))
    assert sum(isinstance(e, TrialFinished) for e in events) == FREE_FAILURES + 5
