"""The latency protocol: engines interleaved in random order, medians of rounds, paired ratios.

Samples are kept, intervals come from a bootstrap over rounds, and a difference inside the noise of
an A/A pair is a tie. Nothing here knows a backend.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from precsearch.backend import Feed, Session
from precsearch.trial import Latency, ShapeLatency

__all__ = ["Load", "TimingOptions", "against_itself", "compare", "head_to_head", "noise_floor"]

Samples = npt.NDArray[np.float64]

_FEEDS = 8
_RESAMPLES = 400
_QUANTILES = (0.025, 0.975)


@dataclass(frozen=True, slots=True)
class TimingOptions:
    """How long to time.

    Attributes:
        rounds: Rounds before the first look at the interval.
        max_rounds: Rounds after which a comparison ends undecided.
        round_seconds: Time that one engine runs within a round; at least one inference.
        warmup: Rounds that are thrown away.
        seed: Of the order within rounds and of the bootstrap.
    """

    rounds: int = 20
    max_rounds: int = 160
    round_seconds: float = 0.004
    warmup: int = 2
    seed: int = 0


@dataclass(frozen=True)
class Load:
    """What is timed: feeds of equal shapes.

    Attributes:
        feeds: Taken in turn, one a round.
        weight: How much these shapes count beside others.
        samples: Samples in one of them.
    """

    feeds: Sequence[Feed]
    weight: float = 1.0
    samples: int = 1

    @classmethod
    def spread(cls, feeds: Sequence[Feed], samples: int, weight: float = 1.0) -> Load:
        """A few feeds from all over the data."""
        step = max(1, len(feeds) // _FEEDS)
        return cls(feeds[::step][:_FEEDS], weight, samples)

    def latency(self, share: float, seconds: float, ratio: float) -> ShapeLatency:
        """What was measured of it."""
        shapes = {name: tuple(array.shape) for name, array in sorted(self.feeds[0].items())}
        return ShapeLatency(shapes, share, self.samples, seconds, ratio)


def _repeats(session: Session, feed: Feed, options: TimingOptions) -> int:
    first = min(session.time(feed, 2))
    return max(1, min(64, round(options.round_seconds / max(first, 1e-7))))


class _Interleaved:
    """Times several sessions round by round."""

    def __init__(
        self, sessions: Sequence[Session], loads: Sequence[Load], options: TimingOptions
    ) -> None:
        self._sessions = sessions
        self._loads = loads
        self._order = random.Random(options.seed)
        # The same number of inferences for all: a longer row would run with warmer caches.
        self._repeats = [
            min(_repeats(s, load.feeds[0], options) for s in sessions) for load in loads
        ]
        self._rounds: list[list[list[float]]] = []
        for _ in range(options.warmup):
            self._round(0)

    def _round(self, number: int) -> list[list[float]]:
        return [
            self._medians(load.feeds[number % len(load.feeds)], repeats)
            for load, repeats in zip(self._loads, self._repeats, strict=True)
        ]

    def _medians(self, feed: Feed, repeats: int) -> list[float]:
        medians = [0.0] * len(self._sessions)
        order = list(range(len(self._sessions)))
        self._order.shuffle(order)
        for position in order:
            medians[position] = float(np.median(self._sessions[position].time(feed, repeats)))
        return medians

    def run(self, rounds: int) -> Samples:
        """Medians so far, shape ``(sessions, loads, rounds)``, after ``rounds`` more."""
        for _ in range(rounds):
            self._rounds.append(self._round(len(self._rounds)))
        medians: Samples = np.asarray(self._rounds, np.float64).T
        return medians


def _interval(values: Samples, seed: int) -> tuple[float, float, float]:
    """Median and bootstrap 95 % interval of it."""
    rng = np.random.default_rng(seed)
    drawn = values[rng.integers(0, len(values), (_RESAMPLES, len(values)))]
    low, high = np.quantile(np.median(drawn, axis=1), _QUANTILES)
    return float(np.median(values)), float(low), float(high)


def _latency(
    candidate: Samples, baseline: Samples, loads: Sequence[Load], options: TimingOptions
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
    )


def compare(
    candidate: Session,
    baseline: Session,
    loads: Sequence[Load],
    noise: float,
    options: TimingOptions,
) -> Latency:
    """Time a candidate against the FP32 engine, as long as it takes to tell them apart.

    Args:
        candidate: The engine in question.
        baseline: The FP32 engine.
        loads: Inputs; both engines get the same in a round.
        noise: Relative difference that counts as a tie.
        options: Rounds.

    Raises:
        RunError: An engine failed.
    """
    timed = _Interleaved([candidate, baseline], loads, options)
    rounds = timed.run(options.rounds)
    while True:
        found = _latency(rounds[0], rounds[1], loads, options)
        outside = found.ratio_low > 1 + noise or found.ratio_high < 1 - noise
        sharp = found.ratio_high - found.ratio_low <= 2 * noise * found.ratio
        if (outside and sharp) or found.rounds >= options.max_rounds:
            return found
        rounds = timed.run(min(options.rounds, options.max_rounds - found.rounds))


def against_itself(baseline: Latency) -> Latency:
    """The FP32 engine's latency as a candidate: its ratio to itself is 1 by definition."""
    return replace(baseline, ratio=1.0, ratio_low=1.0, ratio_high=1.0)


def head_to_head(
    candidates: Sequence[Session],
    baseline: Session,
    loads: Sequence[Load],
    options: TimingOptions,
) -> tuple[Latency, ...]:
    """All candidates and the FP32 engine in the same rounds.

    Raises:
        RunError: An engine failed.
    """
    rounds = _Interleaved([*candidates, baseline], loads, options).run(options.rounds)
    return tuple(_latency(row, rounds[-1], loads, options) for row in rounds[:-1])


def noise_floor(
    first: Session, second: Session, loads: Sequence[Load], options: TimingOptions
) -> tuple[float, Latency]:
    """How far two sessions of the same engine seem to differ, and the first one's latency.

    The floor is the end of the ratio's interval that is farther from 1, between 0.5 and 20 %.

    Raises:
        RunError: An engine failed.
    """
    rounds = _Interleaved([first, second], loads, options).run(2 * options.rounds)
    found = _latency(rounds[0], rounds[1], loads, options)
    floor = max(abs(math.log(found.ratio_low)), abs(math.log(found.ratio_high)))
    return min(max(floor, 0.005), 0.2), found
