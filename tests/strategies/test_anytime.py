"""A mixed engine comes before many proxies, and within any budget that allows three engines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import pytest

from precsearch.core.events import SearchFinished, TrialFinished
from precsearch.core.problem import Budget, Problem
from precsearch.core.trial import Fidelity, Proposal, Trial
from precsearch.search.evaluator import Evaluated, Steps
from precsearch.search.loop import search
from precsearch_strategies import Auto
from precsearch_strategies.history import History
from precsearch_strategies.uniform import uniform_assignments
from tests.strategies.landscapes import FP32, INT8, Landscape, Recipe

TWO = (FP32, INT8)
PROXY, ENGINE = Fidelity.PROXY, Fidelity.ENGINE


@dataclass
class Clocked:
    """Measures a toy landscape; every trial takes a made-up time."""

    landscape: Landscape
    engine: float
    proxy: float
    now: float = 0.0
    asked: list[Proposal] = field(default_factory=list)

    def __call__(self, proposals: Sequence[Proposal]) -> Steps:
        for position, p in enumerate(proposals):
            yield position, None
            self.asked.append(p)
            # The FP32 engine was measured when the search began.
            took = self.engine * bool(len(p.assignment)) if p.fidelity is ENGINE else self.proxy
            self.now += took
            yield position, Evaluated(self.landscape.measure(p), "", took)


def searched(
    problem: Problem, clocked: Clocked, memo: Mapping[Proposal, Trial] | None = None
) -> tuple[list[Trial], str]:
    clocked.now = problem.setup_seconds
    events = list(
        search(
            problem,
            Auto(builds=10, patience=3, draws=1),
            clocked,
            memo=memo or {},
            clock=lambda: clocked.now,
        )
    )
    last = events[-1]
    assert isinstance(last, SearchFinished)
    return [e.trial for e in events if isinstance(e, TrialFinished)], last.reason


def mixed(problem: Problem, trials: Sequence[Trial]) -> list[Trial]:
    """Engines that are not uniform."""
    plain = set(uniform_assignments(problem))
    return [t for t in trials if t.proposal.fidelity is ENGINE and t.assignment not in plain]


@pytest.mark.parametrize("tolerance", [0.3, 0.6])
@pytest.mark.parametrize("proxy", [0.2, 3.0, 30.0])
@pytest.mark.parametrize("precisions", [TWO, (*TWO[:1], Recipe.precisions[1], INT8)])
def test_where_three_engines_fit_one_of_them_is_mixed(
    tolerance: float, proxy: float, precisions: tuple[()]
) -> None:
    made = Recipe(groups=24, precisions=precisions, tolerance=tolerance).draw(3)
    # What is left after the set-up is time for three engines but for FP32's own.
    limits = (Budget(max_builds=3), Budget(seconds=20.0 + 2.4 * 10.0))
    for budget in limits:
        problem = replace(made.problem, budget=budget, setup_seconds=20.0)
        trials, _ = searched(problem, Clocked(made, 10.0, proxy))
        assert mixed(problem, trials)


def test_a_slow_model_gets_a_mixed_engine_where_it_once_got_49_proxies() -> None:
    """Half a second an inference: 6 s a proxy, 40 s an engine, 300 s in all."""
    made = Recipe(groups=49, precisions=TWO, tolerance=0.3, border=0.05).draw(1)
    problem = replace(made.problem, budget=Budget(seconds=300.0), setup_seconds=60.0)
    trials, reason = searched(problem, Clocked(made, 40.0, 6.0))
    assert reason == "time"
    assert len(mixed(problem, trials)) >= 3
    best = problem.goal.best(trials)
    assert best is not None
    assert best.assignment.entries, "something faster than FP32 within the bound"


@pytest.mark.parametrize("proxy", [0.5, 2.0, 8.0])
def test_proxies_take_a_third_of_the_time_until_an_engine_brings_no_gain(proxy: float) -> None:
    made = Recipe(groups=40, precisions=TWO, tolerance=0.4).draw(2)
    problem = replace(made.problem, setup_seconds=10.0)
    trials, _ = searched(problem, Clocked(made, 5.0, proxy))
    spent, by_proxies, best, share = problem.setup_seconds, 0.0, 1.0, 1 / 3
    for trial in trials:
        spent += trial.seconds
        if trial.proposal.fidelity is PROXY:
            by_proxies += trial.seconds
            first = by_proxies == trial.seconds
            assert first or by_proxies <= max(spent * share, 3.0) + 1e-9
        elif trial in mixed(problem, trials):
            ratio = problem.goal.cost(found) if (found := trial.measurement) else None
            gained = ratio and found and problem.goal.passes(found) and ratio < best * 0.99
            best = ratio if ratio and gained else best
            share = share if gained else 2 / 3


def test_groups_are_asked_for_alone_once_halves_of_sets_lead_no_further() -> None:
    """Half of the groups are beyond the bound alone, so nearly every set is."""
    made = Recipe(groups=40, precisions=TWO, tolerance=0.4, border=0.02).draw(2)
    costly = [g.key for g in made.problem.space.groups[::2]]
    errors = {k: 1.0 if k[0] in costly else 0.02 for k in made.errors}
    goal = replace(made.problem.goal, bound=replace(made.problem.goal.bound, tolerance=0.3))
    problem = replace(made.problem, goal=goal, setup_seconds=30.0)
    trials, _ = searched(problem, Clocked(replace(made, errors=errors), 5.0, 2.0))
    engines = [i for i, t in enumerate(trials) if t.proposal.fidelity is ENGINE]
    alone = [i for i, t in enumerate(trials) if t.proposal.reason == "one group lowered alone"]
    assert alone
    assert min(alone) < engines[2] < max(alone), (
        "a mixed engine waits for a third of the time alone"
    )
    best = problem.goal.best(trials)
    assert best is not None
    assert len(best.assignment) >= 12, "of the 20 groups that cost little"


def test_a_few_bad_groups_among_many_do_not_end_the_halving() -> None:
    """Each quarter of the groups holds one, so that the first four sets are beyond the bound."""
    made = Recipe(groups=160, precisions=TWO, tolerance=0.4, border=0.02).draw(2)
    bad = {made.problem.space.groups[i].key for i in (3, 50, 51, 90, 91, 92, 130, 131)}
    errors = {k: 1.0 if k[0] in bad else 0.002 for k in made.errors}
    goal = replace(made.problem.goal, bound=replace(made.problem.goal.bound, tolerance=0.3))
    problem = replace(made.problem, goal=goal, setup_seconds=30.0)
    trials, _ = searched(problem, Clocked(replace(made, errors=errors), 5.0, 0.25))
    first = trials[: trials.index(mixed(problem, trials)[0])]
    sets = [set(t.assignment) for t in first if t.proposal.fidelity is PROXY]
    assert bad <= set().union(*(s for s in sets if len(s) <= 5 and s & bad)), "tracked down"
    assert len(sets) < 80, "of 160 groups"


def test_sets_are_halved_where_there_is_no_time_for_a_proxy_of_each_group() -> None:
    made = Recipe(groups=40, precisions=TWO, tolerance=0.4).draw(2)
    problem = replace(made.problem, setup_seconds=30.0)
    trials, _ = searched(problem, Clocked(made, 5.0, 2.0))
    before = trials[: trials.index(mixed(problem, trials)[0])]
    sizes = [len(t.assignment) for t in before if t.proposal.fidelity is PROXY]
    assert 3 <= len(sizes) < 40
    assert sizes[:2] == [20, 10], "the half, then a half of the worse one; an engine had them all"


def test_decisions_come_from_the_journal_and_not_from_a_clock() -> None:
    made = Recipe(groups=24, precisions=TWO, tolerance=0.4).draw(2)
    problem = replace(made.problem, setup_seconds=10.0)
    whole, _ = searched(problem, Clocked(made, 5.0, 1.0))
    for cut in (3, len(whole) // 2):
        memo = {t.proposal: t for t in whole[:cut]}
        resumed = Clocked(made, 5.0, 1.0)
        again, _ = searched(problem, resumed, memo)
        assert [t.proposal for t in again] == [t.proposal for t in whole]
        assert len(resumed.asked) == len(whole) - cut


def test_three_seconds_of_proxies_are_always_affordable() -> None:
    """So the search of a small model does not depend on how fast a machine is."""
    made = Recipe(groups=12, precisions=TWO, tolerance=0.4).draw(2)
    fast, slow = (searched(made.problem, Clocked(made, s, s / 2)) for s in (0.01, 0.05))
    engines = [
        [t.assignment for t in ts if t.proposal.fidelity is ENGINE] for ts, _ in (fast, slow)
    ]
    assert engines[0] == engines[1]


def test_without_recorded_times_there_is_no_limit() -> None:
    made = Recipe(groups=4).draw(0)
    assert History(made.problem).proxy_room() > 1000
    assert History(made.problem).engine_room() > 1000
    assert History(replace(made.problem, setup_seconds=5.0)).proxy_room() == 1


def test_uniform_engines_that_settle_it_need_no_mixed_engine() -> None:
    made = Recipe(groups=8, precisions=TWO, tolerance=3.0, border=0.0).draw(0)
    trials, reason = searched(made.problem, Clocked(made, 5.0, 1.0))
    assert reason == "settled"
    assert mixed(made.problem, trials) == []
