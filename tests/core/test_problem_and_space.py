"""Laws of the pure data that every search rests on."""

from __future__ import annotations

import math
from itertools import pairwise, permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from precsearch.core.errors import OptionError
from precsearch.core.precision import Precision
from precsearch.core.problem import Bound, Budget, Goal, pareto
from precsearch.core.space import Assignment, LayerGroup, SearchSpace
from precsearch.core.trial import (
    Accuracy,
    Failed,
    Fidelity,
    Latency,
    Measured,
    Measurement,
    Proposal,
    Trial,
)

FP32, FP16, INT8 = Precision.FP32, Precision.FP16, Precision.INT8


def measured(loss: float, ratio: float | None, upper: float | None = None) -> Measurement:
    latency = None if ratio is None else Latency(ratio, ratio, ratio, ratio, ratio, ratio)
    return Measurement(Accuracy(loss, loss if upper is None else upper), latency)


def trials(rows: list[tuple[float, float | None]]) -> list[Trial]:
    found = []
    for number, (loss, ratio) in enumerate(rows):
        fidelity = Fidelity.PROXY if ratio is None else Fidelity.ENGINE
        proposal = Proposal(Assignment.of({f"g{number}": INT8}), fidelity)
        found.append(Trial(number, proposal, Measured(measured(loss, ratio))))
    return found


LOSSES = st.floats(0, 1) | st.just(math.inf)
RATIOS = st.floats(0.1, 3)
ROWS = st.lists(st.tuples(LOSSES, st.none() | RATIOS), max_size=12)
GOALS = st.builds(
    Goal,
    st.builds(Bound, st.just(0.0) | st.floats(1e-12, 1), guard=st.floats(1, 2)),
    st.floats(0, 0.2),
)


# The goal.


@given(GOALS, LOSSES, st.floats(0, 1))
def test_an_engine_that_passes_is_admitted_and_uses_at_most_the_bound(
    goal: Goal, loss: float, more: float
) -> None:
    found = measured(loss, 1.0, loss + more)
    if goal.passes(found):
        assert goal.admits(found)
        assert goal.usage(found) <= 1 + 1e-9
    elif goal.bound.tolerance > 0:
        assert goal.usage(found) >= 1 - 1e-9
    assert goal.usage(measured(math.inf, 1.0)) == math.inf
    assert not goal.admits(measured(math.inf, 1.0))


@given(GOALS, ROWS, st.randoms())
def test_the_best_is_as_fast_as_any_and_no_order_changes_it(
    goal: Goal, rows: list[tuple[float, float | None]], random: object
) -> None:
    found = trials(rows)
    best = goal.best(found)
    passing = [
        m
        for t in found
        if (m := t.measurement) is not None and m.latency is not None and goal.passes(m)
    ]
    assert (best is None) == (not passing)
    shuffled = list(found)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert goal.best(shuffled) is best
    if best is None:
        return
    chosen = best.measurement
    assert chosen is not None
    assert chosen.latency is not None
    assert goal.passes(chosen)
    fastest = min(m.latency.ratio for m in passing if m.latency is not None)
    assert chosen.latency.ratio <= fastest * (1 + goal.noise)
    for other in passing:
        assert other.latency is not None
        if other.latency.ratio <= fastest * (1 + goal.noise):
            assert chosen.accuracy.loss <= other.accuracy.loss


@given(GOALS, st.tuples(LOSSES, RATIOS), st.tuples(LOSSES, RATIOS))
def test_better_is_never_mutual(goal: Goal, a: tuple[float, float], b: tuple[float, float]) -> None:
    one, other = measured(*a), measured(*b)
    assert not (goal.better(one, other) and goal.better(other, one))
    assert not goal.better(one, one)


def test_a_tie_goes_to_the_more_accurate() -> None:
    goal = Goal(Bound(0.1), noise=0.05)
    fast, exact = measured(0.05, 0.50), measured(0.01, 0.51)
    assert goal.better(exact, fast)
    best = goal.best(trials([(0.05, 0.50), (0.01, 0.51), (0.0, 0.60)]))
    assert best is not None
    assert best.number == 1


def test_ties_are_not_passed_on() -> None:
    """The last is as fast as the second, that as the first, but the last not as the first."""
    goal = Goal(Bound(1.0), noise=0.05)
    found = trials([(0.3, 1.00), (0.2, 1.04), (0.1, 1.08)])
    assert {goal.best(order).number for order in permutations(found) if goal.best(order)} == {1}  # type: ignore[union-attr]


def test_only_timed_engines_are_compared() -> None:
    with pytest.raises(ValueError, match="timed"):
        Goal(Bound(0.1)).better(measured(0, None), measured(0, 1.0))
    assert Goal(Bound(0.1)).best(trials([(0.0, None)])) is None


@pytest.mark.parametrize("tolerance", [math.nan, math.inf, -1e-9])
def test_a_bound_is_a_number(tolerance: float) -> None:
    with pytest.raises(OptionError, match="tolerance"):
        Bound(tolerance)
    with pytest.raises(OptionError, match="guard"):
        Bound(0.1, guard=0.9)


@given(st.integers(0, 9), st.floats(0, 9), st.integers(1, 9), st.floats(0.1, 9))
def test_a_budget_is_spent_at_either_limit(
    builds: int, seconds: float, most: int, longest: float
) -> None:
    assert Budget(most, longest).spent(builds, seconds) == (builds >= most or seconds >= longest)
    assert not Budget().spent(builds, seconds)


# The front.


@given(ROWS)
def test_nothing_dominates_the_front_and_it_dominates_the_rest(
    rows: list[tuple[float, float | None]],
) -> None:
    found = trials(rows)
    front = pareto(found)
    points = {t.number: rows[t.number] for t in front}
    ratios = [r for _, r in points.values() if r is not None]
    losses = [loss for loss, _ in points.values()]
    assert len(ratios) == len(points)
    assert ratios == sorted(ratios)
    assert all(a > b for a, b in pairwise(losses))
    for loss, ratio in rows:
        if ratio is not None and math.isfinite(loss):
            assert any(a <= loss and b <= ratio for a, b in points.values() if b is not None)
    assert pareto(reversed(found)) == front


def test_failed_engines_are_not_on_the_front() -> None:
    proposal = Proposal(Assignment())
    assert pareto([Trial(0, proposal, Failed("build", "crash", "gone"))]) == ()


# The space.


@st.composite
def spaces(draw: st.DrawFn) -> SearchSpace:
    count = draw(st.integers(1, 7))
    groups = tuple(
        LayerGroup(
            f"g{i}",
            "node",
            (f"g{i}",),
            draw(st.sampled_from([(FP32,), (FP32, INT8), (FP32, FP16), (FP32, FP16, INT8)])),
            passive=draw(st.booleans()),
        )
        for i in range(count)
    )
    pairs = [(a, b) for a in range(count) for b in range(a + 1, count)]
    edges = draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else []
    return SearchSpace(groups, tuple(edges))


@st.composite
def assigned(draw: st.DrawFn) -> tuple[SearchSpace, Assignment]:
    space = draw(spaces())
    chosen = {g.key: draw(st.sampled_from(g.choices)) for g in space.groups}
    return space, Assignment.of(chosen)


@given(assigned())
def test_canonical_is_idempotent_and_only_takes_idle_int8_away(
    given_: tuple[SearchSpace, Assignment],
) -> None:
    space, assignment = given_
    found = space.canonical(assignment)
    assert space.canonical(found) == found
    for group in space.groups:
        before, after = assignment[group.key], found[group.key]
        assert after is before or (group.passive and before is INT8 and after is FP32)


@given(assigned())
def test_a_passive_group_stays_if_a_chain_leads_to_one_that_computes(
    given_: tuple[SearchSpace, Assignment],
) -> None:
    """Against a direct search of every chain."""
    space, assignment = given_
    found = space.canonical(assignment)

    def reaches(key: str, seen: frozenset[str]) -> bool:
        if not space.by_key[key].passive:
            return True
        ahead = (k for k in space.neighbours[key] if k not in seen and assignment[k] is INT8)
        return any(reaches(k, seen | {key}) for k in ahead)

    for key in assignment.keys_at(INT8):
        assert (found[key] is INT8) == reaches(key, frozenset())


def test_a_chain_of_passive_groups_carries() -> None:
    both = (FP32, INT8)
    groups = [LayerGroup("conv", "conv", ("conv",), both)]
    groups += [LayerGroup(f"p{i}", "add", (f"p{i}",), both, passive=True) for i in range(4)]
    space = SearchSpace(tuple(groups), ((0, 1), (1, 2), (2, 3), (3, 4)))
    everything = Assignment.of({g.key: INT8 for g in groups})
    assert space.canonical(everything) == everything
    broken = everything.with_({"p1": FP32})
    assert space.canonical(broken) == Assignment.of({"conv": INT8, "p0": INT8})
    assert space.canonical(everything.with_({"conv": FP32})) == Assignment()


@given(spaces(), st.sampled_from(list(Precision)))
def test_uniform_is_canonical_and_as_low_as_each_group_goes(
    space: SearchSpace, precision: Precision
) -> None:
    found = space.uniform(precision)
    assert space.canonical(found) == found
    for group in space.groups:
        lowest = max((c for c in group.choices if c.rank <= precision.rank), key=lambda c: c.rank)
        assert found[group.key] in (lowest, FP32)
        if not group.passive:
            assert found[group.key] is lowest
    assert space.uniform(precision, without=[g.key for g in space.groups]) == Assignment()


@given(assigned())
def test_equal_assignments_have_equal_content(given_: tuple[SearchSpace, Assignment]) -> None:
    _, assignment = given_
    again = Assignment.of(dict(reversed(assignment.entries)))
    assert again == assignment
    assert hash(again) == hash(assignment)
    assert again.digest == assignment.digest
    assert all(p is not FP32 for _, p in assignment.entries)


def test_a_group_or_choice_that_the_space_lacks_is_refused() -> None:
    space = SearchSpace((LayerGroup("a", "conv", ("a",), (FP32, INT8)),))
    with pytest.raises(OptionError, match="a group 'b' that the model lacks"):
        space.canonical(Assignment.of({"b": INT8}))
    with pytest.raises(OptionError, match="'a' cannot run in fp16"):
        space.check(Assignment.of({"a": FP16}))
    with pytest.raises(OptionError, match="FP32 must be its first choice"):
        LayerGroup("a", "conv", ("a",), (INT8,))
    with pytest.raises(OptionError, match="same key"):
        SearchSpace(space.groups * 2)
    with pytest.raises(OptionError, match="outside"):
        SearchSpace(space.groups, ((0, 1),))
