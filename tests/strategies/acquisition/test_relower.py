"""Groups that went back to FP32 needlessly are lowered again; those that break the bound stay."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from precsearch.core.problem import Problem
from precsearch.core.space import Assignment
from precsearch.core.strategy import Proposals
from precsearch.core.trial import Fidelity
from precsearch_strategies.acquisition.relower import relowered
from precsearch_strategies.encoding import Encoding
from precsearch_strategies.history import History
from tests.strategies.harness import run
from tests.strategies.landscapes import FP32, INT8, Recipe


@dataclass(frozen=True)
class Reverted:
    """Builds FP32 and one assignment, then lowers again."""

    start: Assignment

    def propose(self, problem: Problem, /) -> Proposals:
        known = History(problem)
        yield from known.build([problem.all_fp32()], "FP32")
        yield from known.build([self.start], "reverted in excess")
        yield from relowered(known, Encoding(problem.space), 9)


@pytest.mark.parametrize("seed", range(3))
def test_harmless_groups_are_lowered_again_and_sensitive_ones_are_not(seed: int) -> None:
    recipe = Recipe(groups=60, precisions=(FP32, INT8), tolerance=0.45, border=0.0, sensitive=5)
    landscape = recipe.draw(seed)
    harmless = [g.key for g in landscape.space.free if g.key not in landscape.hot]
    start = Assignment.of(dict.fromkeys(harmless[4:], INT8))
    found = run(Reverted(start), landscape)
    engines = [t for t in found.trials if t.proposal.fidelity is Fidelity.ENGINE]
    assert len(engines) == 3
    last = engines[-1]
    assert last.measurement is not None
    assert set(harmless) <= set(last.assignment)
    proxies = [t for t in found.trials if t.proposal.fidelity is Fidelity.PROXY]
    refused = {
        key
        for t in proxies
        if t.measurement and not landscape.problem.goal.passes(t.measurement)
        for key in set(t.assignment) - set(start)
    }
    assert not refused & set(last.assignment)
    assert len(proxies) == len(landscape.space.free) - len(start)


def test_small_spaces_and_spent_budgets_are_left_alone() -> None:
    small = Recipe(groups=9, precisions=(FP32, INT8)).draw(0)
    key = small.space.free[0].key
    assert len(run(Reverted(Assignment.of({key: INT8})), small).trials) == 2
