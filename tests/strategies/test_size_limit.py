"""Engines that would be larger than the limit are not built."""

from __future__ import annotations

from precsearch.core.objective import Limits
from precsearch.core.precision import Precision
from precsearch.core.problem import Bound, Goal, Problem
from precsearch.core.space import Assignment, LayerGroup, SearchSpace
from precsearch.core.trial import Accuracy, Latency, Measured, Measurement, Proposal, Trial
from precsearch_strategies.history import History

INT8 = Precision.INT8
SIZES = {"a": 600, "b": 300, "c": 100}
EVERYWHERE = Assignment.of(dict.fromkeys(SIZES, INT8))
SPACE = SearchSpace(tuple(LayerGroup(k, "Conv", (k,), (Precision.FP32, INT8)) for k in SIZES))


def trial(number: int, assignment: Assignment) -> Trial:
    groups = {k: size // (4 if assignment[k] is INT8 else 1) for k, size in SIZES.items()}
    latency = Latency(1e-3, 1e-3, 1e-3, 1.0, 1.0, 1.0)
    found = Measurement(
        Accuracy(0.0, 0.0), latency, artifact_bytes=sum(groups.values()) + 50, group_bytes=groups
    )
    return Trial(number, Proposal(assignment), Measured(found))


def known(limit: int | None) -> History:
    goal = Goal(Bound(0.1), limits=Limits(size=limit))
    return History(Problem(SPACE, goal), [trial(0, Assignment()), trial(1, EVERYWHERE)])


def test_sizes_of_groups_that_engines_have_shown_rule_out_what_would_be_too_large() -> None:
    large, small = Assignment.of({"b": INT8, "c": INT8}), Assignment.of({"a": INT8})
    assert known(650).excludes(large)  # 600 + 75 + 25 + 50
    assert not known(650).excludes(small)  # 150 + 300 + 100 + 50
    assert not known(None).excludes(large)


def test_an_engine_beyond_a_limit_is_not_one_to_beat() -> None:
    assert [t.number for t in known(650).passing()] == [1]
    assert [t.number for t in known(None).passing()] == [0, 1]
