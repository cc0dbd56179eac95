"""The criteria of a plan: everything that `verify` judges by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from precsearch.codec import unstructure
from precsearch.core.objective import Limits, Objective
from precsearch.core.precision import Precision

__all__ = ["Criteria", "WeightedShapes", "criteria_fields", "wished"]


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
        objective: What was minimized: ``latency``, ``mean``, ``p95``, ``p99`` or ``size``.
        max_seconds: Limit on the time of an inference, by the number that the objective names.
        max_size: Limit on the bytes of what is shipped.
        max_memory: Limit on the bytes of host memory that opening and running it takes.
    """

    metric: str
    tolerance: float
    seed: int
    data: Mapping[str, str | int | bool]
    metric_sha256: str = ""
    baseline: Precision = Precision.FP32
    shapes: tuple[WeightedShapes, ...] = ()
    objective: str = "latency"
    max_seconds: float | None = None
    max_size: int | None = None
    max_memory: int | None = None

    @property
    def limits(self) -> Limits:
        """The limits as one record."""
        return Limits(self.max_seconds, self.max_size, self.max_memory)


def wished(objective: Objective, limits: Limits) -> dict[str, Any]:
    """The fields that an objective and limits have in criteria."""
    return {
        "objective": objective.value,
        "max_seconds": limits.seconds,
        "max_size": limits.size,
        "max_memory": limits.memory,
    }


def criteria_fields(criteria: Criteria) -> dict[str, Any]:
    """Criteria as data; what later versions added is left out where it says nothing.

    So the digest of a plan that was made before stays what it was.
    """
    values: dict[str, Any] = unstructure(criteria)
    return {k: v for k, v in values.items() if k not in _ADDED or v != _ADDED[k]}


_ADDED = {"objective": "latency", "max_seconds": None, "max_size": None, "max_memory": None}
