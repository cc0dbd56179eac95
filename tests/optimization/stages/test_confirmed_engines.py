"""After a miss on the holdout, a search goes on for what beats the engine that passed there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from precsearch.core.problem import Bound, Budget, Goal, Problem
from precsearch.core.space import Assignment
from precsearch.core.trial import Accuracy, Measured, Measurement, Proposal, Trial
from precsearch.optimization.continuing import under
from precsearch.plan.plan import Finalist
from precsearch_strategies.history import History
from tests.cli.runs import latency
from tests.optimization.stages.test_search_stage import (
    INT8,
    SPACE,
    World,
    best,
    ratio,
    run,
)

TIGHT = 0.01


def engine(number: int, keys: str, off: float) -> Trial:
    asked = Assignment.of(dict.fromkeys(keys, INT8))
    found = Measurement(Accuracy(off, off), latency(ratio(asked)))
    return Trial(number, Proposal(asked), Measured(found))


def test_a_search_that_goes_on_builds_little_that_cannot_ship(tmp_path: Path) -> None:
    world = World()
    choice, rounds, _ = run(tmp_path, 5e-3, world=world, builds=60)
    assert rounds.continued
    assert ratio(choice.trial.assignment) == pytest.approx(best(5e-3))
    assert len(world.built) <= 8, "16 when later searches began afresh under their own bounds"


@pytest.mark.parametrize("passed", [True, False])
def test_only_what_passed_on_the_holdout_passes_whatever_it_loses(passed: bool) -> None:
    asked = Problem(SPACE, Goal(Bound(2 * TIGHT), 0.01), Budget())
    fast, slow = engine(0, "abc", 1.5 * TIGHT), engine(1, "a", 0.5 * TIGHT)
    looks = [Finalist(0, ratio(fast.assignment), 1.5 * TIGHT, 1.6 * TIGHT, passed)]
    known = History(under(asked, TIGHT, [fast, slow], looks, fast if passed else None))
    assert known.best_ratio() == ratio((fast if passed else slow).assignment)
    assert [known.passes(t) for t in known.engines.values()] == [passed, True]


def test_an_engine_in_reserve_is_not_needed_for_one_that_passed_on_the_holdout() -> None:
    fast = engine(0, "abc", 0.99 * TIGHT)
    asked = Problem(SPACE, Goal(Bound(TIGHT), 0.01), Budget(), known=(fast,))
    assert not History(asked).holds(0.85)
    assert History(replace(asked, confirmed=frozenset({fast.assignment}))).holds(0.85)
