"""Predictions of a search's models, compared with measurements."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from precsearch.core.problem import Bound, Goal
from precsearch.core.space import Assignment
from precsearch.core.strategy import PredictionErrors, prediction_errors
from precsearch.core.trial import (
    Accuracy,
    Failed,
    Fidelity,
    Latency,
    Measured,
    Measurement,
    Outcome,
    Prediction,
    Proposal,
    Trial,
)
from precsearch.formatting import prediction_summary

GOAL = Goal(Bound(0.01, guard=1.0), noise=0.01)


def ran(ratio: float, loss: float) -> Measured:
    latency = Latency(ratio, ratio, ratio, ratio, ratio, ratio)
    return Measured(Measurement(Accuracy(loss, loss), latency))


def trial(said: Prediction | None, outcome: Outcome) -> Trial:
    return Trial(0, Proposal(Assignment(), Fidelity.ENGINE, "", said), outcome)


def test_errors_are_relative_medians_of_the_engines_that_ran() -> None:
    found = prediction_errors(
        GOAL,
        [
            trial(None, ran(1.0, 0.0)),  # FP32: nobody predicted it
            trial(Prediction(0.5, 0.8), ran(0.55, 0.0088)),  # 10 % and 10 % off, within
            trial(Prediction(0.5, 0.9), ran(0.5, 0.012)),  # over the bound, unforeseen
            trial(Prediction(0.4, 0.5), ran(0.48, math.inf)),  # no number for the error
            trial(Prediction(0.4, 0.5), Failed("build", "error", "no kernel")),
        ],
    )
    assert found is not None
    assert found.engines == 3
    assert found.ratio == pytest.approx(0.1)
    assert found.usage == pytest.approx((0.1 + 1 / 3) / 2)
    assert found.verdicts == 1


def test_a_strategy_without_models_has_no_prediction_errors() -> None:
    assert prediction_errors(GOAL, [trial(None, ran(1.0, 0.0))]) is None
    assert prediction_errors(GOAL, []) is None


@given(st.lists(st.tuples(st.floats(0.05, 2.0), st.floats(1e-5, 1.0)), min_size=1, max_size=9))
def test_an_exact_prediction_has_no_error(rows: list[tuple[float, float]]) -> None:
    trials = [trial(Prediction(ratio, loss / 0.01), ran(ratio, loss)) for ratio, loss in rows]
    found = prediction_errors(GOAL, trials)
    assert found is not None
    assert found.ratio == 0
    assert found.usage == pytest.approx(0)
    assert found.verdicts == found.engines == len(rows)


def test_the_errors_are_described_in_words() -> None:
    assert prediction_summary(PredictionErrors(14, 0.0123, 0.09, 12)) == (
        "latency off by 1.2 %, loss by 9 % (medians of 14 engines); "
        "12 of 14 pass or miss as predicted"
    )
    assert "loss by" not in prediction_summary(PredictionErrors(1, 0.01, math.inf, 0))
