"""Rounds in which several engines are timed in turn, without those that something disturbed."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from precsearch.core.backend import Feed, Session
from precsearch.core.objective import Timing
from precsearch.core.trial import ShapeLatency
from precsearch.system.disturbance import NoWatch, Patience, Seen, Watch

__all__ = ["BUSY", "Interleaved", "Load", "Samples", "Surroundings", "TimingOptions"]

Samples = npt.NDArray[np.float64]

BUSY = "something else uses this machine"

_FEEDS = 8
_LOOKS = 3
_LONG_S = 0.05
_STILL = 0.05
"""A round in which engines waited for less than this share of their time was not disturbed."""
_TRIES = 2
"""Tries for each round that is wanted."""
_IN_A_ROW = 4
"""So many disturbed rounds in a row: rounds get shorter, and there is a pause."""
_FEWEST_REPEATS = 5
_WARMING = 0.1
"""Share of the time of a comparison that goes into rounds that are thrown away, at most."""


@dataclass(frozen=True, slots=True)
class TimingOptions:
    """How long to time.

    Attributes:
        rounds: Rounds before the first look at the interval.
        max_rounds: Rounds after which a comparison ends undecided.
        round_seconds: Time that one engine runs within a round; at least one inference.
        warmup: Rounds that are thrown away.
        seed: Of the order within rounds and of the bootstrap.
        seconds: Time that two engines run in a comparison, at most; more engines get as much each.
            A comparison that takes longer ends with the rounds that it has.
        min_rounds: Rounds that it has in any case.
        apart_seconds: Pause before an engine is timed again that a conclusion would rest on.
        timing: Which number of the times within a round counts. For a percentile, a round has as
            many inferences as it takes to see one that slow.
    """

    rounds: int = 20
    max_rounds: int = 160
    round_seconds: float = 0.004
    warmup: int = 2
    seed: int = 0
    seconds: float = 6.0
    min_rounds: int = 5
    apart_seconds: float = 1.0
    timing: Timing = Timing.MEDIAN


@dataclass(frozen=True)
class Surroundings:
    """What is known of others on the device.

    Attributes:
        watch: Tells whether something disturbed a timing.
        patience: How long to wait for that to end.
    """

    watch: Watch = field(default_factory=NoWatch)
    patience: Patience = field(default_factory=lambda: Patience(0.0, share=0.0))


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
    """How often an engine runs in a round, by the fastest of several runs."""
    looks: list[float] = []
    while len(looks) < 2 * _LOOKS and sum(looks) < _LONG_S:
        looks += session.time(feed, 2 if looks else 1)
        if len(looks) >= _LOOKS and min(looks) >= options.round_seconds:
            break  # once a round, however fast further runs are
    return max(1, min(64, round(options.round_seconds / max(min(looks), 1e-7))))


class Interleaved:
    """Times several sessions round by round.

    A disturbed round is dropped, and another one made in its place. If they come in a row, rounds
    get shorter, so that they fit between two disturbances, and there are pauses, while patience
    lasts. Where the device does not become quiet, the least disturbed rounds stand, less the time
    that is known to be lost, and `doubts` says so.

    Args:
        sessions: The engines.
        loads: What they run.
        options: How long.
        around: Who else is on the device.

    Raises:
        RunError: An engine failed.
    """

    def __init__(
        self,
        sessions: Sequence[Session],
        loads: Sequence[Load],
        options: TimingOptions,
        around: Surroundings,
    ) -> None:
        self._sessions = sessions
        self._loads = loads
        self._options = options
        self._around = around
        self._order = random.Random(options.seed)
        self._left = options.seconds * len(sessions) / 2
        # The same number of inferences for all: a longer row would run with warmer caches.
        self._repeats = [
            max(
                min(_repeats(s, load.feeds[0], options) for s in sessions),
                options.timing.inferences,
            )
            for load in loads
        ]
        self._still: list[list[list[float]]] = []
        self._disturbed: list[tuple[float, list[list[float]]]] = []
        warm = self._left * (1 - _WARMING)
        for _ in range(options.warmup):
            if self._left > warm:
                self._round(0)

    @property
    def _made(self) -> int:
        return len(self._still) + len(self._disturbed)

    @property
    def _quiet(self) -> bool:
        """Whether there are enough rounds that nothing disturbed."""
        least = max(self._options.min_rounds, self._options.rounds // 2)
        return not self._disturbed or len(self._still) >= min(least, self._options.rounds)

    @property
    def over(self) -> bool:
        """Whether the time is used up."""
        return self._left <= 0 and self._made >= self._options.min_rounds

    @property
    def dropped(self) -> int:
        """Disturbed rounds that do not count."""
        return self._made - len(self._kept())

    def doubts(self) -> tuple[str, ...]:
        """Why the rounds should not be trusted; mostly nothing."""
        if self._quiet:
            return ()
        sentence = f"{len(self._disturbed)} of {self._made} rounds were disturbed"
        return (f"{BUSY} ({sentence})",)

    def run(self, rounds: int) -> Samples:
        """Medians so far (or what `TimingOptions.timing` names), after ``rounds`` more.

        Returns:
            Seconds, shape ``(sessions, loads, rounds)``.
        """
        target, tries, row = len(self._still) + rounds, 0, 0
        while len(self._still) < target and tries < _TRIES * rounds and not self.over:
            tries += 1
            share, medians = self._round(self._made)
            if share <= _STILL:
                self._still.append(medians)
                row = 0
                continue
            self._disturbed.append((share, medians))
            row += 1
            if row % _IN_A_ROW == 0:
                least = max(_FEWEST_REPEATS, self._options.timing.inferences)
                self._repeats = [max(min(r, least), r // 2) for r in self._repeats]
                self._around.patience.wait(row // _IN_A_ROW - 1)
        samples: Samples = np.asarray(self._kept(), np.float64).T
        return samples

    def _kept(self) -> list[list[list[float]]]:
        if self._quiet:
            return self._still
        missing = max(self._options.rounds - len(self._still), 0)
        return self._still + [m for _, m in sorted(self._disturbed, key=_share)[:missing]]

    def _round(self, number: int) -> tuple[float, list[list[float]]]:
        """The share of time that was lost in the worst timing, and medians by load and session."""
        worst, times = 0.0, []
        for load, repeats in zip(self._loads, self._repeats, strict=True):
            medians = [0.0] * len(self._sessions)
            order = list(range(len(self._sessions)))
            self._order.shuffle(order)
            for position in order:
                feed = load.feeds[number % len(load.feeds)]
                self._around.watch.look()
                seconds = self._sessions[position].time(feed, repeats)
                seen = self._around.watch.look()
                lost, medians[position] = _judged(seconds, seen, self._options.timing)
                worst = max(worst, lost)
                self._left -= sum(seconds)
                self._around.patience.worked(sum(seconds))
            times.append(medians)
        return worst, times


def _share(disturbed: tuple[float, list[list[float]]]) -> float:
    return disturbed[0]


_CENTRES = (Timing.MEDIAN, Timing.MEAN)


def _judged(seconds: Sequence[float], seen: Seen, timing: Timing) -> tuple[float, float]:
    """The share of the time of some inferences that was lost, and how long one takes.

    Time that is known to be lost is taken off a median or a mean; of a percentile, nobody knows
    which inferences lost it.
    """
    took = sum(seconds)
    quantile = timing.quantile
    one = float(np.mean(seconds) if quantile is None else np.quantile(seconds, quantile))
    share = seen.waited / max(took, 1e-9)
    if share > _STILL and seen.known and timing in _CENTRES:
        one = min(one, max(took - seen.waited, 0.0) / len(seconds)) or one
    return (float("inf") if seen.others else share), one
