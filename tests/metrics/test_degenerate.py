"""References in which nothing, or not much, can be compared."""

from __future__ import annotations

import numpy as np
import pytest

from precsearch.core.backend import Array, Feed
from precsearch.metrics.degenerate import degenerate


def feeds(name: str, *arrays: Array) -> list[Feed]:
    return [{name: np.asarray(a)} for a in arrays]


INPUTS = feeds("x", *np.random.default_rng(0).standard_normal((4, 1, 3)))


def test_ordinary_data_has_no_notes() -> None:
    found = degenerate(INPUTS, feeds("y", *np.arange(8.0).reshape(4, 1, 2)))
    assert (found.notes, found.nothing) == ((), "")


def test_an_output_without_elements_leaves_nothing_to_compare() -> None:
    found = degenerate(INPUTS, feeds("y", *[np.ones((2, 0), np.int64)] * 4))
    assert found.nothing == "output 'y' has no elements in any sample"


def test_an_output_that_is_all_nan_cannot_be_compared_and_one_with_some_nan_can() -> None:
    assert "NaN throughout" in degenerate(INPUTS, feeds("y", *[np.full(3, np.nan)] * 4)).nothing
    some = [np.array([np.nan, float(i)]) for i in range(4)]
    assert degenerate(INPUTS, feeds("y", *some)).nothing == ""


def test_an_incomparable_output_beside_a_comparable_one_is_a_note() -> None:
    reference: list[Feed] = [{"y": np.array([float(i)]), "n": np.ones(0)} for i in range(4)]
    found = degenerate(INPUTS, reference)
    assert found.nothing == ""
    assert found.notes == ("output 'n' has no elements in any sample: nothing is compared there",)


@pytest.mark.parametrize("value", [0.0, 3.0, np.inf])
def test_a_constant_output_is_reported(value: float) -> None:
    (constant, same) = degenerate(INPUTS, feeds("y", *[np.full(3, value)] * 4)).notes
    assert constant == f"output 'y' is {value} in all samples: a loss of 0 says nothing there"
    assert "are the same for all 4 feeds" in same


def test_equal_samples_are_reported() -> None:
    equal = feeds("x", *[np.zeros((1, 3))] * 4)
    found = degenerate(equal, feeds("y", *[np.arange(3.0)] * 4))
    assert found.notes == ("all 4 feeds are equal: losses are those of one feed",)


def test_one_number_from_one_feed_is_not_called_constant() -> None:
    assert degenerate(INPUTS[:1], feeds("y", np.ones(()))).notes == ()


def test_an_output_that_fp32_leaves_undefined_in_some_samples_is_reported() -> None:
    inputs = list(INPUTS)
    outputs = feeds("y", *np.arange(8.0).reshape(4, 1, 2))
    outputs[2] = {"y": np.array([[np.nan, 1.0]])}
    told = "an engine that gives numbers there does not pass"
    assert degenerate(inputs, outputs).notes == (
        f"output 'y' holds NaN in FP32 in 1 of 4 feeds: {told}",
    )
    inputs[2] = {"x": np.full((1, 3), -np.inf)}
    assert degenerate(inputs, outputs).notes == (
        f"output 'y' holds NaN in FP32 in 1 of 4 feeds, where input 'x' holds infinity: {told}",
    )
