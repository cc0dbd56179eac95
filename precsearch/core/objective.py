"""What is minimized, and what an engine must not exceed beside the loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import Enum
from types import MappingProxyType

from precsearch.core.errors import OptionError

__all__ = ["NO_LIMITS", "Limits", "Objective", "Timing"]


class Timing(str, Enum):
    """Which number of the times of many inferences is an engine's latency."""

    MEDIAN = "median"
    MEAN = "mean"
    P95 = "p95"
    P99 = "p99"

    @property
    def quantile(self) -> float | None:
        """The share of inferences that are at most as slow; ``None`` for the mean."""
        return {"median": 0.5, "p95": 0.95, "p99": 0.99}.get(self.value)

    @property
    def inferences(self) -> int:
        """Inferences in a row without which the number means nothing."""
        return {"mean": 20, "p95": 20, "p99": 100}.get(self.value, 1)


class Objective(str, Enum):
    """What a search minimizes. The value is the label on the command line and in a plan."""

    LATENCY = "latency"
    """The median time of an inference."""
    MEAN = "mean"
    P95 = "p95"
    P99 = "p99"
    SIZE = "size"
    """The bytes of what is shipped. Engines are timed, and their time decides nothing."""

    @classmethod
    def named(cls, name: str) -> Objective:
        """The objective with this label.

        Raises:
            OptionError: There is none.
        """
        try:
            return cls(name)
        except ValueError:
            known = ", ".join(o.value for o in cls)
            raise OptionError(f"there is no objective {name!r}; use {known}") from None

    @property
    def timing(self) -> Timing:
        """Which number of its times is an engine's latency."""
        return Timing(self.value) if self.value in _TIMINGS else Timing.MEDIAN

    @property
    def words(self) -> str:
        """What is minimized, for people."""
        return _WORDS[self]


_TIMINGS = frozenset(t.value for t in Timing)
_WORDS: Mapping[Objective, str] = MappingProxyType(
    {
        Objective.LATENCY: "latency",
        Objective.MEAN: "mean latency",
        Objective.P95: "95th percentile of the latency",
        Objective.P99: "99th percentile of the latency",
        Objective.SIZE: "size",
    }
)


@dataclass(frozen=True, slots=True)
class Limits:
    """What an engine must not exceed; ``None`` is no limit.

    Attributes:
        seconds: Of one inference, by the number that the objective names.
        size: Bytes of what is shipped.
        memory: Bytes of host memory that a process needs to open the engine and to run it.
    """

    seconds: float | None = None
    size: int | None = None
    memory: int | None = None

    def __post_init__(self) -> None:
        for name, value in self.given.items():
            if not value > 0:
                raise OptionError(f"a limit of {name} must be positive, not {value}")

    @property
    def given(self) -> dict[str, float]:
        """The limits that there are, by name."""
        limits = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: value for name, value in limits.items() if value is not None}

    def broken(
        self, seconds: float | None = None, size: int | None = None, memory: int | None = None
    ) -> tuple[str, ...]:
        """Limits that an engine breaks, half a sentence each; what is not known breaks none.

        Args:
            seconds: Of one inference.
            size: Bytes of what is shipped.
            memory: Bytes that it needs to run.
        """
        broken = []
        if seconds is not None and self.seconds is not None and seconds > self.seconds:
            broken.append(f"it takes {seconds * 1e3:.3g} ms, more than {self.seconds * 1e3:.3g} ms")
        if size is not None and self.size is not None and size > self.size:
            broken.append(f"it has {size:,} bytes, more than {self.size:,}")
        if memory is not None and self.memory is not None and memory > self.memory:
            broken.append(f"it needs {memory:,} bytes of memory, more than {self.memory:,}")
        return tuple(broken)

    def over(self, other: Limits) -> Limits:
        """These limits, and those of ``other`` where there is none here."""
        return Limits(**{**other.given, **self.given})  # type: ignore[arg-type]  # by name


NO_LIMITS = Limits()
