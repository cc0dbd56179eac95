"""How sure a speed-up is: what must be said beside it."""

from __future__ import annotations

from precsearch.core.trial import Latency

__all__ = ["doubts", "shaky"]

_WIDE = 1.5
"""Ends of an interval that differ by more than this factor leave no number to speak of."""


def doubts(latency: Latency) -> tuple[str, ...]:
    """Why a speed-up must not be told as a fact, half a sentence each; nothing if it may.

    Args:
        latency: Of an engine that is not FP32's own.
    """
    slow = () if latency.ratio_high < 1 else ("not clearly faster",)
    return (*slow, *_unclear(latency))


def shaky(latency: Latency) -> bool:
    """Whether the timing itself is in doubt, be the engine faster or slower."""
    return bool(_unclear(latency))


def _unclear(latency: Latency) -> tuple[str, ...]:
    wide = latency.ratio_high > _WIDE * latency.ratio_low
    return (*(("its timings vary too much for a number",) if wide else ()), *latency.unsure)
