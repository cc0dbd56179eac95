"""Plain lines: one per engine and stage, proxies only counted."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from precsearch.cli.cells import ASCII, UNICODE
from precsearch.cli.progress.plain_log import PROXIES_PER_LINE, PlainLog
from precsearch.core.events import Event, SearchStarted, StageStarted, TrialFinished, Warned
from precsearch.core.problem import Bound, Budget
from tests.cli.runs import engine, event_lists, synthetic_run


def log(events: list[Event]) -> list[str]:
    plain = PlainLog()
    return [line for n, event in enumerate(events) for line in plain.lines(event, n / 100)]


def test_a_run() -> None:
    lines = log(list(synthetic_run(builds=24, proxies=40)))
    assert sum("] engine " in line for line in lines) == 24
    assert sum("proxy" in line for line in lines) == 1
    assert lines[0] == "[  0.0s] precsearch 0.1.0: resnet20_cifar10.onnx"
    assert any("search: auto over 53 groups, rel-l2 ≤ 0.01, at most 24 engines" in x for x in lines)
    assert (
        "] engine 44: 34 int8, loss 0.009 (90 % of the bound), 1.67x FP32's speed, pass  "
        "<- best so far  (predicted fastest within the bound)"
    ) in [line[line.index("]") :] for line in lines]
    assert any("engine 47: 47 int8, failed  (build crash: the engine died" in x for x in lines)
    assert any("search ended after 24 engines: the budget of engines was spent" in x for x in lines)
    assert lines[-1].endswith("plan written: resnet20_cifar10.plan.json")


def test_many_proxies_show_progress() -> None:
    lines = log(list(synthetic_run(builds=3, proxies=2 * PROXIES_PER_LINE + 7)))
    counted = [line.split("] ")[1] for line in lines if "proxy" in line]
    assert counted == [
        "100 assignments scored by proxy",
        "100 assignments scored by proxy",
        "7 assignments scored by proxy",
    ]


def test_a_resumed_run_does_not_repeat_its_past() -> None:
    started = SearchStarted("", "auto", 9, 9, Bound(1e-2), Budget(), 0.02, spent=60.0)
    past = [TrialFinished(engine(n, n, 0.001, 0.9), n, 10.0 * n, replayed=True) for n in range(4)]
    fresh = TrialFinished(engine(9, 5, 0.001, 0.7), 4, 61.0)
    lines = log([started, *past, fresh, StageStarted("confirm", "1 finalist")])
    assert lines[1:] == [
        "[ 1m00s] 4 trials taken from the journal",
        "[ 1m00s] engine 9: 5 int8, loss 0.001 (10 % of the bound), 1.43x FP32's speed, pass  "
        "<- best so far",
        "[ 1m00s] confirm: 1 finalist",
    ]


def test_the_fp32_mode_is_named() -> None:
    assert "engine 0: all fp32, " in log([TrialFinished(engine(0, 0, 0.0, 1.0), 1, 1.0)])[0]


def test_a_warning_is_said_once() -> None:
    assert len(log([Warned("careful"), Warned("careful")])) == 1


@settings(max_examples=60, deadline=None)
@given(event_lists, st.floats(0, 1e9), st.sampled_from([UNICODE, ASCII]))
def test_every_line_is_one_printable_line(
    events: list[Event], seconds: float, glyphs: object
) -> None:
    plain = PlainLog(ASCII if glyphs is ASCII else UNICODE)
    for event in events:
        assert all(line.isprintable() for line in plain.lines(event, seconds))


def test_replayed_trials_count_for_the_best_engine() -> None:
    started = SearchStarted("", "auto", 9, 9, Bound(1e-2), Budget(), 0.02)
    best = TrialFinished(engine(0, 5, 0.001, 0.5), 1, 1.0, replayed=True)
    worse = replace(best, trial=engine(1, 4, 0.001, 0.7), replayed=False)
    assert "best so far" not in log([started, best, worse])[-1]
