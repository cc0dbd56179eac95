"""The latency protocol: engines interleaved in random order, medians of rounds, paired ratios.

Samples are kept, intervals come from a bootstrap over rounds, and a difference inside the noise of
an A/A pair is a tie. Nothing here knows a backend. See ``docs/timing.md``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from precsearch.core.backend import Session
from precsearch.core.trial import Latency
from precsearch.measurement.timing.rounds import (
    Interleaved,
    Load,
    Samples,
    Surroundings,
    TimingOptions,
)

__all__ = [
    "Load",
    "Surroundings",
    "TimingOptions",
    "against_itself",
    "compare",
    "head_to_head",
    "noise_floor",
]

_RESAMPLES = 400
_QUANTILES = (0.025, 0.975)
_FLOOR = 0.005
_RESOLUTION = 0.01
"""Nothing in a search is timed more sharply than this: what ships is timed again at its end."""
_ALONE = Surroundings()


def _interval(values: Samples, seed: int) -> tuple[float, float, float]:
    """Median and bootstrap 95 % interval of it."""
    rng = np.random.default_rng(seed)
    drawn = values[rng.integers(0, len(values), (_RESAMPLES, len(values)))]
    low, high = np.quantile(np.median(drawn, axis=1), _QUANTILES)
    return float(np.median(values)), float(low), float(high)


def _latency(
    candidate: Samples,
    baseline: Samples,
    loads: Sequence[Load],
    options: TimingOptions,
    timed: Interleaved,
) -> Latency:
    """What medians of shape ``(loads, rounds)`` say."""
    weights = np.asarray([load.weight for load in loads])
    shares = weights / weights.sum()
    by_shape = tuple(
        load.latency(float(share), float(np.median(a)), float(np.median(a / b)))
        for load, share, a, b in zip(loads, shares, candidate, baseline, strict=True)
    )
    candidate, baseline = shares @ candidate, shares @ baseline
    ratio, ratio_low, ratio_high = _interval(candidate / baseline, options.seed)
    seconds, low, high = _interval(candidate, options.seed)
    return Latency(
        seconds=seconds,
        low=low,
        high=high,
        ratio=ratio,
        ratio_low=ratio_low,
        ratio_high=ratio_high,
        samples=tuple(candidate.tolist()),
        baseline=tuple(baseline.tolist()),
        by_shape=by_shape,
        dropped=timed.dropped,
        unsure=timed.doubts(),
    )


def compare(
    candidate: Session,
    baseline: Session,
    loads: Sequence[Load],
    noise: float,
    options: TimingOptions,
    around: Surroundings = _ALONE,
    *,
    best: float | None = None,
    rough: bool = False,
) -> Latency:
    """Time a candidate against the FP32 engine, as long as it takes to tell them apart.

    It ends once the candidate is clearly faster or slower and its ratio is known to 1 % (to the
    noise, if that is more), or once it is as fast as FP32 by that measure. With ``best`` this is a
    race: it also ends once the candidate cannot be faster than the best engine, or is as fast as
    that one.

    Args:
        candidate: The engine in question.
        baseline: The FP32 engine.
        loads: Inputs; both engines get the same in a round.
        noise: Relative difference that counts as a tie.
        options: Rounds.
        around: Who else is on the device.
        best: Ratio of the fastest engine so far that could be chosen, if there is one.
        rough: Whether half of the rounds before the first look are enough, whatever they say.

    Raises:
        RunError: An engine failed.
    """
    timed = Interleaved([candidate, baseline], loads, options, around)
    half = min(max(options.min_rounds, options.rounds // 2), options.rounds)
    early = half if rough or best is not None else options.rounds
    rounds = timed.run(early)
    while True:
        latency = _latency(rounds[0], rounds[1], loads, options, timed)
        total = latency.rounds + latency.dropped
        if rough or timed.over or total >= options.max_rounds or _lost(latency, noise, best):
            return latency
        if total >= options.rounds and _settled(latency, noise, best):
            return latency
        step = options.rounds - total if total < options.rounds else options.rounds
        rounds = timed.run(min(step, options.max_rounds - total))


def _lost(latency: Latency, noise: float, best: float | None) -> bool:
    """Whether the candidate cannot be faster than the best engine."""
    return best is not None and latency.ratio_low > best * (1 + max(noise, _RESOLUTION))


def _settled(latency: Latency, noise: float, best: float | None) -> bool:
    """Whether more rounds could not change what is concluded."""
    noise = max(noise, _RESOLUTION)
    low, high = latency.ratio_low, latency.ratio_high
    lines = (1.0,) if best is None else (1.0, best)
    if any(line * (1 - noise) <= low and high <= line * (1 + noise) for line in lines):
        return True
    outside = low > 1 + noise or high < 1 - noise
    return outside and high - low <= 2 * noise * latency.ratio


def against_itself(baseline: Latency) -> Latency:
    """The FP32 engine's latency as a candidate: its ratio to itself is 1 by definition."""
    by_shape = tuple(replace(each, ratio=1.0) for each in baseline.by_shape)
    return replace(baseline, ratio=1.0, ratio_low=1.0, ratio_high=1.0, by_shape=by_shape, apart=())


def head_to_head(
    candidates: Sequence[Session],
    baseline: Session,
    loads: Sequence[Load],
    options: TimingOptions,
    around: Surroundings = _ALONE,
) -> tuple[Latency, ...]:
    """All candidates and the FP32 engine in the same rounds.

    Raises:
        RunError: An engine failed.
    """
    timed = Interleaved([*candidates, baseline], loads, options, around)
    rounds = timed.run(options.rounds)
    return tuple(_latency(row, rounds[-1], loads, options, timed) for row in rounds[:-1])


def noise_floor(
    first: Session,
    second: Session,
    loads: Sequence[Load],
    options: TimingOptions,
    around: Surroundings = _ALONE,
) -> tuple[float, Latency]:
    """How far two sessions of the same engine seem to differ, and the first one's latency.

    The floor is the end of the ratio's interval that is farther from 1, at least 0.5 %. It has no
    upper limit: a machine on which nothing can be told apart is shown as one.

    Raises:
        RunError: An engine failed.
    """
    timed = Interleaved([first, second], loads, options, around)
    rounds = timed.run(2 * options.rounds)
    latency = _latency(rounds[0], rounds[1], loads, options, timed)
    floor = max(abs(math.log(latency.ratio_low)), abs(math.log(latency.ratio_high)))
    return max(floor, _FLOOR), latency
