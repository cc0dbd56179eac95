"""Which choices make engines unusable, by the trials alone."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from precsearch.core.exclusions import exclusion_reasons, exclusions, half_located, unusable
from precsearch.core.precision import Precision
from precsearch.core.space import Assignment
from precsearch.core.trial import (
    Accuracy,
    Failed,
    Fidelity,
    Measured,
    Measurement,
    Outcome,
    Proposal,
    Trial,
)

FP16, INT8 = Precision.FP16, Precision.INT8
RAN = Measured(Measurement(Accuracy(0.1, 0.1)))
WRONG = Measured(Measurement(Accuracy(math.inf, math.inf)))
BROKEN = Failed("build", "error", "mergeScales: assertion failed")


def trials(*rows: tuple[str, Outcome], fidelity: Fidelity = Fidelity.ENGINE) -> list[Trial]:
    """One engine a row; a letter is a group in INT8, a capital one in FP16."""
    found = []
    for number, (letters, outcome) in enumerate(rows):
        chosen = {c.lower(): FP16 if c.isupper() else INT8 for c in letters}
        found.append(Trial(number, Proposal(Assignment.of(chosen), fidelity), outcome))
    return found


def named(found: Sequence[Trial]) -> list[str]:
    return ["".join(k for k, _ in e.choices.entries) for e in exclusions(found)]


def test_a_choice_without_which_the_engine_runs_is_excluded_after_two_failures() -> None:
    found = trials(("abc", BROKEN), ("ab", RAN), ("c", BROKEN))
    assert named(found) == ["c"]
    (exclusion,) = exclusions(found)
    assert (exclusion.how, exclusion.engines) == ("does not build", 2)
    assert exclusion.within(Assignment.of({"c": INT8, "a": FP16}))
    assert not exclusion.within(Assignment.of({"c": FP16}))


def test_one_failure_may_be_chance() -> None:
    assert named(trials(("abc", BROKEN), ("ab", RAN))) == []


def test_one_failure_with_nothing_else_lowered_is_proof() -> None:
    assert named(trials(("", RAN), ("a", BROKEN))) == ["a"]


def test_two_groups_that_each_run_alone_exclude_each_other() -> None:
    found = trials(("abcd", BROKEN), ("abc", RAN), ("d", RAN), ("bd", BROKEN), ("b", RAN))
    assert named(found) == ["bd"]


def test_a_choice_that_ran_once_is_not_excluded() -> None:
    found = trials(("abc", BROKEN), ("ab", RAN), ("ce", RAN))
    assert named(found) == []
    assert [e.choices.entries for e in half_located(found)] == [(("c", INT8),)]


def test_proxies_and_other_precisions_prove_nothing() -> None:
    rows = (("ab", BROKEN), ("a", RAN), ("b", BROKEN))
    assert named(trials(*rows, fidelity=Fidelity.PROXY)) == []
    assert named(trials(("aB", RAN), *rows)) == ["b"], "FP16 of b ran, INT8 did not"


def test_an_engine_whose_output_is_not_finite_is_unusable_but_did_build() -> None:
    found = trials(("ab", WRONG), ("a", RAN), ("b", WRONG))
    assert [unusable(t) for t in found] == [True, False, True]
    assert [e.how for e in exclusions(found)] == ["gives output that is not finite"]
    assert named(trials(("ab", BROKEN), ("bc", WRONG), ("a", RAN))) == ["ab"]


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        (Failed("build", "crash", ""), "crashes"),
        (Failed("build", "timeout", ""), "hangs"),
        (Failed("run", "memory", ""), "runs out of memory"),
        (Failed("lower", "error", ""), "cannot be written"),
        (Failed("run", "error", ""), "does not run"),
    ],
)
def test_the_reason_names_the_kind_of_the_failure(outcome: Failed, said: str) -> None:
    assert exclusions(trials(("", RAN), ("a", outcome)))[0].how == said


def test_reasons_name_the_other_choice_and_quote_the_message() -> None:
    found = trials(("abc", BROKEN), ("a", RAN), ("b", RAN), ("ab", BROKEN))
    assert exclusion_reasons(found) == {
        "a": (
            "INT8 excluded: does not build beside INT8 of 'b' "
            "(2 engines: mergeScales: assertion failed)",
        ),
        "b": (
            "INT8 excluded: does not build beside INT8 of 'a' "
            "(2 engines: mergeScales: assertion failed)",
        ),
    }
    long = trials(("", RAN), ("a", Failed("build", "error", "x" * 300)))
    assert len(exclusion_reasons(long)["a"][0]) < 200


def test_reasons_name_failures_that_were_not_located() -> None:
    found = trials(("abc", BROKEN), ("ab", RAN), ("ce", RAN))
    (said,) = exclusion_reasons(found)["c"]
    assert "beside another choice, which was not located" in said
    assert exclusion_reasons(trials(("ab", RAN))) == {}


KEYS = "abcdef"


@settings(max_examples=200, deadline=None)
@given(
    culprits=st.lists(st.sets(st.sampled_from(KEYS), min_size=1, max_size=2), max_size=3),
    rows=st.lists(st.sets(st.sampled_from(KEYS)), max_size=14),
)
def test_excluded_sets_never_ran_and_contain_a_culprit(
    culprits: list[set[str]], rows: list[set[str]]
) -> None:
    """Where failing is monotone, a named set has a planted one, or two failures share a member."""
    distinct = list(dict.fromkeys("".join(sorted(r)) for r in rows))
    found = trials(*((r, BROKEN if any(c <= set(r) for c in culprits) else RAN) for r in distinct))
    for exclusion in exclusions(found):
        chosen = set(exclusion.choices)
        assert any(c & chosen for c in culprits)
        assert not any(exclusion.within(t.assignment) for t in found if t.measurement)
    shuffled = exclusions(reversed(found))
    assert shuffled == exclusions(found)
