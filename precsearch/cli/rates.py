"""Samples per second, for each set of input shapes."""

from __future__ import annotations

from precsearch.cli.text import clean, magnitude, milliseconds, speedup
from precsearch.trial import Latency, ShapeLatency

__all__ = ["rate_rows"]


def rate_rows(latency: Latency) -> list[tuple[str, str]]:
    """A row for the facts of a run; with several sets of shapes one for each."""
    if len(latency.by_shape) < 2:
        return [("rate", _rate(s)) for s in latency.by_shape]
    return [("rate" if i == 0 else "", _told(s)) for i, s in enumerate(latency.by_shape)]


def _rate(found: ShapeLatency) -> str:
    return f"{magnitude(round(found.samples_per_second))} samples/s"


def _told(found: ShapeLatency) -> str:
    shapes = " ".join(f"{n}:{'x'.join(map(str, s))}" for n, s in found.shapes.items())
    return (
        f"{clean(shapes)}: {_rate(found)}, {milliseconds(found.seconds)}, "
        f"{speedup(found.ratio)} FP32's speed, weight {found.weight:.2g}"
    )
