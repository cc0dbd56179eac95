"""When a search ends, and what it asks proxies for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from precsearch.core.trial import Fidelity, Trial
from precsearch_strategies import Auto
from precsearch_strategies.acquisition.candidates import candidates
from precsearch_strategies.encoding import Labels
from precsearch_strategies.history import History
from tests.strategies.harness import run
from tests.strategies.landscapes import FP32, INT8, Landscape, Recipe
from tests.strategies.test_anytime import Clocked, searched

TWO = (FP32, INT8)
PROXY, ENGINE = Fidelity.PROXY, Fidelity.ENGINE


def after_the_last_gain(landscape: Landscape, engines: list[Trial]) -> int:
    """Engines after the last one that was faster than all before it beyond the noise."""
    goal, best, last = landscape.problem.goal, 1.0, 0
    for count, trial in enumerate(engines):
        m = trial.measurement
        if m is None or m.latency is None or not goal.passes(m):
            continue
        if m.latency.ratio < best * (1 - goal.noise):
            best, last = m.latency.ratio, count
    return len(engines) - 1 - last


@pytest.mark.parametrize("seed", range(3))
def test_a_search_ends_soon_after_the_last_gain(seed: int) -> None:
    made = Recipe(groups=10, precisions=TWO, border=0.1, tolerance=0.5, error_noise=0.03).draw(seed)
    found = run(Auto(), made)
    assert found.ratio <= made.optimum * (1 + 2 * made.problem.goal.noise)
    assert after_the_last_gain(made, found.engines) <= 8


def screened(landscape: Landscape, proxy: float) -> int:
    problem = replace(landscape.problem, setup_seconds=60.0)
    trials, _ = searched(problem, Clocked(landscape, 5.0, proxy))
    return sum("screening" in t.proposal.reason for t in trials)


def test_candidates_are_screened_where_that_is_cheaper_than_an_engine() -> None:
    made = Recipe(groups=12, precisions=TWO, tolerance=0.4).draw(2)
    assert screened(made, 0.01) > 0
    assert screened(made, 3.0) == 0


def test_a_proxy_checks_what_the_error_model_alone_rules_out() -> None:
    made = Recipe(groups=10, precisions=TWO, tolerance=0.4, border=0.1).draw(2)
    found = run(Auto(), made)
    checks = [i for i, t in enumerate(found.trials) if "rules out" in t.proposal.reason]
    assert checks
    assert all(found.trials[i].proposal.fidelity is PROXY for i in checks)
    assert len(checks) <= 4 * len(found.engines)


def test_candidates_are_made_for_each_engine_and_not_for_each_proxy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = Recipe(groups=24, precisions=TWO, tolerance=0.4).draw(2)
    pools = 0

    def counted(*given: Any) -> Labels:
        nonlocal pools
        pools += 1
        return candidates(*given)

    monkeypatch.setattr("precsearch_strategies.acquisition.rank.candidates", counted)
    found = run(Auto(), made)
    reasons = [t.proposal.reason for t in found.trials if t.proposal.fidelity is PROXY]
    assert sum("candidate" in reason for reason in reasons) > 2 * len(found.engines)
    assert pools <= 1.5 * len(found.engines)


def test_screening_takes_half_of_an_engine_at_most() -> None:
    made = Recipe(groups=12, precisions=TWO, tolerance=0.4).draw(2)
    trials, _ = searched(replace(made.problem, setup_seconds=60.0), Clocked(made, 5.0, 1.0))
    row = 0
    for trial in trials:
        row = row + 1 if "screening" in trial.proposal.reason else 0
        assert row <= 2


def test_the_cost_of_a_proxy_is_unknown_without_recorded_times() -> None:
    made = Recipe(groups=4).draw(0)
    assert History(made.problem).affordable_screens(12) == 12
