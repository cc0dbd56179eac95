"""The criteria of a plan: everything that `verify` judges by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from precsearch.core.precision import Precision

__all__ = ["Criteria", "WeightedShapes"]


@dataclass(frozen=True, slots=True)
class WeightedShapes:
    """A set of input shapes that is timed.

    Attributes:
        shapes: Input name → shape.
        weight: Share of this set in the latency that counts.
    """

    shapes: Mapping[str, tuple[int, ...]]
    weight: float


@dataclass(frozen=True, slots=True)
class Criteria:
    """What an engine must meet to be the plan's. Part of the plan's digest, like the recipe.

    Attributes:
        metric: Name of the loss. Of a user's own, the name of its file or module and of its
            function, and never a place to import it from.
        tolerance: The bound on the loss, in the metric's terms.
        seed: Of random numbers, where no data is given.
        data: What the data was: digests, sample counts, ``random``, ``holdout``.
        metric_sha256: Of the file of a user's own metric, as hex; "" for a built-in one.
        baseline: Precision of the engine that it must not be slower than.
        shapes: Sets of input shapes that are timed; empty for those of the data.
    """

    metric: str
    tolerance: float
    seed: int
    data: Mapping[str, str | int | bool]
    metric_sha256: str = ""
    baseline: Precision = Precision.FP32
    shapes: tuple[WeightedShapes, ...] = ()
