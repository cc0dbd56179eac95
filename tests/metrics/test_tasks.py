"""Metrics of a task: FP32's own answer is perfect, and what is lost counts as it should."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from precsearch.core.backend import Array, Feed
from precsearch.core.errors import DataError, OptionError
from precsearch.metrics import METRICS, metric
from precsearch.metrics.resample import Floats
from precsearch.metrics.tasks.boxes import iou
from precsearch.metrics.tasks.sequences import edits

RANDOM = np.random.default_rng(0)


def detector(layout: str, boxes: Sequence[Sequence[float]]) -> Feed:
    """A sample with boxes (left, top, right, bottom, score, class of 2), stored in some way."""
    rows = np.asarray(boxes, np.float32).reshape(-1, 6)
    centre = np.concatenate([(rows[:, :2] + rows[:, 2:4]) / 2, rows[:, 2:4] - rows[:, :2]], axis=1)
    classes = rows[:, 4:5] * (rows[:, 5:] == np.arange(2))
    count = len(rows)
    if layout == "apart":
        return {"boxes": rows[:, :4], "scores": rows[:, 4], "labels": rows[:, 5].astype(np.int64)}
    if layout == "dense":
        return {"boxes": rows[None, :, :4], "scores": classes[None]}
    if layout == "detections":
        return {"out": rows[None]}
    if layout == "objectness":
        held = np.concatenate([centre, np.ones((count, 1), np.float32), classes], axis=1)
        return {"out": np.pad(held, ((0, 20 - count), (0, 0)))[None].astype(np.float32)}
    held = np.concatenate([centre, classes], axis=1)
    return {"out": np.pad(held, ((0, 20 - count), (0, 0))).T[None].astype(np.float32)}


A = [0.0, 0.0, 10.0, 10.0, 0.9, 0]
B = [20.0, 20.0, 40.0, 30.0, 0.8, 1]
MOVED = [0.0, 0.0, 10.0, 8.0, 0.9, 0]
LAYOUTS = ["apart", "dense", "detections", "objectness", "classes"]


def agreement(layout: str, found: list[list[float]], wanted: list[list[float]]) -> float:
    one, other = detector(layout, found), detector(layout, wanted)
    return metric("box-agreement").score([one], [other]).loss


@pytest.mark.parametrize("layout", LAYOUTS)
def test_boxes_are_found_however_a_detector_stores_them(layout: str) -> None:
    assert agreement(layout, [A, B], [A, B]) == pytest.approx(0, abs=1e-6)
    # One of the two overlaps by 0.8.
    assert agreement(layout, [MOVED, B], [A, B]) == pytest.approx(0.1, abs=1e-5)
    gone = [*B[:4], 0.1, 1]
    assert agreement(layout, [A, gone], [A, B]) == pytest.approx(1 - 2 / 3, abs=1e-5)
    other_class = [*B[:5], 0]
    assert agreement(layout, [A, other_class], [A, B]) == pytest.approx(0.5, abs=1e-5)
    weaker = [*B[:4], 0.4, 1]
    assert agreement(layout, [A, weaker], [A, B]) == pytest.approx(0.25, abs=1e-5)


def test_covered_boxes_count_once_and_other_numbers_of_boxes_are_compared() -> None:
    double = [0.0, 0.0, 10.0, 9.5, 0.7, 0]
    assert agreement("apart", [A, double, B], [A, B]) == pytest.approx(0, abs=1e-6)
    assert agreement("apart", [B, A], [A, B]) == pytest.approx(0, abs=1e-6)
    assert agreement("apart", [], [A, B]) == 1


def test_a_background_class_is_not_an_object() -> None:
    boxes = RANDOM.uniform(0, 50, (30, 4)).astype(np.float32)
    boxes[:, 2:] += 50
    scores = np.tile([0.99, 0.01], (30, 1)).astype(np.float32)
    scores[3] = 0.1, 0.9
    wanted: Feed = {"boxes": boxes[None], "scores": scores[None]}
    lost = scores.copy()
    lost[3] = 0.99, 0.01
    found: Feed = {"boxes": boxes[None], "scores": lost[None]}
    assert metric("box-agreement").score([wanted], [wanted]).loss == 0
    assert metric("box-agreement").score([found], [wanted]).loss == 1


@given(hnp.arrays(np.float64, (5, 4), elements=st.floats(0, 100)))
def test_overlap_is_symmetric_and_at_most_one(raw: Floats) -> None:
    boxes = np.concatenate([raw[:, :2], raw[:, :2] + raw[:, 2:]], axis=1)
    found = iou(boxes, boxes)
    assert np.allclose(found, found.T)
    assert found.min() >= 0
    assert found.max() <= 1 + 1e-9


@given(st.lists(st.integers(0, 3), max_size=7), st.lists(st.integers(0, 3), max_size=7))
def test_edit_distances_equal_those_of_the_textbook(a: list[int], b: list[int]) -> None:
    table = np.zeros((len(a) + 1, len(b) + 1), int)
    table[:, 0], table[0, :] = range(len(a) + 1), range(len(b) + 1)
    for i, x in enumerate(a, 1):
        for j, y in enumerate(b, 1):
            change = table[i - 1, j - 1] + (x != y)
            table[i, j] = min(change, table[i - 1, j] + 1, table[i, j - 1] + 1)
    assert edits(a, b) == table[-1, -1]


def read(*steps: int) -> Array:
    """Scores [1, steps, 4] that read as these classes; 0 is the blank."""
    return np.eye(4, dtype=np.float32)[list(steps)][None]


def test_the_edit_distance_ignores_blanks_and_repetitions() -> None:
    wanted: list[Feed] = [{"y": read(0, 1, 1, 0, 2, 0, 0)}, {"y": read(0, 3, 0, 3, 0, 0, 0)}]
    later: list[Feed] = [{"y": read(0, 0, 1, 0, 2, 2, 0)}, {"y": read(3, 3, 0, 3, 0, 0, 0)}]
    assert metric("edit-distance").score(later, wanted).loss == 0
    wrong: list[Feed] = [{"y": read(0, 1, 1, 0, 3, 0, 0)}, {"y": read(0, 3, 3, 3, 0, 0, 0)}]
    found = metric("edit-distance").score(wrong, wanted)
    assert found.per_sample == (0.5, 0.5)
    assert metric("edit-distance@0").score(wrong, wanted).loss == found.loss


def test_recall_counts_neighbours_that_are_lost() -> None:
    angles = np.arange(8) * 0.1
    rows = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    wanted = [{"y": row[None]} for row in rows]
    assert metric("recall@2").score([{"y": 3 * f["y"]} for f in wanted], wanted).loss == 0
    swapped = [wanted[i] for i in (7, 1, 2, 3, 4, 5, 6, 0)]
    assert 0 < metric("recall@2").score(swapped, wanted).loss < 1


def test_masks_are_compared_class_by_class() -> None:
    one = np.zeros((1, 1, 4, 4), np.float32)
    one[..., :2] = 1
    half = np.zeros((1, 1, 4, 4), np.float32)
    half[..., :1] = 1
    # Foreground 4 of 8, background 8 of 12.
    loss = metric("mask-iou").score([{"m": half}], [{"m": one}]).loss
    assert loss == pytest.approx(1 - (0.5 + 8 / 12) / 2)
    logits = np.concatenate([-4 * one + 2, 4 * one - 2], axis=1)
    assert metric("mask-iou").score([{"m": 0.5 * logits}], [{"m": logits}]).loss == 0
    classes = one[:, 0].astype(np.int64)
    assert metric("mask-iou").score([{"m": 1 - classes}], [{"m": classes}]).loss == 1


def test_decisions_are_compared_at_several_thresholds() -> None:
    wanted: list[Feed] = [{"y": np.array([[0.9, 0.4, 0.1]], np.float32)}]
    found: list[Feed] = [{"y": np.array([[0.8, 0.2, 0.1]], np.float32)}]
    # At 0.3 one of two is lost: F1 is 2/3; at 0.5 and 0.7 nothing is.
    assert metric("decisions").score(found, wanted).loss == pytest.approx((1 / 3) / 3)
    assert metric("decisions@0.5").score(found, wanted).loss == 0
    logits: list[Feed] = [{"y": np.array([[2.2, -0.4, -2.2]], np.float32)}]
    assert metric("decisions").score(logits, logits).loss == 0


@pytest.mark.parametrize(
    "name", ["box-agreement", "edit-distance", "recall", "mask-iou", "decisions"]
)
def test_a_metric_refuses_outputs_that_it_has_no_meaning_for(name: str) -> None:
    odd: list[Feed] = [{"y": np.ones((2, 2, 2, 2, 2), np.float32)}]
    with pytest.raises(OptionError, match=r"docs/metrics\.md"):
        metric(name).score(odd, odd)
    bad: list[Feed] = [{"y": np.full((2, 2, 2, 2, 2), np.nan, np.float32)}]
    assert metric(name).score(bad, odd).loss == np.inf


@pytest.mark.parametrize(
    ("name", "feed", "said"),
    [
        ("box-agreement", detector("apart", [[0, 0, 1, 1, 0.1, 0]]), "finds no box"),
        ("edit-distance", {"y": read(0, 0, 0)}, "reads nothing"),
        ("recall", {"y": np.ones((3, 2), np.float32)}, "too few for 5 neighbours"),
        ("decisions", {"y": np.zeros((3, 2), np.float32)}, "gives no class above 0.3"),
    ],
)
def test_samples_in_which_nothing_is_found_are_refused(name: str, feed: Feed, said: str) -> None:
    with pytest.raises(DataError, match=said):
        metric(name).score([feed], [feed])


def test_invalid_parameters_are_refused() -> None:
    for name in ("box-agreement@2", "recall@x", "mask-iou@1", "rel-l2@1", "decisions@0.5,"):
        with pytest.raises(OptionError, match="parameter"):
            metric(name)
    assert set(METRICS) >= {"box-agreement", "recall"}
