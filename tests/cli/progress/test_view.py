"""The fold: pure, total, and right about what it counts."""

import math
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from precsearch.cli.progress.view import Verdict, View, asked, fold, ran
from precsearch.core.events import (
    Event,
    SearchFinished,
    SearchStarted,
    TrialFinished,
    TrialStarted,
    Warned,
)
from precsearch.core.problem import Bound, Budget
from precsearch.core.trial import Accuracy, Failed, Measured, Measurement, Trial
from tests.cli.runs import GROUPS, engine, event_lists, synthetic_run

STARTED = SearchStarted("a CPU", "auto", GROUPS, 122, Bound(1e-2), Budget(10, 100.0), 0.02)


def after(events: list[Event]) -> View:
    view = View()
    for event in events:
        view = fold(view, event)
    return view


@settings(max_examples=60, deadline=None)
@given(event_lists)
def test_fold_is_total_and_pure(events: list[Event]) -> None:
    view = View()
    for event in events:
        before = view
        view = fold(before, event)
        assert view == fold(before, event)
        assert view.fraction is None or 0 <= view.fraction <= 1
        assert view.seconds_left is None or view.seconds_left >= 0
        assert len({t.number for t in view.engines}) == len(view.engines)
        best = view.best
        assert best is None or view.verdict(best) is Verdict.PASS


def test_a_whole_run() -> None:
    view = after(list(synthetic_run(builds=24, proxies=40)))
    assert len(view.engines) == 24
    assert view.proxies == 40
    assert not view.running
    assert view.best is not None
    assert view.best.number == 44
    assert view.written is not None
    assert view.finished is not None
    assert view.seconds_left is None
    assert [s.stage for s in view.stages] == [
        "read",
        "reference",
        "calibrate",
        "baseline",
        "confirm",
    ]


def test_verdicts() -> None:
    view = after([STARTED])
    measured = engine(1, 5, 0.005, 0.8)
    assert view.verdict(measured) is Verdict.PASS
    assert view.verdict(engine(1, 5, 0.0099, 0.8)) is Verdict.EDGE
    assert view.verdict(engine(1, 5, 0.02, 0.8)) is Verdict.OVER
    assert view.verdict(engine(1, 5, math.inf, 0.8)) is Verdict.BROKEN
    failed = Trial(1, measured.proposal, Failed("build", "crash", "died"))
    assert view.verdict(failed) is Verdict.FAILED
    assert View().verdict(measured) is Verdict.OPEN


def test_requested_and_achieved_precisions_are_distinguished() -> None:
    trial = engine(1, 5, 0.005, 0.8)
    assert asked(trial.assignment) == {"int8": 5}
    assert ran(trial) == {"fp32": 2, "int8": 3}
    assert ran(replace(trial, outcome=Failed("run", "error", ""))) == {}


def test_an_untimed_engine_is_never_the_best() -> None:
    trial = replace(engine(1, 5, 0.001, 0.8), outcome=Measured(Measurement(Accuracy(0.0, 0.0))))
    assert after([STARTED, TrialFinished(trial, 1, 1.0)]).best is None


def test_the_remaining_time_follows_the_tighter_limit() -> None:
    plain = TrialFinished(engine(0, 0, 0.0, 1.0), 1, 2.0)
    lowered = TrialFinished(engine(1, 5, 0.001, 0.8), 6, 10.0)
    events: list[Event] = [STARTED, plain, lowered]
    # 10 seconds went to trials of 4 seconds each, so that there is one worker and no more.
    assert after(events).seconds_left == 4 * 9 * 1.5 + 4 * 3 - 10, "nine, proxies, confirmation"
    at_once: list[Event] = [STARTED, TrialFinished(engine(0, 0, 0.0, 1.0), 1, 0.1)]
    assert after(at_once).seconds_left == 99.9, "FP32's engine, measured before, tells nothing"
    assert after(events).fraction == 0.6
    slow: list[Event] = [STARTED, TrialFinished(engine(0, 0, 0.0, 1.0), 1, 90.0)]
    assert after(slow).seconds_left == 10.0
    done = fold(after(events), SearchFinished("builds", 5, 10.0))
    assert done.seconds_left is None


def test_without_a_budget_no_remaining_time_is_shown() -> None:
    view = after([replace(STARTED, budget=Budget()), TrialFinished(engine(0, 0, 0, 1), 1, 9.0)])
    assert view.fraction is None
    assert view.seconds_left is None


def test_a_trial_runs_until_it_is_finished() -> None:
    trial = engine(3, 5, 0.005, 0.8)
    view = after([STARTED, TrialStarted(3, trial.proposal)])
    assert [r.number for r in view.running] == [3]
    assert not fold(view, TrialFinished(trial, 1, 1.0)).running


@given(st.lists(st.sampled_from(["a", "b"]), max_size=5))
def test_a_warning_is_kept_once(messages: list[str]) -> None:
    assert set(after([Warned(m) for m in messages]).warnings) == set(messages)
    assert len(after([Warned(m) for m in messages]).warnings) == len(set(messages))
