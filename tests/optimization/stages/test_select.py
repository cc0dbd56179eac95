"""Which finalists are confirmed at the end, with or without a holdout, and why groups differ."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import replace

import pytest

from precsearch.core.errors import WorkerError
from precsearch.core.events import Event, FinalistJudged, FinalistsTimed, StageStarted, Warned
from precsearch.core.precision import Precision
from precsearch.core.problem import Bound, Goal, Prior, Problem
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
from precsearch.lowering.lower import Lowered
from precsearch.measurement.config import Candidate
from precsearch.optimization.explanation.explain import explain_groups, ledger
from precsearch.optimization.stages import select
from precsearch.optimization.stages.select import (
    Choice,
    Confirmed,
    confirm,
    confirm_seconds,
    counts,
    finalists,
)
from precsearch.system.serialized import SerializedModel
from tests.cli.runs import latency

FP32, FP16, INT8 = Precision.FP32, Precision.FP16, Precision.INT8


@pytest.fixture(autouse=True)
def as_many_processes_as_users_have(monkeypatch: pytest.MonkeyPatch) -> None:
    """Searches of other tests time their finalists in one new process: tests/e2e/quick.py."""
    monkeypatch.setattr(select, "PROCESSES", 2)


SPACE = SearchSpace(tuple(LayerGroup(k, "conv", (k,), (FP32, FP16, INT8)) for k in ("a", "b", "c")))
PROBLEM = Problem(SPACE, Goal(Bound(1e-2), noise=0.02))


def trial(
    number: int,
    loss: float,
    ratio: float | None,
    seconds: dict[str, float] | None = None,
    proxy: bool = False,
    **asked: Precision,
) -> Trial:
    found = Measurement(
        Accuracy(loss, loss), None if ratio is None else latency(ratio), seconds or {}
    )
    fidelity = Fidelity.PROXY if proxy else Fidelity.ENGINE
    return Trial(number, Proposal(Assignment.of(asked), fidelity), Measured(found))


class FakeService:
    """What workers answer: timings, process by process, and the losses on the holdout."""

    def __init__(
        self,
        holdout: Sequence[float] = (),
        broken: bool = False,
        times: Sequence[Latency] = (),
        alone: bool = False,
    ) -> None:
        self.holdout = list(holdout)
        self.broken = broken
        self.times = list(times)
        self.alone = alone
        self.processes = 0

    def __enter__(self) -> FakeService:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def another(self, *_: object) -> FakeService:
        if self.alone:
            raise WorkerError("no process can be started")
        self.processes += 1
        return self

    def pin(self, digests: Sequence[str]) -> None:
        self.pinned = list(digests)

    def confirm(self, candidates: Sequence[Candidate], rebuilds: int) -> list[tuple[Latency, ...]]:
        if self.broken:
            raise WorkerError("the engine died")
        assert rebuilds == 1
        found = self.times.pop(0) if self.times else None
        return [(found or latency(float(c.digest)),) for c in candidates]

    def score(self, *_: object) -> Accuracy:
        loss = self.holdout.pop(0)
        return Accuracy(loss, loss)


def lowered(assignment: Assignment) -> Lowered:
    """Its digest is the ratio that the search found."""
    ratios = {FAST.assignment: "0.5", SAFE.assignment: "0.7"}
    return Lowered(SerializedModel(()), ratios.get(assignment, "1.0"), {}, {}, {}, {})


def confirmed(
    trials: Sequence[Trial],
    service: FakeService,
    holdout: bool = True,
    seconds: float | None = None,
    problem: Problem = PROBLEM,
) -> tuple[Choice | None, list[Event]]:
    chosen: list[Confirmed] = []

    def steps() -> Generator[Event, None, None]:
        found = yield from confirm(
            problem,
            finalists(problem, trials),
            lowered,
            service,  # type: ignore[arg-type]
            service.another,  # type: ignore[arg-type]
            lambda: object() if holdout else None,  # type: ignore[arg-type,return-value]
            seconds,
        )
        chosen.append(found)

    events = list(steps())
    return chosen[0].choice, events


FP32_ENGINE = trial(0, 0.0, 1.0)
FAST = trial(1, 0.004, 0.5, a=INT8, b=INT8)
SAFE = trial(2, 0.001, 0.7, a=INT8)


def test_without_an_engine_within_the_bound_there_is_nothing_to_confirm() -> None:
    over = trial(1, 0.5, 0.4, a=INT8)
    failed = Trial(2, over.proposal, Failed("build", "crash", "died"))
    assert confirmed([over, failed, trial(3, 0.0, None, a=FP16)], FakeService()) == (None, [])


def test_the_first_finalist_that_passes_on_the_holdout_is_chosen() -> None:
    chosen, events = confirmed([FP32_ENGINE, FAST, SAFE], FakeService([0.02, 0.003]))
    assert chosen is not None
    assert chosen.holdout == Accuracy(0.003, 0.003)
    judged = [e for e in events if isinstance(e, FinalistJudged)]
    assert [(e.loss, e.passed) for e in judged] == [(0.02, False), (0.003, True)]
    assert [look.passed for look in chosen.looks] == [False, True]
    assert chosen.trial is SAFE


def test_finalists_are_timed_in_two_new_processes() -> None:
    service = FakeService()
    chosen, events = confirmed([FP32_ENGINE, FAST, SAFE], service, holdout=False)
    assert chosen is not None
    assert chosen.measurement.latency is not None
    assert service.processes == 2
    assert chosen.measurement.latency.apart == (0.5, 0.5)
    assert StageStarted("confirm", "3 finalists, timed in up to 2 new processes") in events


QUIET = replace(PROBLEM, goal=replace(PROBLEM.goal, noise=0.01))


def test_where_timings_are_sharp_a_process_that_agrees_with_the_search_is_enough() -> None:
    service = FakeService(times=[latency(0.503)])
    chosen, _ = confirmed([FP32_ENGINE, FAST], service, holdout=False, problem=QUIET)
    assert service.processes == 1
    assert chosen is not None
    found = chosen.measurement.latency
    assert found is not None
    assert (found.ratio, found.apart, found.unsure) == (0.503, (0.503,), ())
    assert found.ratio_low <= 0.5, "the interval holds what the search measured"


def test_where_timings_are_sharp_a_process_that_disagrees_is_followed_by_two() -> None:
    service = FakeService(times=[latency(0.55), latency(0.551), latency(0.55)])
    chosen, _ = confirmed([FP32_ENGINE, FAST], service, holdout=False, problem=QUIET)
    assert service.processes == 3
    assert chosen is not None
    assert chosen.measurement.latency is not None
    assert chosen.measurement.latency.ratio == 0.55


def test_without_a_new_process_the_old_one_times_the_finalists_again() -> None:
    chosen, events = confirmed([FP32_ENGINE, FAST], FakeService(alone=True), holdout=False)
    assert chosen is not None
    assert chosen.measurement.latency is not None
    assert chosen.measurement.latency.apart == (0.5, 0.5)
    assert not [e for e in events if isinstance(e, Warned)]


def test_processes_that_disagree_are_followed_by_one_more_and_the_middle_stands() -> None:
    service = FakeService(times=[latency(0.5), latency(0.8), latency(0.52)])
    chosen, _ = confirmed([FP32_ENGINE, FAST], service, holdout=False)
    assert service.processes == 3
    assert chosen is not None
    found = chosen.measurement.latency
    assert found is not None
    assert found.apart == (0.5, 0.5, 0.8, 0.52), "the search's own timing first"
    assert found.ratio == 0.52
    assert (found.ratio_low, found.ratio_high) == (0.5, 0.8)
    assert found.unsure == ()


def test_new_processes_correct_a_search_that_was_misled() -> None:
    service = FakeService(times=[latency(0.8), latency(0.81), latency(0.8)])
    chosen, _ = confirmed([FP32_ENGINE, FAST], service, holdout=False)
    assert service.processes == 3
    assert chosen is not None
    assert chosen.measurement.latency is not None
    assert chosen.measurement.latency.ratio == 0.8
    assert chosen.measurement.latency.ratio_low == 0.5, "what was seen is told"


def test_timings_of_which_no_two_agree_are_marked_as_unsure() -> None:
    service = FakeService(times=[latency(0.6), latency(0.7), latency(0.8)])
    chosen, _ = confirmed([FP32_ENGINE, FAST], service, holdout=False)
    assert chosen is not None
    assert chosen.measurement.latency is not None
    (said,) = chosen.measurement.latency.unsure
    assert said == "timings of the same engine differ: 2.00x, 1.67x, 1.43x, 1.25x"


def test_uniform_engines_are_finalists_with_and_without_groups_that_have_a_hazard() -> None:
    problem = replace(PROBLEM, priors=(Prior("c", INT8, True, "its range is too wide"),))
    everywhere = trial(1, 0.009, 0.80, a=INT8, b=INT8, c=INT8)
    careful = trial(2, 0.009, 0.81, a=INT8, b=INT8, c=FP16)
    mixed = [
        trial(3, 0.001, 0.5, a=INT8),
        trial(4, 0.001, 0.6, b=INT8),
        trial(5, 0.001, 0.7, c=FP16),
        trial(6, 0.001, 0.75, a=FP16),
    ]
    found = finalists(problem, [FP32_ENGINE, everywhere, careful, *mixed])
    assert {t.number for t in found} == {0, 1, 2, 3, 4, 5}
    assert careful not in finalists(PROBLEM, [FP32_ENGINE, everywhere, careful, *mixed])


@pytest.mark.parametrize(
    ("ratios", "ships"), [((0.975, 0.977), True), ((0.95, 1.0), False), ((0.985, 0.987), False)]
)
def test_a_gain_within_the_noise_of_one_timing_counts_if_every_process_shows_it(
    ratios: tuple[float, float], ships: bool
) -> None:
    half = trial(1, 0.004, 0.97, a=FP16, b=FP16, c=FP16)
    noisy = replace(PROBLEM, goal=replace(PROBLEM.goal, noise=0.03))
    service = FakeService(times=[latency(r) for r in ratios])
    chosen, events = confirmed([FP32_ENGINE, half], service, holdout=False, problem=noisy)
    assert chosen is not None
    assert (chosen.trial is half) is ships
    (timed,) = [e for e in events if isinstance(e, FinalistsTimed)]
    assert [(row.number, row.ratio) for row in timed.times] == [(1, max(ratios))]


def test_an_engine_that_turns_out_slower_than_fp32_does_not_ship() -> None:
    service = FakeService(times=[latency(1.3)] * 3)
    chosen, _ = confirmed([FP32_ENGINE, FAST], service, holdout=False)
    assert chosen is not None
    assert chosen.trial is FP32_ENGINE


def test_a_short_time_left_means_one_process_then_fewer_finalists_then_none() -> None:
    trials = [FP32_ENGINE, FAST, SAFE]
    whole, one = confirm_seconds(PROBLEM, trials), confirm_seconds(PROBLEM, trials, 1)
    for seconds, processes, timed in (
        (whole, 2, 2),
        (whole - 0.01, 1, 2),
        (one - 0.01, 1, 1),
        (0.0, 0, 0),
    ):
        service = FakeService()
        chosen, _ = confirmed(trials, service, holdout=False, seconds=seconds)
        assert chosen is not None
        assert chosen.trial is FAST
        assert service.processes == processes
        assert chosen.measurement.latency is not None
        doubted = "it was timed during the search alone" in chosen.measurement.latency.unsure
        assert doubted == (timed == 0)


def test_without_time_for_another_process_a_disagreement_is_reported() -> None:
    trials = [FP32_ENGINE, FAST]
    service = FakeService(times=[latency(0.9), latency(0.9)])
    chosen, _ = confirmed(trials, service, holdout=False, seconds=confirm_seconds(PROBLEM, trials))
    assert service.processes == 2
    assert chosen is not None
    assert chosen.measurement.latency is not None
    assert "there was no time for another" in chosen.measurement.latency.unsure[-1]


def test_without_a_finalist_that_passes_on_the_holdout_none_is_chosen() -> None:
    chosen, events = confirmed([FP32_ENGINE, FAST, SAFE], FakeService([0.02, 0.03, math.inf, 0.5]))
    assert chosen is None
    assert [e.passed for e in events if isinstance(e, FinalistJudged)] == [False] * 3


def test_without_a_holdout_the_fastest_stands_with_its_loss_on_the_search_samples() -> None:
    chosen, events = confirmed([FP32_ENGINE, FAST, SAFE], FakeService(), holdout=False)
    assert chosen is not None
    assert chosen.holdout is None
    (judged,) = [e for e in events if isinstance(e, FinalistJudged)]
    assert (judged.loss, judged.passed) == (chosen.measurement.accuracy.loss, True)
    assert chosen.looks[0].holdout_loss is None


def test_if_timing_again_fails_first_timings_stand() -> None:
    chosen, events = confirmed([FP32_ENGINE, FAST, SAFE], FakeService(broken=True), holdout=False)
    assert chosen is not None
    assert chosen.trial is FAST
    assert chosen.measurement.latency is not None
    assert FAST.measurement is not None
    assert FAST.measurement.latency is not None
    assert chosen.measurement.latency.ratio == FAST.measurement.latency.ratio
    assert chosen.measurement.latency.unsure == ("it was timed during the search alone",)
    (warned,) = [e for e in events if isinstance(e, Warned)]
    assert warned.message.endswith("(the engine died); first timings stand")


def test_groups_that_ran_in_fp32_all_the_same_are_not_counted_as_lowered() -> None:
    measurement = Measurement(Accuracy(0, 0), achieved={"a": FP32, "b": INT8})
    choice = Choice(FAST, measurement, None, ())
    asked = Assignment.of({"a": INT8, "b": INT8, "c": INT8})
    assert sum(counts(choice, asked).values()) == 2
    assert counts(choice, asked)["int8"] == 1
    told = replace(choice, measurement=replace(measurement, achieved={"a": FP32}))
    assert counts(told, Assignment.of({"a": INT8})) == {}


@pytest.mark.parametrize("engine_first", [True, False])
def test_the_loss_of_an_engine_overrides_the_loss_of_a_proxy(engine_first: bool) -> None:
    rows = [trial(1, 0.3, 0.9, a=INT8), trial(2, 0.1, None, proxy=True, a=INT8)]
    book = ledger(rows if engine_first else rows[::-1])
    assert book.cost == {("a", INT8): 0.3}
    assert ledger(rows[1:]).cost == {("a", INT8): 0.1}


def test_the_achieved_precision_is_reported_where_it_differs_from_the_requested_one() -> None:
    chosen = Assignment.of({"a": INT8, "b": INT8, "c": INT8})
    found = explain_groups(PROBLEM, chosen, {"a": INT8, "b": FP32}, ledger([]))
    said = {g.key: g.reason for g in found}
    assert said["a"] == "measured in the fastest engine within the bound"
    assert said["b"].endswith("; asked int8, ran fp32")
    assert said["c"].endswith("; asked int8; what it ran in, the engine does not tell")
    assert {g.key: g.achieved for g in found} == {"a": INT8, "b": FP32, "c": None}


def test_choices_that_prevent_a_build_are_reported_at_their_group() -> None:
    refused = Failed("build", "error", "mergeScales")
    alone = Trial(3, Proposal(Assignment.of({"b": INT8})), refused)
    found = explain_groups(
        PROBLEM, SAFE.assignment, {"a": INT8}, ledger([FP32_ENGINE, SAFE, alone])
    )
    said = {g.key: g.reason for g in found}
    assert said["b"].startswith("INT8 excluded: does not build (1 engine: mergeScales)")
    assert "excluded" not in said["a"]
    assert "excluded" not in said["c"], "nothing is known of it"


def test_time_in_profiles_is_reported_as_saved_or_lost() -> None:
    plain = trial(0, 0.0, 1.0, {"a": 30e-6, "b": 10e-6})
    low = trial(1, 0.004, 0.6, {"a": 20e-6, "b": 12e-6}, a=INT8, b=INT8)
    found = explain_groups(PROBLEM, low.assignment, {}, ledger([plain, low]))
    said = {g.key: g.reason for g in found}
    assert "saves 10.0 us in profiles" in said["a"]
    assert "loses 2.0 us in profiles" in said["b"]
