"""Timings of one engine at times apart: whether they agree, and what they say together.

Rounds within a second do not see what changes in minutes, or from one process to the next: the
neighbours of a virtual machine, the clock rate, where memory happens to lie. Two timings that
disagree conclude nothing; a third one is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import geometric_mean, median

from precsearch.core.trial import Latency

__all__ = ["agree", "beside", "spread", "together"]

_TINY = 1e-12
_ENOUGH = 3
"""Of so many timings, two must agree."""


def agree(first: Latency, second: Latency, noise: float) -> bool:
    """Whether the intervals of two timings meet, each being widened by the noise.

    Args:
        first: One timing of an engine.
        second: Another timing of the same engine.
        noise: Relative difference that counts as a tie.
    """
    low = max(first.ratio_low, second.ratio_low)
    high = min(first.ratio_high, second.ratio_high)
    return low * (1 - noise) <= high * (1 + noise)


def together(timings: Sequence[Latency], noise: float) -> Latency:
    """What timings of one engine say together.

    The middle timing stands (of an even number the slower one of the two), and its interval is
    widened to hold the medians of all. If there are three and no two agree, it is marked unsure.

    Args:
        timings: In the order of time, at least one.
        noise: See `agree`.
    """
    if len(timings) == 1:
        return timings[0]
    row = sorted(timings, key=lambda t: t.ratio)[len(timings) // 2]
    ratios = tuple(t.ratio for t in timings)
    doubts = [reason for t in timings for reason in t.unsure]
    pairs = [(a, b) for i, a in enumerate(timings) for b in timings[:i]]
    if len(timings) >= _ENOUGH and not any(agree(a, b, noise) for a, b in pairs):
        text = ", ".join(f"{1 / r:.2f}x" if r > 0 else "?" for r in ratios)
        doubts.append(f"timings of the same engine differ: {text}")
    return replace(
        row,
        ratio_low=min(row.ratio_low, *ratios),
        ratio_high=max(row.ratio_high, *ratios),
        dropped=sum(t.dropped for t in timings),
        unsure=_once(doubts),
        apart=ratios,
    )


def _once(doubts: Sequence[str]) -> tuple[str, ...]:
    """Each cause once, as it was first said: timings differ in the figures in brackets alone."""
    return tuple({reason.partition(" (")[0]: reason for reason in reversed(doubts)}.values())[::-1]


def beside(first: Latency, second: Latency) -> tuple[float, int]:
    """Latency of one engine relative to another's, over the processes that timed both.

    In a process, both are timed in the same rounds, so that what slows all of it down drops out.

    Args:
        first: Of one engine; FP32's is 1 in every process.
        second: Of the other engine.

    Returns:
        The geometric mean over processes, and how many there are: 1 if one of the two engines was
        not timed again, and its latency in the search is all there is.
    """
    shared = [len(x.apart) for x in (first, second) if x.apart]
    again = [x.apart or x.ratio == 1.0 for x in (first, second)]
    if not shared or not all(again):
        return first.ratio / max(second.ratio, _TINY), 1
    count = min(shared)
    ratios = [x.apart[-count:] if x.apart else (1.0,) * count for x in (first, second)]
    quotients = [a / max(b, _TINY) for a, b in zip(*ratios, strict=True)]
    return geometric_mean(max(q, _TINY) for q in quotients), count


def spread(first: Latency, second: Latency | None = None) -> float:
    """How far timings of an engine lie apart: their median distance from the middle one, relative.

    Args:
        first: Of the engine.
        second: Of another one, timed in the same rounds: how far the quotient of the two lies
            apart, from which drops out what they have in common. Without it FP32 is the other.

    Returns:
        0 if there is one timing alone.
    """
    ratios = list(first.apart)
    if second is not None and first.apart and second.apart:
        count = min(len(first.apart), len(second.apart))
        pairs = zip(first.apart[-count:], second.apart[-count:], strict=True)
        ratios = [a / max(b, _TINY) for a, b in pairs]
    if len(ratios) < 2:
        return 0.0
    middle = max(median(ratios), _TINY)
    return median(abs(r - middle) for r in ratios) / middle
