"""What metrics share that give each sample a loss between 0 and 1."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from precsearch.core.backend import Array, Feed
from precsearch.core.errors import OptionError
from precsearch.core.trial import Accuracy
from precsearch.metrics.blocks import compared
from precsearch.metrics.mismatches import is_float, mismatches, unsound
from precsearch.metrics.protocol import PlainScale
from precsearch.metrics.resample import Floats, mean_accuracy

__all__ = [
    "Losses",
    "SampledMetric",
    "floats_of",
    "parameters_of",
    "probabilities",
    "refusal",
    "sigmoid",
]

Losses = tuple[Floats, Floats]
"""Loss and weight per sample, ``[samples]`` each; a weight is positive."""


@dataclass(frozen=True)
class SampledMetric(PlainScale, ABC):
    """A mean of losses per sample, against the reference's own answer.

    Outputs of another size than the reference's are compared as they are: a detector may find more.

    Attributes:
        name: What the user calls it, with its parameters.
    """

    needs_labels: ClassVar[bool] = False
    discrete: ClassVar[bool] = False
    unit: ClassVar[str] = ""

    @abstractmethod
    def losses(self, outputs: Sequence[Feed], reference: Sequence[Feed]) -> Losses:
        """Loss and weight of each sample.

        Args:
            outputs: The engine's, output name → array, a mapping a feed.
            reference: The reference's, in the same form.

        Raises:
            OptionError: The metric has no meaning for such outputs.
        """

    def score(
        self,
        outputs: Sequence[Feed],
        reference: Sequence[Feed],
        labels: Array | None = None,
        *,
        sizes: Sequence[int] | None = None,
        seed: int = 0,
    ) -> Accuracy:
        """See `Metric.score`; labels are not looked at.

        Raises:
            DataError: References do not fit the outputs.
            OptionError: The metric has no meaning for such outputs.
        """
        names = compared(outputs, reference)
        odd = mismatches(outputs, reference, (1,) * len(outputs), names)
        if unsound(odd):
            return Accuracy(math.inf, math.inf, mismatches=odd)
        errors, weights = self.losses(outputs, reference)
        return replace(mean_accuracy(errors, weights, seed), mismatches=odd)


def floats_of(feed: Feed) -> dict[str, Floats]:
    """The float outputs of a feed, as float64."""
    arrays = {name: np.asarray(a) for name, a in feed.items()}
    return {name: a.astype(np.float64) for name, a in arrays.items() if is_float(a)}


def refusal(name: str, expected: str, feed: Feed) -> OptionError:
    """That the outputs are not what a metric is for."""
    shapes = ", ".join(f"{n!r} {np.shape(a)}" for n, a in feed.items())
    return OptionError(
        f"the metric {name!r} needs {expected}, and the model's outputs are {shapes}; choose "
        "another metric, or write your own (docs/metrics.md)"
    )


def parameters_of(name: str, text: str, low: float, high: float) -> tuple[float, ...]:
    """The numbers after a metric's ``@``, separated by commas.

    Args:
        name: The metric's whole name.
        text: What is after the ``@``.
        low: The least that they may be.
        high: The most.

    Raises:
        OptionError: One is none, or out of range.
    """
    try:
        parameters = tuple(float(part) for part in text.split(","))
    except ValueError:
        parameters = ()
    if not parameters or not all(low <= value <= high for value in parameters):
        raise OptionError(
            f"the parameter of {name!r} is {text!r}; write numbers from {low:g} to {high:g}, "
            "separated by commas"
        )
    return parameters


def sigmoid(values: Floats) -> Floats:
    """The logistic function, which overflows nowhere."""
    result: Floats = np.exp(-np.logaddexp(0.0, -values))
    return result


def probabilities(values: Floats, reference: Floats) -> Floats:
    """Values as probabilities: those of a reference outside of [0, 1] say that all are logits."""
    logits = bool(reference.size) and (reference.min() < 0 or reference.max() > 1)
    return sigmoid(values) if logits else values
