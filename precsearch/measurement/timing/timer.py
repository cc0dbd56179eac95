"""Times engines beside FP32's, and again where a conclusion rests on a timing."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from statistics import median

from precsearch.core.backend import Backend, Session
from precsearch.core.trial import Latency
from precsearch.measurement.config import Rival
from precsearch.measurement.timing.apart import agree, together
from precsearch.measurement.timing.latency import (
    Load,
    Surroundings,
    TimingOptions,
    against_itself,
    compare,
    head_to_head,
    noise_floor,
)
from precsearch.system.disturbance import Patience, Watches

__all__ = ["EngineTimer", "surroundings"]

_TWINS = 3
_ALIKE = 1.2
_MOST_TIMINGS = 3

Open = Callable[[], Session]


class EngineTimer:
    """Holds a session of the FP32 engine.

    Args:
        open_fp32: Opens one.
        loads: What is timed.
        noise: Relative noise of latency; 0 before it is known.
        options: How long to time.
        around: Who else is on the device.
        sleep: Waits.
    """

    def __init__(
        self,
        open_fp32: Open,
        loads: Sequence[Load],
        noise: float,
        options: TimingOptions,
        around: Surroundings,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._open_fp32 = open_fp32
        self._session: Session | None = None
        self.loads = tuple(loads)
        self.noise = noise
        self._options = options
        self._around = around
        self._sleep = sleep
        self._latency: Latency | None = None

    def adopt(self, loads: Sequence[Load], noise: float, options: TimingOptions) -> None:
        """Go on with other inputs; the session of FP32 is kept."""
        self.loads, self.noise, self._options = tuple(loads), noise, options

    def warm_up(self) -> None:
        """Open the FP32 engine, if it is not open.

        Raises:
            BuildError: It does not open.
        """
        self._fp32()

    def calibrate(self) -> float:
        """Time the FP32 engine against itself; the relative floor under which all is a tie.

        The median over several newly opened twins: two sessions of one engine differ by what their
        memory happens to look like. Slow engines have fewer twins, and so have those whose first
        two floors nearly agree: the median of three lies between any two of them.

        Raises:
            RunError: The engine failed.
        """
        floors: list[float] = []
        spent = 0.0
        while len(floors) < _TWINS and spent < self._options.seconds and not _alike(floors):
            before, twin = self._fp32(), self._open_fp32()
            try:
                floor, self._latency = noise_floor(
                    twin, before, self.loads, self._options, self._around
                )
            except BaseException:
                twin.close()
                raise
            self._replace(twin)
            floors.append(floor)
            spent += 2 * self._latency.seconds * (self._latency.rounds + self._latency.dropped)
        self.noise = max(floors) if _alike(floors) else median(floors)
        return self.noise

    def fp32(self) -> Latency:
        """FP32's latency, whose ratio to itself is 1.

        Raises:
            RunError: The engine failed.
        """
        if self._latency is None:
            self.calibrate()
        assert self._latency is not None
        return against_itself(self._latency)

    def once(self, session: Session, rival: Rival | None, *, rough: bool = False) -> Latency:
        """Time an engine; see `precsearch.measurement.timing.latency.compare`.

        Raises:
            RunError: An engine failed.
        """
        best = None if rival is None else rival.ratio
        return compare(
            session,
            self._fp32(),
            self.loads,
            self.noise,
            self._options,
            self._around,
            best=best,
            rough=rough,
        )

    def again(self, open_engine: Open, first: Latency, rival: Rival | None) -> Latency:
        """A timing, and another one with both engines newly opened; a third if they disagree.

        An engine that is not clearly faster than FP32 would end a search, so a pause comes before
        its next timing.

        Raises:
            BuildError: The engine does not open.
            RunError: An engine failed.
        """
        timings = [first]
        while len(timings) < _MOST_TIMINGS:
            if first.ratio_high >= 1 - self.noise:
                self._sleep(self._options.apart_seconds)
            self._replace(self._open_fp32())
            session = open_engine()
            try:
                timings.append(self.once(session, rival))
            finally:
                session.close()
            if len(timings) == 2 and agree(timings[0], timings[1], self.noise):
                break
        return together(timings, self.noise)

    def side_by_side(self, sessions: Sequence[Session]) -> tuple[Latency, ...]:
        """All in the same rounds; see `precsearch.measurement.timing.latency.head_to_head`.

        Raises:
            RunError: An engine failed.
        """
        return head_to_head(sessions, self._fp32(), self.loads, self._options, self._around)

    def _fp32(self) -> Session:
        if self._session is None:
            self._session = self._open_fp32()
        return self._session

    def _replace(self, session: Session) -> None:
        if self._session is not None:
            self._session.close()
        self._session = session


def _alike(floors: Sequence[float]) -> bool:
    """Whether there are two, and no third one could move their median by much."""
    return len(floors) == 2 and max(floors) <= _ALIKE * min(floors)


def surroundings(backend: Backend) -> Surroundings:
    """Who else is on a backend's device, where the backend can tell."""
    if not isinstance(backend, Watches):
        return Surroundings()
    return Surroundings(backend.watch(), Patience())
