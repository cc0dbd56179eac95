"""Losses for classifiers: the drop in top-1 accuracy, and disagreement with the reference."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from precsearch.core.backend import Array, Feed
from precsearch.core.errors import DataError, OptionError
from precsearch.core.trial import Accuracy, Aggregation
from precsearch.metrics.blocks import compared
from precsearch.metrics.mismatches import is_float, mismatches, unsound
from precsearch.metrics.protocol import PlainScale
from precsearch.metrics.resample import Floats, aggregate

__all__ = ["TOP1", "TOP1_AGREE", "Top1", "Top1Agree"]


@dataclass(frozen=True)
class Top1Agree(PlainScale):
    """Share of samples whose largest class is another than the reference's.

    The classes are the first float output of shape ``[batch, classes]`` (axes of length 1 may
    follow). ``upper`` equals ``loss``: the steps of few samples are too coarse to resample.
    """

    name: str = "top1-agree"
    needs_labels: bool = False
    discrete: bool = True
    unit: str = ""

    def score(
        self,
        outputs: Sequence[Feed],
        reference: Sequence[Feed],
        labels: Array | None = None,
        *,
        sizes: Sequence[int] | None = None,
        seed: int = 0,
    ) -> Accuracy:
        """See `Metric.score`; every row of the output is a sample.

        Raises:
            DataError: References or labels do not fit the outputs.
            OptionError: No output holds classes.
        """
        names = compared(outputs, reference)
        name = _class_output(reference[0], names)
        expected, classes = _winners(reference, name)
        truth = self._truth(labels, len(expected), classes)
        odd = mismatches(outputs, reference, (1,) * len(outputs), names)
        if unsound(odd) or any(m.output == name for m in odd):
            return Accuracy(math.inf, math.inf, {name: math.inf}, mismatches=odd)
        winners, _ = _winners(outputs, name)
        errors = self._errors(winners, expected, truth)
        weights = np.ones_like(errors)
        loss = aggregate(errors, weights, Aggregation.MEAN)
        return Accuracy(
            loss=loss,
            upper=loss,
            by_output={name: loss},
            per_sample=tuple(errors.tolist()),
            weights=tuple(weights.tolist()),
            aggregation=Aggregation.MEAN,
            mismatches=odd,
        )

    def _truth(self, labels: Array | None, samples: int, classes: int) -> Array | None:
        return None

    def _errors(self, predicted: Array, expected: Array, truth: Array | None) -> Floats:
        return np.asarray(predicted != expected, dtype=np.float64)


@dataclass(frozen=True)
class Top1(Top1Agree):
    """Drop of top-1 accuracy against labels, below the reference's on the same samples.

    Negative where the engine is luckier than the reference.
    """

    name: str = "top1"
    needs_labels: bool = True

    def _truth(self, labels: Array | None, samples: int, classes: int) -> Array | None:
        if labels is None:
            raise DataError(
                "the metric top1 needs labels; store an array 'labels' beside the inputs, or use "
                "top1-agree, which needs none"
            )
        truth = np.asarray(labels)
        if truth.ndim == 2 and truth.shape[1] == 1:
            truth = truth[:, 0]
        if truth.dtype.kind not in "iu" or truth.ndim != 1 or len(truth) != samples:
            raise DataError(
                f"labels of type {truth.dtype} and shape {truth.shape} do not fit {samples} "
                "samples; give one integer class per sample"
            )
        if int(truth.min()) < 0 or int(truth.max()) >= classes:
            raise DataError(
                f"the labels go from {truth.min()} to {truth.max()}, but the model has {classes} "
                "classes, counted from 0; renumber them"
            )
        return truth

    def _errors(self, predicted: Array, expected: Array, truth: Array | None) -> Floats:
        was, is_now = expected == truth, predicted == truth
        return np.asarray(was, dtype=np.float64) - np.asarray(is_now, dtype=np.float64)


def _class_output(feed: Feed, names: Sequence[str]) -> str:
    for name in names:
        array = np.asarray(feed[name])
        classes = array.shape[1] if array.ndim >= 2 else 0
        if is_float(array) and classes >= 2 and all(n == 1 for n in array.shape[2:]):
            return name
    shapes = ", ".join(f"{n!r} {np.shape(feed[n])}" for n in names)
    raise OptionError(
        f"no output holds scores of shape [batch, classes] (there are {shapes}); choose another "
        "metric than top1"
    )


def _winners(feeds: Sequence[Feed], name: str) -> tuple[Array, int]:
    """Index of the largest class per sample ``[samples]``, and the number of classes."""
    scores = [np.asarray(f[name]) for f in feeds]
    widths = {s.shape[1] for s in scores}
    if len(widths) != 1:
        raise DataError(f"output {name!r} has a varying number of classes; use another metric")
    # bfloat16 and its kin have no argmax of their own.
    rows = np.concatenate([s.reshape(s.shape[:2]).astype(np.float64) for s in scores])
    return rows.argmax(axis=1), widths.pop()


TOP1, TOP1_AGREE = Top1(), Top1Agree()
