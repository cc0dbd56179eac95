"""Where the boxes of a detector are: in one output or in several, with or without suppression.

Read from the shapes and the numbers of the reference:

- an output ``[…, n, 4]`` beside one of scores ``[…, n]`` or ``[…, n, classes]``, and maybe one of
  classes in integers ``[…, n]`` (torchvision, SSD, DETR);
- one output ``[batch, n, 6]`` whose last column is a whole number: left, top, right, bottom, score,
  class (detectors with suppression inside);
- one output ``[batch, n, 5 + classes]``: centre, size, objectness and classes (YOLOv5, YOLOX);
- one output ``[batch, 4 + classes, n]``: centre, size and classes (YOLOv8 and later).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from precsearch.core.backend import Feed
from precsearch.metrics.resample import Floats
from precsearch.metrics.tasks.sampled import floats_of, sigmoid

__all__ = ["Boxes", "Layout", "layout_of"]

_DETECTION = 6
_FEWEST = 5
_RANK = 3
_BACKGROUND = 0.5
"""A class that wins in more of a detector's candidates than this is none of its objects."""


class Boxes(NamedTuple):
    """The candidates of a sample: corners ``[n, 4]``, scores ``[n]``, classes ``[n]``."""

    corners: Floats
    scores: Floats
    classes: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Layout:
    """How boxes are stored.

    Attributes:
        kind: ``apart``, ``detections``, ``objectness`` or ``classes``.
        boxes: Name of the output with the boxes.
        scores: Name of that with the scores, where they are apart.
        labels: Name of that with the classes, "" if there is none.
        centred: Whether a box is its centre and size, rather than its corners.
        logits: Whether scores are logits.
        background: The class that is no object, -1 if there is none.
    """

    kind: str
    boxes: str
    scores: str = ""
    labels: str = ""
    centred: bool = False
    logits: bool = False
    background: int = -1

    def read(self, feed: Feed) -> Iterator[Boxes]:
        """The candidates of each sample of a feed."""
        values = floats_of(feed)
        labels = np.asarray(feed[self.labels]) if self.labels else None
        raw = values[self.boxes]
        rows = raw if raw.ndim == 3 else raw[None]
        for index, row in enumerate(rows):
            if self.kind == "apart":
                held = values[self.scores]
                scores = held[index] if raw.ndim == 3 else held
                marks = None if labels is None else labels[index] if raw.ndim == 3 else labels
                yield self._boxes(row, scores, marks)
            elif self.kind == "detections":
                yield Boxes(row[:, :4], row[:, 4], row[:, 5].astype(np.int64))
            elif self.kind == "objectness":
                yield self._boxes(row[:, :4], row[:, 4:5] * row[:, 5:], None)
            else:
                yield self._boxes(row.T[:, :4], row.T[:, 4:], None)

    def _boxes(self, raw: Floats, scores: Floats, labels: npt.NDArray[np.generic] | None) -> Boxes:
        scores = sigmoid(scores) if self.logits else scores
        corners = raw
        if self.centred:
            half = raw[:, 2:] / 2
            corners = np.concatenate([raw[:, :2] - half, raw[:, :2] + half], axis=1)
        if scores.ndim == 1:
            marks = np.zeros(len(scores)) if labels is None else labels
            return Boxes(corners, scores, np.asarray(marks).astype(np.int64))
        classes = scores.argmax(axis=1)
        best = scores.max(axis=1, initial=0.0)
        best = np.where(classes == self.background, 0.0, best)
        return Boxes(corners, best, classes.astype(np.int64))


def layout_of(reference: Sequence[Feed]) -> Layout | None:
    """The layout of a detector's outputs; ``None`` if they hold no boxes.

    Args:
        reference: Output name → array, a mapping a feed.
    """
    floats = floats_of(reference[0])
    boxes = next((n for n, a in floats.items() if a.ndim in (2, 3) and a.shape[-1] == 4), None)
    if boxes is not None:
        apart = _apart(boxes, reference)
        if apart is not None:
            return apart
    for name, array in floats.items():
        wide = array.ndim == _RANK and min(array.shape[1:]) >= _FEWEST
        detections = array.ndim == _RANK and array.shape[2] == _DETECTION
        if (wide or detections) and len(floats) == 1:
            return _together(name, [floats_of(f)[name] for f in reference])
    return None


def _apart(boxes: str, reference: Sequence[Feed]) -> Layout | None:
    floats = floats_of(reference[0])
    lead = floats[boxes].shape[:-1]
    others = {n: a for n, a in floats.items() if n != boxes and a.shape[: len(lead)] == lead}
    scores = next(iter(others), None)
    if scores is None or floats[scores].ndim > len(lead) + 1:
        return None
    whole = {n: np.asarray(a) for n, a in reference[0].items() if np.asarray(a).dtype.kind in "iu"}
    labels = next((n for n, a in whole.items() if a.shape == lead), "")
    corners = np.concatenate([floats_of(f)[boxes].reshape(-1, 4) for f in reference])
    held = [floats_of(f)[scores] for f in reference]
    numbers = np.concatenate([h.reshape(-1) for h in held])
    logits = bool(numbers.size) and (numbers.min() < 0 or numbers.max() > 1)
    background = -1
    if held[0].ndim == len(lead) + 1 and held[0].shape[-1] > 1:
        winners = np.concatenate([h.reshape(-1, h.shape[-1]) for h in held]).argmax(axis=1)
        counts = np.bincount(winners)
        if counts.max() > _BACKGROUND * len(winners):
            background = int(counts.argmax())
    return Layout("apart", boxes, scores, labels, _centred(corners), logits, background)


def _centred(boxes: Floats) -> bool:
    """Whether boxes are centres and sizes: as corners, some would end before they begin."""
    return bool((boxes[:, 2:] < boxes[:, :2]).any())


def _together(name: str, arrays: Sequence[Floats]) -> Layout:
    first = arrays[0]
    if first.shape[2] == _DETECTION:
        last = np.concatenate([a[..., 5].reshape(-1) for a in arrays])
        if np.array_equal(last, np.rint(last)):
            return Layout("detections", name)
    rows, columns = first.shape[1:]
    logits = False
    if rows < columns:
        scores = np.concatenate([a[:, 4:].reshape(-1) for a in arrays])
        logits = bool(scores.min() < 0 or scores.max() > 1)
        return Layout("classes", name, centred=True, logits=logits)
    return Layout("objectness", name, centred=True)
