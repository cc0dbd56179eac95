"""Boxes: the engine's detections matched with FP32's own, by overlap, class and score.

A match counts as much as its boxes overlap (intersection over union) times the ratio of its
scores. The loss of a sample is 1 - 2 · sum of matches / (boxes of both): 0 for equal detections, 1
where nothing matches; for matches of 1 it is 1 - F1. Matching is greedy by score, as in COCO's
evaluation; boxes that one of higher score and the same class covers are dropped first
(non-maximum suppression), in both alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from precsearch.core.backend import Feed
from precsearch.core.errors import DataError
from precsearch.metrics.resample import Floats
from precsearch.metrics.tasks.box_layouts import Boxes, Layout, layout_of
from precsearch.metrics.tasks.sampled import Losses, SampledMetric, parameters_of, refusal

__all__ = ["BoxAgreement", "box_agreement", "iou"]

_MATCH = 0.5
_COVERED = 0.6
_MOST = 300
"""Boxes of a sample that are looked at, the best."""


@dataclass(frozen=True)
class BoxAgreement(SampledMetric):
    """Disagreement of detections.

    Attributes:
        score_at: Boxes of a lower score are left out, in both.
    """

    name: str = "box-agreement"
    score_at: float = 0.3

    def losses(self, outputs: Sequence[Feed], reference: Sequence[Feed]) -> Losses:
        """See `SampledMetric.losses`; a sample weighs as much as it has boxes, at least 1.

        Raises:
            DataError: FP32 finds no box in any sample.
            OptionError: No output holds boxes.
        """
        layout = layout_of(reference)
        if layout is None:
            raise refusal(self.name, "boxes with scores", reference[0])
        expected = [_kept(b, self.score_at) for b in _all(layout, reference)]
        boxes = [_kept(b, self.score_at) for b in _all(layout, outputs)]
        if not any(len(b.scores) for b in expected):
            raise DataError(
                f"FP32 finds no box of a score above {self.score_at:g} in any sample, so that "
                f"{self.name} compares nothing; give samples with objects, or a lower score "
                "(box-agreement@0.1)"
            )
        errors = [_disagreement(a, b) for a, b in zip(boxes, expected, strict=True)]
        counts = [(len(a.scores) + len(b.scores)) / 2 for a, b in zip(boxes, expected, strict=True)]
        return np.array(errors), np.maximum(1.0, counts)


def box_agreement(name: str, parameter: str) -> BoxAgreement:
    """``box-agreement``, or ``box-agreement@SCORE``.

    Raises:
        OptionError: The parameter is no score.
    """
    return BoxAgreement(name, parameters_of(name, parameter, 0, 1)[0] if parameter else 0.3)


def _all(layout: Layout, feeds: Sequence[Feed]) -> list[Boxes]:
    return [sample for feed in feeds for sample in layout.read(feed)]


class _Kept(NamedTuple):
    """Detections, the best first."""

    corners: Floats
    scores: Floats
    classes: npt.NDArray[np.int64]


def _kept(boxes: Boxes, least: float) -> _Kept:
    """Those of some score that no better one covers."""
    order = np.argsort(-boxes.scores, kind="stable")
    order = order[boxes.scores[order] > least]
    corners, classes = boxes.corners, boxes.classes
    chosen: list[int] = []
    for index in order:
        same = [c for c in chosen if classes[c] == classes[index]]
        if not same or iou(corners[index][None], corners[same]).max() <= _COVERED:
            chosen.append(int(index))
        if len(chosen) == _MOST:
            break
    return _Kept(corners[chosen], boxes.scores[chosen], classes[chosen])


def _disagreement(boxes: _Kept, expected: _Kept) -> float:
    total = len(boxes.scores) + len(expected.scores)
    if not total:
        return 0.0
    overlap = iou(boxes.corners, expected.corners)
    overlap[boxes.classes[:, None] != expected.classes[None, :]] = 0.0
    matched = 0.0
    for row in range(len(boxes.scores)):
        best = int(overlap[row].argmax()) if len(expected.scores) else -1
        if best >= 0 and overlap[row, best] >= _MATCH:
            a, b = boxes.scores[row], expected.scores[best]
            matched += float(overlap[row, best] * min(a, b) / max(a, b))
            overlap[:, best] = 0.0
    return 1 - 2 * matched / total


def iou(a: Floats, b: Floats) -> Floats:
    """Intersection over union of each pair of boxes, ``[len(a), len(b)]``.

    Args:
        a: Corners ``[n, 4]``: left, top, right, bottom.
        b: Corners ``[m, 4]`` in the same order.
    """
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    common = np.prod(np.clip(high - low, 0, None), axis=-1)
    area_a, area_b = (np.prod(np.clip(x[:, 2:] - x[:, :2], 0, None), axis=-1) for x in (a, b))
    union = area_a[:, None] + area_b[None, :] - common
    overlap: Floats = np.where(union > 0, common / np.where(union > 0, union, 1), 0.0)
    return overlap
