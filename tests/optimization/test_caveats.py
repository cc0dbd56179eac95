"""Every caveat at the end of a search: where it is true, and where it must not appear."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from precsearch.core.mismatch import NAN, SIZE, LostPart, Mismatch
from precsearch.core.precision import Precision
from precsearch.core.problem import Bound, Goal, Problem
from precsearch.core.space import Assignment, LayerGroup, SearchSpace
from precsearch.core.trial import (
    Accuracy,
    Aggregation,
    Failed,
    Fidelity,
    Measured,
    Measurement,
    Proposal,
    Trial,
)
from precsearch.optimization.explanation.caveats import hidden_by_loss
from precsearch.optimization.stages.select import Choice
from tests.cli.runs import latency

FP32, INT8 = Precision.FP32, Precision.INT8
SPACE = SearchSpace(tuple(LayerGroup(k, "conv", (k,), (FP32, INT8)) for k in ("a", "b", "c")))
PROBLEM = Problem(SPACE, Goal(Bound(1e-2), noise=0.02))
LOST = LostPart("masks", 1, (2,), 1.4, 0.004)
BOXES = Mismatch("boxes", SIZE, 3, 8, (20, 4), (21, 4))


def engine(number: int, keys: str, ratio: float, accuracy: Accuracy) -> Trial:
    found = Measurement(accuracy, latency(ratio))
    return Trial(number, Proposal(Assignment.of(dict.fromkeys(keys, INT8))), Measured(found))


def chosen(trial: Trial, accuracy: Accuracy | None = None) -> Choice:
    assert trial.measurement is not None
    found = trial.measurement
    return Choice(trial, replace(found, accuracy=accuracy or found.accuracy), None, ())


PLAIN = engine(0, "", 1.0, Accuracy(0.0, 0.0))
FINE = engine(1, "ab", 0.6, Accuracy(4e-3, 4e-3))


def said(*more: Trial, ships: Choice | None = None) -> str:
    return " | ".join(hidden_by_loss(PROBLEM, (PLAIN, FINE, *more), ships or chosen(FINE)))


def test_without_hidden_layers_there_is_no_caveat() -> None:
    assert said() == ""
    assert said(engine(2, "a", 0.9, Accuracy(0.5, 0.5))) == ""


def scattered(spread: float, count: int = 16) -> Accuracy:
    errors = tuple(np.exp(spread * np.random.default_rng(1).standard_normal(count)).tolist())
    return Accuracy(4e-3, 4e-3, {}, errors, (1.0,) * count, Aggregation.RMS)


def test_a_small_number_of_samples_is_reported_where_losses_scatter() -> None:
    words = said(ships=chosen(FINE, scattered(1.0)))
    assert "16 samples tell the loss to" in words
    assert "such samples would tell it to 10 %" in words
    assert said(ships=chosen(FINE, scattered(0.05))) == ""
    assert said(ships=chosen(PLAIN, scattered(1.0))) == "", "FP32 is the reference itself"


def test_the_shapes_of_the_largest_loss_are_named_where_there_are_several() -> None:
    several = chosen(FINE, Accuracy(4e-3, 4e-3, shapes="x:2x3"))
    assert said(ships=several) == "the loss is that at x:2x3, the largest of all --shapes"


def test_losses_of_the_chosen_engine_in_parts_are_reported() -> None:
    words = said(ships=chosen(FINE, Accuracy(4e-3, 4e-3, lost=(LOST,))))
    assert "the chosen engine keeps its loss within the bound, but" in words
    assert "masks" in words


def test_losses_of_another_engine_within_the_bound_are_reported_once() -> None:
    loses = [engine(n, k, 0.9, Accuracy(2e-3, 2e-3, lost=(LOST,))) for n, k in ((2, "a"), (3, "b"))]
    words = said(*loses)
    assert words.startswith("engine 2 is within the bound, but")
    assert "engine 3" not in words
    over = engine(2, "a", 0.9, Accuracy(0.5, 0.5, lost=(LOST,)))
    assert said(over) == ""
    both = said(*loses, ships=chosen(FINE, Accuracy(4e-3, 4e-3, lost=(LOST,))))
    assert "is within the bound, but" not in both, "it is said of the engine that ships"


def test_a_faster_engine_that_cannot_be_compared_is_named() -> None:
    odd = Accuracy(math.inf, math.inf, mismatches=(BOXES,))
    words = said(engine(2, "abc", 0.4, odd))
    assert words.startswith(
        "engine 2, 2.50x FP32's speed, was left out: output 'boxes' has another"
    )
    assert "a metric of your own can judge such outputs" in words
    nan = Accuracy(math.inf, math.inf, mismatches=(replace(BOXES, kind=NAN),))
    wrong = said(engine(2, "abc", 0.4, nan))
    assert "was left out: output 'boxes' holds NaN" in wrong
    assert "a metric of your own" not in wrong
    assert said(engine(2, "abc", 0.7, odd)) == "", "it is slower than what ships"


def test_proxies_and_failures_are_no_engines() -> None:
    odd = Accuracy(math.inf, math.inf, mismatches=(BOXES,), lost=(LOST,))
    proxy = engine(2, "abc", 0.4, odd)
    asked = replace(proxy.proposal, fidelity=Fidelity.PROXY)
    failed = replace(proxy, outcome=Failed("build", "error", "no kernel"))
    assert said(replace(proxy, proposal=asked), failed) == ""
