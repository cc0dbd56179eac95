"""`auto` with several devices: it keeps them busy, and decides by the order of answers alone."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from benchmarks.devices import Devices
from precsearch.core.events import BatchProposed, SearchFinished, TrialFinished
from precsearch.core.problem import Problem
from precsearch.core.space import Assignment
from precsearch.core.trial import Failed, Fidelity, Outcome, Proposal, Trial
from precsearch.search.loop import search
from precsearch_strategies import Auto
from precsearch_strategies.encoding import Encoding
from precsearch_strategies.group_testing.locate import repeated
from precsearch_strategies.group_testing.speculate import speculated
from precsearch_strategies.history import History, Subroutine
from tests.strategies.acquisition.test_first_engines import (
    BRANCHES,
    HALF,
    HINTED,
    LOWEST,
    drawn,
    hinted,
)
from tests.strategies.landscapes import FP32, INT8, Landscape, Recipe

TWO = (FP32, INT8)


@dataclass
class Model:
    """A toy landscape as `Devices` wants it."""

    landscape: Landscape

    def outcome(self, proposal: Proposal) -> Outcome:
        return self.landscape.measure(proposal)


def simulated(landscape: Landscape, count: int, sigma: float = 0.3) -> Devices:
    return Devices(Model(landscape), count, sigma)


def searched(
    problem: Problem, devices: Devices, memo: dict[Proposal, Trial] | None = None
) -> list[Trial]:
    events = list(
        search(problem, Auto(), devices.evaluate, memo=memo or {}, clock=lambda: devices.now)
    )
    assert isinstance(events[-1], SearchFinished)
    return [e.trial for e in events if isinstance(e, TrialFinished)]


@pytest.fixture(scope="module")
def landscape() -> Landscape:
    return Recipe(groups=10, precisions=TWO, tolerance=0.4, border=0.1).draw(3)


def on(landscape: Landscape, devices: int) -> Problem:
    return replace(landscape.problem, devices=devices)


def test_three_devices_end_sooner_and_find_the_same(landscape: Landscape) -> None:
    fixed_neighbours, ratios = [], []
    for count in (1, 3):
        devices = simulated(landscape, count)
        trials = searched(on(landscape, count), devices)
        best = landscape.problem.goal.best(trials)
        assert best is not None
        ratios.append(landscape.seconds(best.assignment) / landscape.full)
        fixed_neighbours.append(devices.now)
    assert fixed_neighbours[1] < 0.75 * fixed_neighbours[0]
    assert ratios[1] <= ratios[0] * (1 + 2 * landscape.problem.goal.noise)


def test_how_many_devices_there_really_are_changes_nothing_but_the_order(
    landscape: Landscape,
) -> None:
    problem = on(landscape, 3)
    runs = (searched(problem, simulated(landscape, n, sigma=0.0)) for n in (1, 3))
    one, many = (sorted(trials, key=lambda t: t.number) for trials in runs)
    assert [t.proposal for t in one] == [t.proposal for t in many]
    assert [t.outcome for t in one] == [t.outcome for t in many]


def test_a_resumed_search_goes_on_as_it_would_have(landscape: Landscape) -> None:
    problem = on(landscape, 3)
    whole = searched(problem, simulated(landscape, 3))
    cut = len(whole) // 2
    again = searched(problem, simulated(landscape, 3), memo={t.proposal: t for t in whole[:cut]})
    proposed = {t.number: t.proposal for t in again}
    assert {t.number: t.proposal for t in whole[:cut]}.items() <= proposed.items()


def test_the_same_seed_and_order_of_answers_give_the_same_search(landscape: Landscape) -> None:
    problem = on(landscape, 3)
    whole = searched(problem, simulated(landscape, 3))
    assert searched(problem, simulated(landscape, 3)) == whole
    # Whatever the devices would do now, the recorded order decides.
    again = searched(
        problem, simulated(landscape, 1, sigma=0.0), memo={t.proposal: t for t in whole}
    )
    assert {t.number: t.proposal for t in again} == {t.number: t.proposal for t in whole}


@pytest.mark.parametrize("devices", [1, 4])
def test_remaining_expected_gains_are_reported_where_a_search_converges(
    landscape: Landscape, devices: int
) -> None:
    simulation = simulated(landscape, devices)
    events = list(search(on(landscape, devices), Auto(), simulation.evaluate))
    end = events[-1]
    assert isinstance(end, SearchFinished)
    assert end.reason == "converged"
    assert end.expected_gain is not None
    assert 0 <= end.expected_gain < 0.001
    few = replace(on(landscape, devices), budget=replace(landscape.problem.budget, max_builds=3))
    *_, cut = search(few, Auto(), simulated(landscape, devices).evaluate)
    assert isinstance(cut, SearchFinished)
    assert cut.expected_gain is None


def test_a_limit_of_engines_holds(landscape: Landscape) -> None:
    problem = on(landscape, 3)
    few = replace(problem, budget=replace(problem.budget, max_builds=5))
    trials = searched(few, simulated(landscape, 3))
    assert sum(t.proposal.fidelity is Fidelity.ENGINE for t in trials) == 5


@pytest.mark.parametrize(("devices", "failures"), [(1, 2), (3, 3)])
def test_engines_built_side_by_side_must_fail_thrice_before_a_cause_is_looked_for(
    devices: int, failures: int
) -> None:
    made = Recipe(groups=16, precisions=TWO).draw(0)
    problem = replace(made.problem, devices=devices)
    keys, failed = [g.key for g in made.space.free], Failed("build", "error", "no")
    known = History(
        problem, [Trial(0, Proposal(Assignment()), made.measure(Proposal(Assignment())))]
    )
    for number in range(1, failures + 1):
        assert not list(repeated(known, Encoding(problem.space), 40))
        lowered = Assignment.of(dict.fromkeys(keys[: 4 + number], INT8))
        known = History(
            problem, [*known.engines.values(), Trial(number, Proposal(lowered), failed)]
        )
    assert next(repeated(known, Encoding(problem.space), 40))


def halved(known: History, keys: list[str]) -> Subroutine[str]:
    """Which one of the keys makes engines fail, by bisection."""
    while len(keys) > 1:
        half = keys[: len(keys) // 2]
        asked = Assignment.of(dict.fromkeys(half, INT8))
        (trial,) = yield from known.build([asked], "which half")
        keys = keys[len(half) :] if trial.measurement else half
    return keys[0]


@pytest.mark.parametrize("devices", [1, 3, 7])
def test_bisection_asks_ahead_for_the_levels_that_devices_have_room_for(devices: int) -> None:
    made = Recipe(groups=16, precisions=TWO).draw(0)
    keys = [g.key for g in made.space.free]
    known = History(replace(made.problem, devices=devices))
    failed = Failed("build", "error", "no")
    asking = speculated(known, failed, lambda seen: halved(seen, keys))
    rounds, batch, culprit = 0, next(asking), ""
    while not culprit:
        rounds += 1
        trials = [
            Trial(0, p, failed if keys[11] in p.assignment.keys_at(INT8) else made.measure(p))
            for p in batch
        ]
        try:
            batch = asking.send(trials)
        except StopIteration as end:
            culprit = str(end.value)
    assert culprit == keys[11]
    assert rounds == {1: 4, 3: 2, 7: 2}[devices], "1, 2 and 3 levels of 4 at a time"


@pytest.mark.parametrize(
    ("devices", "builds", "placed"),
    [(2, 40, []), (4, 40, [HINTED, BRANCHES]), (4, 12, [])],
    ids=["two devices", "four devices", "four devices and few engines"],
)
def test_uniform_engines_and_their_placements_are_built_side_by_side(
    devices: int, builds: int, placed: list[str]
) -> None:
    made = hinted(drawn({}))
    problem = on(made, devices)
    problem = replace(problem, budget=replace(problem.budget, max_builds=builds))
    batches = [
        [p.reason for p in e.proposals]
        for e in search(problem, Auto(), simulated(made, devices).evaluate)
        if isinstance(e, BatchProposed)
    ]
    beside = [f"{reason}, beside FP32" for reason in (HALF, LOWEST, *placed)]
    assert batches[0] == ["FP32 is the baseline", *beside]
    assert any(b[:2] == [HINTED, BRANCHES] for b in batches) is not bool(placed)


def test_engines_beside_fp32_leave_one_of_the_budget_for_a_mixed_engine() -> None:
    made = drawn({})
    problem = on(made, 2)
    problem = replace(problem, budget=replace(problem.budget, max_builds=3))
    batches = [
        [p.reason for p in e.proposals]
        for e in search(problem, Auto(), simulated(made, 2).evaluate)
        if isinstance(e, BatchProposed)
    ]
    assert batches[0] == ["FP32 is the baseline", f"{HALF}, beside FP32"]
