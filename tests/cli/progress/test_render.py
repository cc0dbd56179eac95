"""The live view fits any terminal and says what it should."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from precsearch.cli.cells import ASCII, UNICODE, Glyphs, Scale
from precsearch.cli.output.streams import glyphs_of
from precsearch.cli.progress.phases import PHASES, current_phase
from precsearch.cli.progress.render import render
from precsearch.cli.progress.scatter import MIN_HEIGHT, MIN_WIDTH, Point, sketch
from precsearch.cli.progress.view import View, fold
from precsearch.core.events import Event, SearchStarted, TrialFinished
from precsearch.core.problem import Bound, Budget
from tests.cli.runs import engine, event_lists, synthetic_run

GLYPHS = st.sampled_from([UNICODE, ASCII])


def after(events: list[Event]) -> View:
    view = View()
    for event in events:
        view = fold(view, event)
    return view


def drawn(view: View, width: int, height: int, glyphs: Glyphs = UNICODE) -> list[str]:
    return render(view, width, height, glyphs=glyphs, waited=1.25).plain.split("\n")


@settings(max_examples=120, deadline=None)
@given(event_lists, st.integers(20, 200), st.integers(4, 60), GLYPHS, st.floats())
def test_the_view_fits_the_terminal_whatever_happens(
    events: list[Event], width: int, height: int, glyphs: Glyphs, waited: float
) -> None:
    view = View()
    for event in events:
        view = fold(view, event)
        lines = render(view, width, height, glyphs=glyphs, waited=waited).plain.split("\n")
        assert len(lines) <= height
        assert max(map(cell_len, lines)) <= width
        assert "\x1b" not in "".join(lines)


@pytest.mark.parametrize("width", range(20, 201, 9))
@pytest.mark.parametrize("height", [8, 15, 23, 39, 60])
def test_a_whole_run_fits(width: int, height: int) -> None:
    view = View()
    for number, event in enumerate(synthetic_run()):
        view = fold(view, event)
        if number % 13 and number < 140:
            continue
        lines = drawn(view, width, height)
        assert len(lines) <= height
        assert max(map(cell_len, lines)) <= width


@pytest.mark.parametrize(("width", "height"), [(80, 23), (80, 49), (140, 23), (140, 39)])
def test_the_important_lines_are_on_screen(width: int, height: int) -> None:
    text = "\n".join(drawn(after(list(synthetic_run())[:120]), width, height))
    for part in (
        "resnet20_cifar10.onnx",
        "Intel Xeon",
        "rel-l2 ≤ 0.01",
        "10 of 24 engines",
        "40 proxies",
        "left",
        "1.67x FP32's speed (1.63 to 1.70)",
        "90 % of the bound",
        "34 int8 · 19 fp32",
        "2 ran higher than asked",
        "over bound",
        "not finite",
        "build crash",
        "bound│",
        "latency relative to FP32",
        "engine 50",
        "no --holdout",
    ):
        assert part in text
    assert "★" in text


def test_the_sketch_gives_way_to_the_trials() -> None:
    view = after(list(synthetic_run())[:120])
    assert "bound│" not in "\n".join(drawn(view, 80, 18))
    assert "over bound" in "\n".join(drawn(view, 80, 18))
    assert "bound│" not in "\n".join(drawn(view, 30, 40))


def test_ascii_output_is_ascii() -> None:
    view = after(list(synthetic_run())[:120])
    for width in (40, 80, 140):
        assert "\n".join(drawn(view, width, 39, ASCII)).isascii()


def test_stages_are_ticked_off_before_the_search() -> None:
    lines = drawn(after(list(synthetic_run())[:5]), 80, 23)
    assert "✓ read  resnet20_cifar10.onnx, 122 nodes" in lines
    assert any("calibrate" in line and "✓" not in line for line in lines)


def test_the_spinner_spins() -> None:
    view = after(list(synthetic_run())[:5])
    first, second = (render(view, 80, waited=w).plain for w in (0.0, 0.1))
    assert first != second


def test_fp16_has_a_column_only_where_it_is_used() -> None:
    started = SearchStarted("", "auto", 9, 9, Bound(1e-2), Budget(), 0.02)
    view = after([started, TrialFinished(engine(0, 3, 1e-3, 0.9), 1, 1.0)])
    assert "fp16" not in "\n".join(drawn(view, 80, 23))


def test_markup_in_names_is_text() -> None:
    started = SearchStarted("[red]x[/red]", "auto", 9, 9, Bound(1e-2, "[b]"), Budget(), 0.02)
    text = "\n".join(drawn(after([started]), 80, 23))
    assert "[red]x[/red]" in text
    assert "[b] ≤ 0.01" in text


def test_decibels_are_shown_as_the_user_gave_them() -> None:
    started = SearchStarted("", "auto", 9, 9, Bound(1e-2, "sqnr"), Budget(), 0.02)
    view = after([started, TrialFinished(engine(0, 3, 1e-3, 0.9), 1, 1.0)])
    text = "\n".join(drawn(view, 80, 23))
    assert "sqnr ≥ 40 dB" in text
    assert "loss 60 dB" in text


_POINTS = st.builds(
    Point,
    st.floats(1e-9, 1e9),
    st.floats(min_value=0) | st.just(math.nan),
    st.booleans(),
    st.booleans(),
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(_POINTS, max_size=8),
    st.sampled_from([0.0, 1e-300, 1e-2, 1e300]),
    st.integers(MIN_WIDTH, 120),
    st.integers(MIN_HEIGHT, 30),
)
def test_a_sketch_has_the_requested_size(
    points: list[Point], bound: float, width: int, height: int
) -> None:
    lines = sketch(points, bound, width, height, Scale("rel-l2"))
    assert len(lines) == height
    assert max(line.cell_len for line in lines) <= width


@settings(max_examples=100, deadline=None)
@given(st.floats(1e-6, 1.0), st.integers(MIN_HEIGHT, 20))
def test_a_point_is_on_its_side_of_the_bound(loss: float, height: int) -> None:
    bound = 1e-2
    lines = sketch([Point(0.5, loss, loss <= bound)], bound, 60, height, Scale("rel-l2"))
    line = next(i for i, t in enumerate(lines) if "bound" in t.plain)
    mark = UNICODE.within if loss <= bound else UNICODE.over
    row = next(i for i, t in enumerate(lines) if mark in t.plain)
    assert (row > line) == (loss <= bound)


def test_glyphs_follow_the_encoding() -> None:
    class Fixed(Console):
        encoding = "ascii"

    assert glyphs_of(Fixed()) is ASCII


def test_the_phases_pass_in_their_order() -> None:
    view = View()
    seen: list[int] = []
    for event in synthetic_run():
        view = fold(view, event)
        at = current_phase(view)
        if not seen or seen[-1] != at:
            seen.append(at)
    assert seen == sorted(seen)
    assert seen[-1] == len(PHASES), "the plan is written"
    assert all(f"{UNICODE.done} {name}" in drawn(view, 100, 40)[1] for name in PHASES)


def test_the_phase_at_work_is_not_marked_as_done() -> None:
    view = after(list(synthetic_run())[:20])
    line = drawn(view, 100, 40)[1]
    assert f"{UNICODE.done} prepare" in line
    assert "search" in line
    assert f"{UNICODE.done} search" not in line
