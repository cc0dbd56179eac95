"""Every sentence at the end of a search: where it is true, and where it must not appear."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace

import pytest

from precsearch.core.precision import Precision
from precsearch.core.problem import Bound, Goal, Problem
from precsearch.core.space import Assignment, LayerGroup, SearchSpace
from precsearch.core.strategy import ENDINGS
from precsearch.core.trial import (
    Accuracy,
    Failed,
    Fidelity,
    Measured,
    Measurement,
    Prediction,
    Proposal,
    Trial,
)
from precsearch.metrics import metric
from precsearch.optimization.explanation.conclusion import Searched, conclusions
from precsearch.optimization.explanation.stopping import limit_of, why_stopped
from precsearch.plan.plan import Finalist
from tests.cli.runs import latency

FP32, FP16, INT8 = Precision.FP32, Precision.FP16, Precision.INT8
SPACE = SearchSpace(tuple(LayerGroup(k, "conv", (k,), (FP32, INT8)) for k in ("a", "b", "c")))
PROBLEM = Problem(SPACE, Goal(Bound(1e-2), noise=0.02))
REL_L2 = metric("rel-l2")


def trial(
    number: int,
    keys: str,
    loss: float,
    ratio: float | None,
    outputs: dict[str, float] | None = None,
    predicted: Prediction | None = None,
) -> Trial:
    """An engine with these groups in INT8; a proxy, where it was not timed."""
    timed = None if ratio is None else latency(ratio)
    found = Measurement(Accuracy(loss, loss, outputs or {}), timed)
    fidelity = Fidelity.PROXY if ratio is None else Fidelity.ENGINE
    asked = Assignment.of(dict.fromkeys(keys, INT8))
    return Trial(number, Proposal(asked, fidelity, predicted=predicted), Measured(found))


def failed(number: int, keys: str) -> Trial:
    asked = Assignment.of(dict.fromkeys(keys, INT8))
    return Trial(number, Proposal(asked), Failed("build", "error", "no kernel"))


def look(number: int, ratio: float, loss: float, held_out: float, output: str = "") -> Finalist:
    return Finalist(number, ratio, loss, held_out, held_out <= 1e-2, output)


PLAIN = trial(0, "", 0.0, 1.0)
OVER = trial(1, "abc", 0.5, 0.5, predicted=Prediction(0.55, 40.0))
SLOWER = trial(2, "ab", 1e-3, 1.2)
FINE = trial(3, "a", 4e-3, 0.6)
SEARCHED = Searched(PROBLEM, REL_L2, (PLAIN, OVER), "converged")
MISSED = replace(
    SEARCHED,
    trials=(PLAIN, FINE),
    looks=(look(3, 0.6, 4e-3, 0.144, "tokens"), look(0, 1.0, 0.0, 0.0)),
)


def said(searched: Searched, chosen: Trial = PLAIN, ratio: float = 1.0) -> str:
    return " ".join(conclusions(searched, chosen, ratio))


def test_fp32_is_the_answer_where_nothing_could_be_faster() -> None:
    words = said(replace(SEARCHED, trials=(PLAIN, OVER, SLOWER)))
    assert "FP32 is the answer: no engine within the bound was faster" in words
    assert "(2 engines of lower precision; no other candidate is expected" in words


def test_models_that_no_engine_has_tested_conclude_nothing() -> None:
    untested = trial(1, "abc", 0.5, 0.5)
    words = said(replace(SEARCHED, trials=(PLAIN, untested), expected_gain=0.0002))
    assert words == (
        "No faster engine within the bound was found in 1 engine; no other candidate is expected "
        "to gain 0.1 % or more, by models that no engine has tested. A bound of 0.51 would buy "
        "2.00x the speed, as measured on the search samples."
    )
    assert "no engine has tested" not in said(replace(SEARCHED, expected_gain=0.0002))
    tried = said(replace(SEARCHED, trials=(PLAIN, untested), stopped="complete"))
    assert "FP32 is the answer: no engine within the bound was faster" in tried


def test_remaining_predicted_gains_are_reported_with_the_prediction_errors() -> None:
    one = said(replace(SEARCHED, expected_gain=0.00034))
    assert "no other candidate is expected to gain 0.1 % or more, by models that were off" in one
    assert "off by 9.1 % in latency (of the one engine)" in one
    predicted = tuple(
        trial(n, keys, 0.5, 0.6, predicted=Prediction(0.6 / (1 + off), 40.0))
        for n, (keys, off) in enumerate((("ac", 0.01), ("ab", 0.02), ("bc", 0.3)), 1)
    )
    many = said(replace(SEARCHED, trials=(PLAIN, *predicted), expected_gain=0.0104))
    assert "expected to gain 1.1 % or more, by models that were off by 2 % in latency" in many
    assert "(of 3 engines, by their median)" in many
    for stopped in ("patience", "builds", "complete"):
        assert "by models that" not in said(replace(SEARCHED, stopped=stopped, expected_gain=0.01))


@pytest.mark.parametrize("stopped", sorted({*ENDINGS, "builds", "time", "interrupted", "done"}))
def test_fp32_is_not_the_answer_of_a_search_that_gave_up_or_was_cut_short(stopped: str) -> None:
    words = said(replace(SEARCHED, stopped=stopped))
    conclusive = stopped in ("converged", "complete")
    assert ("FP32 is the answer" in words) == conclusive
    assert ("No faster engine within the bound was found in 1 engine" in words) != conclusive
    limit = limit_of(stopped)
    assert (f"cut short by {limit}. FP32 is the best so far" in words) == bool(limit)
    if not conclusive and not limit:
        assert f"in 1 engine; {why_stopped(stopped)}." in words


def test_the_limits_are_named_as_the_user_set_them() -> None:
    assert "cut short by --max-builds" in said(replace(SEARCHED, stopped="builds"))
    assert "cut short by --time-budget" in said(replace(SEARCHED, stopped="time"))
    assert "--" not in said(replace(SEARCHED, stopped="patience"))


def test_where_no_engine_of_lower_precision_was_built_none_was_compared() -> None:
    words = said(replace(SEARCHED, trials=(PLAIN,), stopped="time"))
    assert words == (
        "FP32 was compared with no other engine: the search was cut short by --time-budget."
    )
    assert "compared with no other" not in said(SEARCHED)


def test_where_all_engines_failed_fp32_remains() -> None:
    words = said(replace(SEARCHED, trials=(PLAIN, failed(1, "abc"), failed(2, "ab"))))
    assert "No engine of lower precision ran: all 2 failed." in words
    assert "not the answer" in words
    assert "FP32 is the answer" not in words
    assert "2 engines of lower precision failed and were not measured" in words
    assert "(build/error): no kernel" in words
    some = said(replace(SEARCHED, trials=(PLAIN, OVER, failed(2, "ab"))))
    assert "No engine of lower precision ran" not in some
    assert "1 engine of lower precision failed and was not measured" in some
    assert "failed" not in said(SEARCHED)


def test_where_no_group_has_a_choice_the_layers_that_are_out_of_reach_are_named() -> None:
    fixed = SearchSpace((LayerGroup("a", "conv", ("a",), (FP32,)),))
    searched = replace(SEARCHED, problem=replace(PROBLEM, space=fixed), trials=(PLAIN,))
    assert said(searched) == (
        "FP32 is the answer: no group of this model has a lower precision here."
    )
    inside = "12 layers (12 MatMul) are inside of If 'i'."
    assert said(replace(searched, unsearched=inside)).endswith(f"here. {inside}")
    assert "no group of this model" not in said(SEARCHED)


def test_groups_that_the_user_keeps_out_are_what_was_asked_for() -> None:
    fixed = SearchSpace((LayerGroup("a", "conv", ("a",), (FP32,)),))
    searched = replace(SEARCHED, problem=replace(PROBLEM, space=fixed), trials=(PLAIN,))
    assert said(replace(searched, kept=3)) == (
        "FP32 is what was asked for: the 3 groups that could have a lower precision are kept out "
        "of it by --pin, --exclude or --only."
    )
    assert "asked for" not in said(searched)
    assert "asked for" not in said(replace(SEARCHED, kept=3)), "other groups were searched"


def test_the_cheapest_group_is_over_the_bound_or_within_it() -> None:
    over = said(replace(SEARCHED, trials=(PLAIN, OVER, trial(2, "b", 0.02, None))))
    assert (
        "FP32 is the answer: the cheapest group to lower (b to int8, the one measured alone) costs "
        "0.02, which is over the bound." in over
    )
    assert over.count("cheapest") == 1
    pair = (trial(2, "b", 0.02, None), trial(3, "c", 0.003, None))
    within = said(replace(SEARCHED, trials=(PLAIN, OVER, *pair)))
    assert "(c to int8, of 2 measured alone) costs 0.003, which is within the bound" in within
    assert "no engine within the bound was faster" in within
    cut = said(replace(SEARCHED, trials=(PLAIN, OVER, pair[0]), stopped="builds"))
    assert "FP32 is the answer" not in cut
    assert "The cheapest group to lower (b to int8" in cut
    assert "cheapest" not in said(SEARCHED)


def test_finalists_that_missed_on_the_holdout_are_named() -> None:
    words = said(MISSED)
    assert "FP32 is the answer" not in words
    assert "within the bound on the search samples and on the holdout" in words
    assert (
        "1 engine within the bound on the search samples missed it on the holdout: engine 3, 1.67x "
        "FP32's speed, 0.004 on the search samples and 0.144 on the holdout at the output 'tokens'."
    ) in words
    assert "holdout" not in said(SEARCHED)
    broken = replace(MISSED, looks=(look(3, 0.6, 4e-3, math.inf),))
    assert "and an output that is not finite on the holdout." in said(broken)


def test_the_number_of_continuations_and_holdout_checks_is_reported() -> None:
    assert "went on" not in said(MISSED)
    again = replace(MISSED, continued=2)
    assert "went on 2 times with a tighter bound; the holdout was looked at 2 times" in said(again)
    once = said(replace(MISSED, continued=1), FINE, 0.6)
    assert "The search went on once" in once
    assert "missed it on the holdout" in once, "also where another engine ships"


def test_a_miss_on_the_search_samples_is_not_reported_as_one_on_the_holdout() -> None:
    without = replace(SEARCHED, looks=(Finalist(0, 1.0, 0.0, None, True),))
    assert "holdout" not in said(without)


def test_an_engine_that_was_not_faster_when_timed_again_is_reported() -> None:
    seemed = replace(SEARCHED, trials=(PLAIN, FINE), looks=(look(0, 1.0, 0.0, 0.0),))
    assert "that seemed 1.67x as fast as FP32 was not chosen" in said(seemed)
    assert "seemed" not in said(MISSED), "it was faster, and not within the bound"
    assert "seemed" not in said(replace(seemed, trials=(PLAIN, SLOWER)))


def bounds(words: str) -> list[float]:
    return [float(b) for b in re.findall(r"A bound of (\S+) would buy", words)]


def test_the_advised_wider_bound_would_have_sufficed() -> None:
    tight, far = trial(1, "abc", 0.0149, 0.5), trial(2, "ab", 0.5, 0.4)
    words = said(replace(SEARCHED, trials=(PLAIN, tight, far)))
    assert bounds(words) == [0.0152, 0.51]
    for bound, row in zip(bounds(words), (tight, far), strict=True):
        goal = Goal(Bound(bound))
        assert row.measurement is not None
        assert goal.passes(row.measurement)
    assert "would buy 2.00x the speed, as measured on the search samples" in words


@pytest.mark.parametrize(
    "trials",
    [
        (PLAIN, SLOWER),
        (PLAIN, trial(1, "abc", 0.5, 0.98)),
        (PLAIN, trial(1, "abc", math.inf, 0.5)),
        (PLAIN, trial(1, "abc", 0.5, None)),
        (PLAIN, FINE),
    ],
)
def test_no_useless_or_already_met_bound_is_advised(trials: Sequence[Trial]) -> None:
    assert bounds(said(replace(SEARCHED, trials=trials))) == []


def test_no_bound_tighter_than_the_one_asked_for_is_advised() -> None:
    """An engine that missed on the holdout needs a bound that admits it there."""
    words = said(MISSED)
    assert bounds(words) == [0.144]
    assert "as measured on the search samples and the holdout" in words
    edge = trial(1, "abc", 0.00999, 0.5)
    assert all(b > 1e-2 for b in bounds(said(replace(SEARCHED, trials=(PLAIN, edge)))))


def test_a_floor_in_decibels_is_advised_below_the_one_asked_for() -> None:
    sqnr = metric("sqnr")
    problem = Problem(SPACE, Goal(Bound(sqnr.bound(40.0), "sqnr"), noise=0.02))
    searched = Searched(problem, sqnr, (PLAIN, trial(1, "abc", 0.02, 0.5)), "converged")
    (asked,) = re.findall(r"A bound of (\S+) dB would buy", said(searched))
    assert float(asked) < 40
    found = searched.trials[1].measurement
    assert found is not None
    assert Goal(Bound(sqnr.bound(float(asked)))).passes(found)


def test_the_output_that_misses_is_named_where_there_are_several() -> None:
    outputs = {"scores": 0.002, "labels": 0.17, "boxes": 0.004}
    detector = replace(SEARCHED, trials=(PLAIN, trial(1, "abc", 0.17, 0.6, outputs)))
    assert (
        "The fastest engine over the bound (1.67x, engine 1) misses it at the output 'labels' "
        "(0.17); the other 2 outputs are within it."
    ) in said(detector)
    both = {"labels": 0.17, "boxes": math.inf}
    odd = replace(SEARCHED, trials=(PLAIN, trial(1, "abc", math.inf, 0.6, both)))
    assert "outputs 'boxes' (not finite), 'labels' (0.17); no other output is within it." in said(
        odd
    )


def test_no_output_is_named_where_there_is_one_or_none_is_over() -> None:
    one = trial(1, "abc", 0.17, 0.6, {"logits": 0.17})
    slow = trial(1, "abc", 0.17, 1.1, {"labels": 0.17, "boxes": 0.0})
    for row in (one, slow, FINE):
        assert "the output" not in said(replace(SEARCHED, trials=(PLAIN, row)))
    slower_than_what_ships = trial(1, "abc", 0.17, 0.7, {"labels": 0.17, "boxes": 0.0})
    ships = replace(SEARCHED, trials=(PLAIN, slower_than_what_ships, FINE))
    assert "the output" not in said(ships, FINE, 0.6)


def test_where_an_engine_of_lower_precision_ships_the_conclusion_is_short() -> None:
    assert conclusions(replace(SEARCHED, trials=(PLAIN, OVER, FINE)), FINE, 0.6) == ()
