"""What the worker process does for a replay: it builds one engine, and measures nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from precsearch.backend import Backend, BackendOptions, Fingerprint

__all__ = ["Engine", "Maker", "open_maker"]


@dataclass(frozen=True)
class Engine:
    """A built engine.

    Attributes:
        artifact: Its bytes.
        anatomy: What it is made of, see `precsearch.backend.Backend.anatomy`.
    """

    artifact: bytes
    anatomy: tuple[str, ...]


class Maker:
    """Builds engines with a backend."""

    def __init__(self, backend: Backend, announce: Callable[[str], None]) -> None:
        self._backend = backend
        self._announce = announce

    def fingerprint(self) -> Fingerprint:
        """Versions and device."""
        return self._backend.fingerprint()

    def make(self, model: bytes) -> Engine:
        """Build an engine from a lowered model.

        Raises:
            BuildError: The backend refused it.
        """
        self._announce("build")
        artifact = self._backend.build(model)
        return Engine(artifact, self._backend.anatomy(artifact))


def open_maker(
    factory: Callable[[BackendOptions], Backend],
    options: BackendOptions,
    announce: Callable[[str], None],
) -> Maker:
    """What a worker serves."""
    return Maker(factory(options), announce)
