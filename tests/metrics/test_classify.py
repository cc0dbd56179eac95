"""Metrics of classifiers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from precsearch.core.backend import Array, Feed
from precsearch.core.errors import DataError, OptionError
from precsearch.metrics import metric, resolution
from tests.metrics.scored import score


@pytest.mark.parametrize("name", ["top1", "top1-agree"])
def test_classifiers_with_nan_do_not_pass_either(name: str) -> None:
    reference = np.eye(4, dtype=np.float32)
    output = reference.copy()
    output[1, 2] = np.nan
    assert score(name, output, reference, np.arange(4)).loss == math.inf


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 3)), min_size=1))
def test_top1_counts_lost_and_gained_answers(rows: list[tuple[int, int, int]]) -> None:
    found, wanted, labels = np.array(rows).T
    output, reference = np.eye(4, dtype=np.float32)[found], np.eye(4, dtype=np.float32)[wanted]
    accuracy = score("top1", output, reference, labels)
    assert accuracy.loss == pytest.approx(np.mean(wanted == labels) - np.mean(found == labels))
    assert accuracy.upper == accuracy.loss
    agree = score("top1-agree", output, reference)
    assert agree.upper == agree.loss == pytest.approx(np.mean(found != wanted))
    assert abs(accuracy.loss) <= agree.loss + 1e-12


def test_top1_finds_the_classes() -> None:
    feed: Feed = {
        "index": np.array([[1]], np.int64),
        "boxes": np.ones((1, 5, 4), np.float32),
        "softmax": np.ones((1, 10, 1, 1), np.float32),
    }
    accuracy = metric("top1").score([feed], [feed], np.array([[0]]), sizes=[1])
    assert list(accuracy.by_output) == ["softmax"]
    with pytest.raises(OptionError, match="batch, classes"):
        metric("top1-agree").score([{"boxes": feed["boxes"]}], [{"boxes": feed["boxes"]}])


@pytest.mark.parametrize(
    "labels",
    [None, np.arange(3), np.array([0, 1, 2, 4]), np.array([0, 1, 2, -1]), np.ones(4), np.eye(4)],
    ids=["none", "too few", "too large", "negative", "float", "one-hot"],
)
def test_labels_that_do_not_fit_are_refused(labels: Array | None) -> None:
    rows = np.eye(4, dtype=np.float32)
    with pytest.raises(DataError):
        score("top1", rows, rows, labels)


def test_resolution_is_the_step_of_one_sample() -> None:
    assert resolution(metric("top1"), 50) == 0.02
    assert resolution(metric("rel-l2"), 50) == 0
