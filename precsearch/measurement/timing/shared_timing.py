"""Timing engines of several backends against each other, in one process and in the same rounds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from precsearch.core.backend import Backend, BackendOptions
from precsearch.core.trial import Latency
from precsearch.measurement.place import Place
from precsearch.measurement.timing.latency import Load, Surroundings, TimingOptions, head_to_head
from precsearch.system.disturbance import Patience, Watches

__all__ = ["SharedEngine", "SharedTiming", "open_shared_timing"]


@dataclass(frozen=True)
class SharedEngine:
    """An engine of some backend.

    Attributes:
        backend: Constructs the backend.
        options: Its options, without the paths of one machine.
        model: The lowered model, serialized.
    """

    backend: Callable[[BackendOptions], Backend]
    options: BackendOptions
    model: bytes


class SharedTiming:
    """Builds engines and times them side by side."""

    def __init__(
        self, place: Place, loads: tuple[Load, ...], announce: Callable[[str], None]
    ) -> None:
        self._place = place
        self._loads = loads
        self._announce = announce

    def measure(
        self, engines: Sequence[SharedEngine], baseline: SharedEngine
    ) -> tuple[Latency, ...]:
        """The latency of each engine, relative to the baseline's in the same rounds.

        Raises:
            BuildError: A backend refused a model.
            RunError: An engine failed.
        """
        self._announce("build")
        sessions = []
        watch = Surroundings()
        for engine in (*engines, baseline):
            place = self._place
            here = replace(engine.options, model_folder=place.weights, cache=place.build_cache)
            backend = engine.backend(here)
            sessions.append(backend.open(backend.build(engine.model)))
            if isinstance(backend, Watches):
                watch = Surroundings(backend.watch(), Patience())
        self._announce("time")
        try:
            return head_to_head(sessions[:-1], sessions[-1], self._loads, TimingOptions(), watch)
        finally:
            for session in sessions:
                session.close()


def open_shared_timing(
    place: Place, loads: tuple[Load, ...], announce: Callable[[str], None]
) -> SharedTiming:
    """What a worker serves that times engines of several backends."""
    return SharedTiming(place, loads, announce)
