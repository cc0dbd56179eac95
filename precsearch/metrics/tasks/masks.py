"""Masks: how little the engine's segments overlap with FP32's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from precsearch.core.backend import Feed
from precsearch.core.errors import OptionError
from precsearch.metrics.resample import Floats
from precsearch.metrics.tasks.sampled import Losses, SampledMetric, refusal

__all__ = ["MaskIou", "mask_iou"]

_RANK = 4
_MAPS = 3


@dataclass(frozen=True)
class MaskIou(SampledMetric):
    """1 - mean intersection over union of the classes that FP32 or the engine gives a sample.

    Of several channels the largest wins; one channel is a mask where it is above 0.5, or above 0 if
    it holds logits. Whole numbers ``[batch, height, width]`` are classes.
    """

    name: str = "mask-iou"

    def losses(self, outputs: Sequence[Feed], reference: Sequence[Feed]) -> Losses:
        """See `SampledMetric.losses`.

        Raises:
            OptionError: No output holds masks.
        """
        name = _output(reference[0])
        if name is None:
            expected = "masks of shape [batch, channels, height, width]"
            raise refusal(self.name, expected, reference[0])
        arrays = [np.asarray(f[name], dtype=np.float64) for f in reference]
        logits = any(a.min(initial=0.0) < 0 or a.max(initial=0.0) > 1 for a in arrays)
        level = 0.0 if logits else 0.5
        errors = [
            _loss(a, b)
            for feed, expected in zip(outputs, arrays, strict=True)
            for a, b in zip(_classes(feed[name], level), _classes(expected, level), strict=True)
        ]
        return np.array(errors), np.ones(len(errors))


def mask_iou(name: str, parameter: str) -> MaskIou:
    """``mask-iou``.

    Raises:
        OptionError: There is a parameter.
    """
    if parameter:
        raise OptionError(f"the metric 'mask-iou' takes no parameter; drop '@{parameter}'")
    return MaskIou(name)


def _output(feed: Feed) -> str | None:
    for name, value in feed.items():
        array = np.asarray(value)
        if array.ndim == _RANK or (array.ndim == _MAPS and array.dtype.kind in "iu"):
            return name
    return None


def _classes(values: npt.ArrayLike, level: float) -> npt.NDArray[np.int64]:
    array = np.asarray(values)
    if array.ndim == _MAPS:
        return array.astype(np.int64)
    floats: Floats = array.astype(np.float64)
    one = floats.shape[1] == 1
    classes = floats[:, 0] > level if one else floats.argmax(axis=1)
    return np.asarray(classes).astype(np.int64)


def _loss(labels: npt.NDArray[np.int64], expected: npt.NDArray[np.int64]) -> float:
    """1 - mean intersection over union of the classes that either has."""
    if labels.shape != expected.shape:
        return 1.0
    classes = np.union1d(labels, expected)
    overlaps = []
    for c in classes:
        a, b = labels == c, expected == c
        overlaps.append(float((a & b).sum() / (a | b).sum()))
    return 1 - float(np.mean(overlaps))
