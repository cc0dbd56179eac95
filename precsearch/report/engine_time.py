"""Where the time of an engine goes: by precision, into conversions, and what no group owns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from precsearch.core.precision import Precision
from precsearch.core.trial import Measurement

__all__ = ["CONVERSION", "FP32_ENGINE", "NOT_KNOWN", "NO_GROUP", "EngineTime", "engine_time"]

FP32_ENGINE = "FP32"
CONVERSION = "conversion"
NO_GROUP = "in no group"
NOT_KNOWN = "not known"


@dataclass(frozen=True, slots=True)
class EngineTime:
    """The time of one inference of an engine, by its profile.

    Attributes:
        engine: What the engine is called.
        parts: Seconds by precision label, `CONVERSION`, `NO_GROUP` and `NOT_KNOWN`, in this order;
            parts without time are left out.
    """

    engine: str
    parts: Mapping[str, float]

    @property
    def total(self) -> float:
        """Seconds of all parts."""
        return sum(self.parts.values())


def engine_time(engine: str, found: Measurement, ran: Mapping[str, Precision | None]) -> EngineTime:
    """The parts of a measured engine.

    Args:
        engine: What the engine is called.
        found: With the times of its groups.
        ran: What each group ran in, ``None`` where the engine does not tell; a group that is not
            listed ran in FP32.
    """
    parts: dict[str, float] = {}
    for key, seconds in found.group_seconds.items():
        converting = min(found.conversion_seconds.get(key, 0.0), seconds)
        precision = ran.get(key, Precision.FP32)
        label = NOT_KNOWN if precision is None else precision.value
        computed = label if key else NO_GROUP
        for name, share in ((computed, seconds - converting), (CONVERSION, converting)):
            parts[name] = parts.get(name, 0.0) + share
    order = (*(p.value for p in Precision.ordered()), CONVERSION, NO_GROUP, NOT_KNOWN)
    return EngineTime(engine, {name: parts[name] for name in order if parts.get(name, 0.0) > 0})
