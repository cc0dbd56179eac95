"""Tables of trials at their narrowest, what is missing in them, and rows of several shapes."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from rich.cells import cell_len

from precsearch.cli.cells import UNICODE, Scale
from precsearch.cli.output.optimize import rate_rows
from precsearch.cli.progress.render import render
from precsearch.cli.progress.trial_table import trial_table
from precsearch.cli.progress.view import View, fold
from precsearch.core.events import SearchStarted, TrialFinished
from precsearch.core.problem import Bound, Budget
from precsearch.core.trial import Accuracy, Measured, Measurement, ShapeLatency, Trial
from tests.cli.runs import engine, latency

STARTED = SearchStarted("a CPU", "auto", 9, 9, Bound(1e-2), Budget(), 0.02)
SCALE = Scale("rel-l2", UNICODE)


def table(trial: Trial, width: int, started: bool = True) -> list[str]:
    view = fold(View(), STARTED) if started else View()
    view = fold(view, TrialFinished(trial, 1, 1.0))
    return [row.plain for row in trial_table(view, width, 10, SCALE)]


@pytest.mark.parametrize("width", [1, 3, 6, 8])
def test_no_line_is_wider_than_a_terminal_of_a_few_cells(width: int) -> None:
    rows = table(engine(123456, 5, 0.005, 0.8), width)
    assert all(width - 1 <= cell_len(row) <= width for row in rows), rows


def test_a_number_that_does_not_fit_its_column_is_cut() -> None:
    heading, row = table(engine(12345678, 5, 0.005, 0.8), 80)
    assert heading.split()[:2] == ["trial", "int8"]
    assert "12345678" not in row
    assert row.index("0.005") == heading.index("loss") - 1


def test_before_a_bound_is_known_losses_are_shown_without_their_share() -> None:
    measured = engine(1, 5, 0.005, 0.8)
    assert "50 %" in table(measured, 80)[1]
    alone = table(measured, 80, started=False)[1]
    assert "%" not in alone
    assert "0.005" in alone


def test_an_engine_that_was_not_timed_has_no_speed() -> None:
    untimed = replace(
        engine(1, 5, 0.005, 0.8), outcome=Measured(Measurement(Accuracy(math.inf, math.inf)))
    )
    row = table(untimed, 80)[1]
    assert "inf" in row
    assert "x" not in row


def test_a_run_that_is_stopping_says_so_instead_of_what_runs() -> None:
    view = replace(fold(View(), STARTED), stopping=True)
    text = render(view, 80, 24, glyphs=UNICODE, waited=1.0).plain
    assert "stopping: writing the best plan so far" in text
    assert "choosing what to try next" not in text


def rate(samples: int, weight: float, **shapes: tuple[int, ...]) -> ShapeLatency:
    return ShapeLatency(shapes, weight, samples, 0.002, 0.5)


def test_each_set_of_shapes_has_a_row() -> None:
    several = replace(latency(0.5), by_shape=(rate(1, 0.25, x=(1, 8), y=(1,)), rate(8, 0.75)))
    first, second = rate_rows(several)
    assert first == ("rate", "x:1x8 y:1: 500 samples/s, 2 ms, 2.00x FP32's speed, weight 0.25")
    assert second[0] == ""
    assert "4k samples/s" in second[1]
    (alone,) = rate_rows(replace(latency(0.5), by_shape=(rate(8, 1.0),)))
    assert alone[0] == "rate"
    assert "weight" not in alone[1]
    assert rate_rows(latency(0.5)) == []
