"""What a metric is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from precsearch.core.backend import Array, Feed
from precsearch.core.errors import OptionError
from precsearch.core.trial import Accuracy

__all__ = ["Metric", "PlainScale", "checked_tolerance", "resolution"]


@runtime_checkable
class Metric(Protocol):
    """A loss of an engine's outputs against the reference: 0 is perfect, lower is better."""

    @property
    def name(self) -> str:
        """What the user calls it, and what the plan records."""
        ...

    @property
    def needs_labels(self) -> bool:
        """Whether `score` refuses to work without labels."""
        ...

    @property
    def discrete(self) -> bool:
        """Whether each sample is right or wrong, so that few samples give coarse steps."""
        ...

    @property
    def unit(self) -> str:
        """Unit of what the user sees, ``dB`` or nothing."""
        ...

    def score(
        self,
        outputs: Sequence[Feed],
        reference: Sequence[Feed],
        labels: Array | None = None,
        *,
        sizes: Sequence[int] | None = None,
        seed: int = 0,
    ) -> Accuracy:
        """Compare outputs with the reference.

        Args:
            outputs: The engine's outputs by name, one mapping per feed.
            reference: The reference's, in the same form; names that it lacks are not compared.
            labels: One entry per sample along axis 0, in the order of the feeds.
            sizes: Samples per feed (`Dataset.sizes`). A feed's loss is split along axis 0 if all of
                its compared outputs have that leading dimension; otherwise, and without sizes,
                a feed is one sample.
            seed: Of the resampling behind ``upper``.

        Returns:
            ``loss`` and ``upper`` are finite unless an output is not (NaN or infinite where the
            reference is not exactly the same), or has another shape than the reference and the
            metric cannot compare these. ``mismatches`` says which and where.

        Raises:
            DataError: Labels or references do not fit the outputs.
            OptionError: The metric has no meaning for such outputs.
        """
        ...

    def bound(self, tolerance: float) -> float:
        """The largest loss that a user's tolerance admits.

        Raises:
            OptionError: It is negative or no number.
        """
        ...

    def display(self, loss: float) -> float:
        """A loss as the user thinks of it, the inverse of `bound`."""
        ...


@dataclass(frozen=True)
class PlainScale:
    """What metrics share whose tolerance is a loss as it is, without a unit.

    Attributes:
        name: See `Metric.name`.
    """

    name: str

    def bound(self, tolerance: float) -> float:
        """See `Metric.bound`: the tolerance itself.

        Raises:
            OptionError: ``tolerance`` is negative or no number.
        """
        return checked_tolerance(tolerance, self.name)

    def display(self, loss: float) -> float:
        """See `Metric.display`: the loss itself."""
        return loss


def checked_tolerance(tolerance: float, what: str) -> float:
    """The tolerance itself.

    Raises:
        OptionError: It is negative or no number.
    """
    if not (math.isfinite(tolerance) and tolerance >= 0):
        raise OptionError(f"the tolerance of {what} must be at least 0, not {tolerance}")
    return tolerance


def resolution(metric: Metric, samples: int) -> float:
    """The smallest step of the loss that this many samples can show; 0 for a continuous loss.

    A tolerance below it admits no loss at all; warn.
    """
    return 1 / max(samples, 1) if metric.discrete else 0.0
