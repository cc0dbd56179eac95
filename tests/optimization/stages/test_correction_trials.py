"""Corrections are tried one after the other, and what was kept early is tried left out."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from precsearch.core.errors import ModelError
from precsearch.executors.client import ReferenceClient
from precsearch.optimization.stages.correction import ranges, trials
from precsearch.optimization.stages.correction.ranges import Ask
from precsearch.optimization.stages.correction.trials import Candidate, Trials
from precsearch.optimization.stages.corrections_file import Corrections

NAMES = ("early", "middle", "late")
NO_WORKER = cast("ReferenceClient", None)  # made-up candidates run nothing
Table = Mapping[frozenset[str], float]


def candidates(name: str, kept: Corrections, _: Ask) -> Iterator[Candidate]:
    """A made-up correction: it adds its own name to what is kept."""
    yield Candidate(replace(kept, dynamic=(*kept.dynamic, name)))


class Judged:
    """Losses by the set of corrections, and the sets that were asked about."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.asked: list[frozenset[str]] = []

    def __call__(self, tried: Corrections, _: float) -> tuple[float, ...]:
        self.asked.append(frozenset(tried.dynamic))
        return (self.table[self.asked[-1]],)


def best(losses: Judged) -> Corrections:
    plain = losses.table[frozenset()]
    return Trials(NAMES, candidates, losses, NO_WORKER, 0.0).best((plain,))


def table(**losses: float) -> dict[frozenset[str], float]:
    """The loss is 1 but for these sets, named by first letters."""
    letters = {name[0]: name for name in NAMES}
    subsets = itertools.chain.from_iterable(
        itertools.combinations(NAMES, n) for n in range(len(NAMES) + 1)
    )
    known = dict.fromkeys(map(frozenset, subsets), 1.0)
    return known | {frozenset(letters[c] for c in key): loss for key, loss in losses.items()}


def blocking(left: float) -> dict[frozenset[str], float]:
    """`early` helps a little and keeps the two behind it from helping; they leave ``left``."""
    return table(e=0.8, em=0.8, el=0.8, eml=0.8, m=0.7, ml=left)


def test_a_correction_that_keeps_others_from_helping_is_left_out() -> None:
    found = best(Judged(blocking(0.5)))
    assert found.dynamic == ("middle", "late")
    rows = [(row.name, row.kept, row.before, row.after) for row in found.evidence]
    assert rows == [
        ("early", False, 0.5, 0.8),  # without it and with it
        ("middle", True, 1.0, 0.7),
        ("late", True, 0.7, 0.5),
    ]


def test_a_correction_stays_where_the_others_gain_less_than_a_tenth_without_it() -> None:
    found = best(Judged(table(e=0.8, m=0.75, ml=0.75, l=0.75)))
    assert found.dynamic == ("early",)
    assert [(row.name, row.kept) for row in found.evidence] == [("early", True)]


def test_a_correction_that_gains_much_costs_no_second_trial() -> None:
    judged = Judged(table(e=0.4, m=0.1))
    assert best(judged).dynamic == ("early",)
    assert judged.asked == [{"early"}, {"early", "middle"}, {"early", "late"}]


def test_what_gains_least_is_tried_left_out_first() -> None:
    judged = Judged(table(e=0.6, em=0.5, eml=0.5))
    assert best(judged).dynamic == ("early", "middle")
    assert judged.asked[3:5] == [{"early", "late"}, {"middle"}]


def test_no_correction_is_left_out_after_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    judged, now = Judged(blocking(0.5)), 0.0

    class Clock:
        def monotonic(self) -> float:
            return now

    for module in (trials, ranges):
        monkeypatch.setattr(module, "time", Clock())
    took: list[float] = []

    def slowly(name: str, kept: Corrections, ask: Ask) -> Iterator[Candidate]:
        nonlocal now
        yield from candidates(name, kept, ask)
        now += 4
        took.append(now)

    def within(seconds: float) -> Corrections:
        nonlocal now
        now = 0.0
        took.clear()
        return Trials(NAMES, slowly, judged, NO_WORKER, 0.0, seconds).best((1.0,))

    assert within(12).dynamic == ("early",)
    assert took == [4, 8, 12]
    assert within(100).dynamic == ("middle", "late")
    # `late` cannot begin in time beside `middle`, which is enough of a reason alone.
    assert within(12.5).dynamic == ("middle",)


@pytest.mark.parametrize("there_is_time", [True, False])
def test_what_is_kept_is_made_of_all_samples_where_there_is_time(there_is_time: bool) -> None:
    made: list[str] = []

    def halved(name: str, kept: Corrections, _: Ask) -> Iterator[Candidate]:
        def whole() -> Corrections:
            made.append(name)
            if not there_is_time:
                raise ModelError("no time is left for all samples")
            return replace(judged, shifts={**kept.shifts, name: "whole"})

        judged = replace(kept, dynamic=(*kept.dynamic, name))
        yield Candidate(judged, whole)

    judged = Judged(table(e=0.95, m=0.4, ml=0.1))
    found = Trials(NAMES, halved, judged, NO_WORKER, 0.0).best((1.0,))
    assert found.dynamic == ("middle", "late")
    assert made == ["middle", "late"]  # and not of what is not kept
    assert dict(found.shifts) == (dict.fromkeys(made, "whole") if there_is_time else {})


@given(st.lists(st.floats(0.01, 2), min_size=8, max_size=8))
def test_trying_each_left_out_never_ends_with_a_higher_loss(losses: list[float]) -> None:
    judged = Judged(dict(zip(table(), losses, strict=True)))
    found = best(judged)
    chain: tuple[str, ...] = ()
    for name in NAMES:  # what the first pass keeps
        with_it = frozenset((*chain, name))
        if judged.table[with_it] <= 0.9 * judged.table[frozenset(chain)]:
            chain = (*chain, name)
    assert judged.table[frozenset(found.dynamic)] <= judged.table[frozenset(chain)]
    assert best(judged) == found
    assert tuple(row.name for row in found.evidence if row.kept) == found.dynamic
    assert len(judged.asked) <= 2 * (3 + 3 + 3)


def rewriting(name: str, kept: Corrections, ask: Ask) -> Iterator[Candidate]:
    """`candidates`, of which `early` rewrites the model."""
    for one in candidates(name, kept, ask):
        rewrites = (*kept.rewrites, *([(name, {})] if name == "early" else []))
        yield Candidate(replace(one.judged, rewrites=rewrites))


@pytest.mark.parametrize(
    ("losses", "kept"),
    [
        (table(e=0.88, m=0.7, ml=0.5, em=0.88, eml=0.88), ("middle", "late")),
        (table(e=0.88), ("early",)),
        (table(e=0.88, m=0.8, em=0.4), ("early", "middle")),
    ],
)
def test_a_rewrite_that_barely_helps_waits_for_the_others(
    losses: Table, kept: tuple[str, ...]
) -> None:
    judged = Judged(losses)
    found = Trials(NAMES, rewriting, judged, NO_WORKER, 0.0).best((1.0,))
    assert found.dynamic == kept
    assert judged.asked[1] == {"middle"}
    assert tuple(row.name for row in found.evidence if row.kept) == kept
    assert found.evidence[0].name == "early"
    assert bool(found.rewrites) == ("early" in kept)


def test_what_waits_is_kept_without_more_time_where_nothing_else_is() -> None:
    judged = Judged(table(e=0.88))
    assert Trials(NAMES, rewriting, judged, NO_WORKER, 0.0).best((1.0,)).dynamic == ("early",)
    assert judged.asked == [{"early"}, {"middle"}, {"late"}]
