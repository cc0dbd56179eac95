"""What a report opens with: the engines that answer the question, as bars."""

from __future__ import annotations

from dataclasses import replace

import pytest

from precsearch.core.events import FinalistJudged
from precsearch.report import run_page, tell
from precsearch.report.answer import answer, bars
from precsearch.report.run_facts import Facts
from tests.report.runs import Html, Run


@pytest.fixture
def known(finished: Run) -> Facts:
    return Facts(tell([finished.run_dir]))


def test_the_bars_are_fp32_the_best_uniform_engine_and_what_ships(known: Facts) -> None:
    rows = bars(known)
    plan = known.story.plan
    assert plan is not None
    assert rows[0].name == "FP32"
    assert rows[0].ratio == pytest.approx(1.0, abs=0.2)
    assert "what ships" in rows[-1].name
    assert rows[-1].ratio == plan.evidence.latency.ratio, "as it was confirmed"
    assert all("uniform INT8" in row.name for row in rows[1:-1])


def test_a_uniform_engine_over_the_bound_says_so(known: Facts) -> None:
    known.trials = tuple(
        replace(t, verdict="over bound", why="uniform", chosen=False) if t.counts else t
        for t in known.trials
    )
    row = bars(known)[1]
    assert row.name == "uniform INT8"
    assert row.verdict == "over bound"
    assert "over bound" in answer(known)[1].loss


def test_a_uniform_engine_of_the_journal_is_shown_as_timed_beside_the_plan(
    known: Facts,
) -> None:
    assert known.story.search is not None
    assert {u.precision.value for u in known.story.search.uniform} == {"int8"}
    assert any(t.uniform == "int8" for t in known.trials), "whatever its reason is called"
    known.trials = tuple(replace(t, why="", chosen=False, verdict="pass") for t in known.trials)
    row = bars(known)[1]
    timed = {t.number: t for t in known.trials if t.uniform}
    best = min(known.story.again.get(n, t.ratio or 0.0) for n, t in timed.items())
    assert (row.name, row.ratio) == ("uniform INT8", best)


def test_a_uniform_engine_that_missed_the_holdout_says_so(known: Facts) -> None:
    (number,) = {t.number for t in known.trials if t.uniform and t.ratio is not None}
    known.trials = tuple(replace(t, chosen=False) for t in known.trials)
    looked = FinalistJudged(number, 0.5, 0.5, passed=False)
    known.story = replace(known.story, finalists=(looked,))
    assert bars(known)[1].verdict == "over bound on the holdout"


def test_a_single_engine_draws_no_bars(known: Facts) -> None:
    known.trials = known.trials[:1]
    assert bars(known) == ()
    assert answer(known) == ()


def test_a_page_opens_with_the_answer_and_ends_with_what_was_asked(finished: Run) -> None:
    words = Html(run_page(tell([finished.run_dir]))).words
    places = [words.index(said) for said in ("what ships", "Use it", "What was asked", "Versions")]
    assert places == sorted(places)
