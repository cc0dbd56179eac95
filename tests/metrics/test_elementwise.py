"""Outputs of any shape and number: how they count, and which are a mistake."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from precsearch.core.backend import Feed
from precsearch.core.errors import DataError
from precsearch.core.trial import Aggregation
from precsearch.metrics import metric
from tests.metrics.scored import CONTINUOUS, score


@pytest.mark.parametrize("dtype", [np.int64, np.bool_, np.uint8])
def test_other_outputs_count_unequal_elements(dtype: type[np.generic]) -> None:
    reference = np.zeros((10, 4), dtype)
    output = reference.copy()
    output[0, :2] = 1
    accuracy = score("rel-l2", output, reference)
    assert accuracy.loss == pytest.approx(2 / 40)
    assert accuracy.aggregation is Aggregation.MEAN
    assert score("rel-l2-max", output, reference).loss == 0.5


def test_the_worst_output_decides() -> None:
    reference: list[Feed] = [{"a": np.ones((1, 2)), "b": np.ones((1, 2))}] * 3
    output: list[Feed] = [{"a": np.full((1, 2), 1.1), "b": np.full((1, 2), 1.2)}] * 3
    accuracy = metric("rel-l2").score(output, reference, sizes=[1] * 3)
    assert accuracy.by_output == pytest.approx({"a": 0.1, "b": 0.2})
    assert accuracy.loss == pytest.approx(0.2)
    assert accuracy.per_sample == pytest.approx((0.2,) * 3)


def test_feeds_are_whole_samples_if_an_output_does_not_lead_with_the_batch() -> None:
    rows: list[Feed] = [{"y": np.ones((4, 2)), "state": np.ones((2, 4, 3))}] * 2
    assert len(metric("rel-l2").score(rows, rows, sizes=[4, 4]).per_sample) == 2
    only: list[Feed] = [{"y": f["y"]} for f in rows]
    assert len(metric("rel-l2").score(only, only, sizes=[4, 4]).per_sample) == 8
    # the reference says what is compared
    assert len(metric("rel-l2").score(rows, only, sizes=[4, 4]).per_sample) == 8


def test_another_shape_of_the_same_rank_fails_and_another_rank_is_a_mistake() -> None:
    boxes: list[Feed] = [{"boxes": np.ones((3, 4), np.float32)}]
    fewer: list[Feed] = [{"boxes": np.ones((2, 4), np.float32)}]
    for name in CONTINUOUS:
        assert metric(name).score(fewer, boxes).loss == math.inf
    with pytest.raises(DataError, match="shape"):
        metric("rel-l2").score([{"boxes": np.ones(12, np.float32)}], boxes)
    counts: list[Feed] = [{"n": np.ones((2,), np.int64)}]
    assert metric("rel-l2").score([{"n": np.ones((3,), np.int64)}], counts).loss == 1


def test_outputs_may_be_empty_or_scalar() -> None:
    none: list[Feed] = [{"boxes": np.ones((0, 4), np.float32)}]
    scalar: list[Feed] = [{"s": np.asarray(2.0, np.float32)}]
    for name in CONTINUOUS:
        assert metric(name).score(none, none, sizes=[1]).loss == 0
        assert metric(name).score(scalar, scalar, sizes=[1]).loss == 0


def test_mismatched_feeds_are_refused() -> None:
    one: list[Feed] = [{"y": np.ones((1, 2))}]
    cases: list[tuple[Sequence[Feed], Sequence[Feed]]] = [
        (one, one * 2),
        ([], []),
        (one, [{}]),
        (one, [{"z": np.ones((1, 2))}]),
    ]
    for outputs, reference in cases:
        with pytest.raises(DataError):
            metric("rel-l2").score(outputs, reference)
