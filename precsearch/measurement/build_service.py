"""What the worker process does for a replay: it builds one engine, and measures nothing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace

from precsearch.core.backend import (
    Backend,
    BackendOptions,
    ChoosesTactics,
    Fingerprint,
    TellsPrecisions,
)
from precsearch.core.backend.old_names import layer_summary
from precsearch.core.backend.portable import WritesPortableModel
from precsearch.core.errors import BuildError
from precsearch.core.precision import Precision
from precsearch.measurement.place import Place

__all__ = ["BUILD_LIMIT_S", "BuildService", "Engine", "engine_of", "open_build_service"]

BUILD_LIMIT_S = 3600.0
"""Longest build outside of a search. One that takes longer hangs."""


@dataclass(frozen=True)
class Engine:
    """A built engine.

    Attributes:
        artifact: Its bytes.
        layer_summary: What it is made of, see `precsearch.core.backend.Backend.layer_summary`.
        tactics: What the backend chose by timing, this engine's choices among them; empty where it
            does not tell.
        ran: Product → precision that it runs in, see `precsearch.core.backend.TellsPrecisions`;
            empty where the backend does not tell.
        fused: Attention cores that one kernel computes, of all; see the same.
    """

    artifact: bytes
    layer_summary: tuple[str, ...]
    tactics: Mapping[str, str] = field(default_factory=dict)
    ran: Mapping[str, Precision | None] = field(default_factory=dict)
    fused: tuple[int, int] = (0, 0)


def engine_of(backend: Backend, artifact: bytes, products: Collection[str]) -> Engine:
    """An engine that a backend built, with what is known of it.

    Args:
        backend: Whose engine.
        artifact: The engine.
        products: Names of the products of its model.

    Raises:
        BuildError: It was refused.
    """
    tactics = backend.tactics() if isinstance(backend, ChoosesTactics) else {}
    layers = layer_summary(backend, artifact)
    if not isinstance(backend, TellsPrecisions):
        return Engine(artifact, layers, tactics)
    ran, fused = backend.precisions_of(artifact, products), backend.fused_attention(artifact)
    return Engine(artifact, layers, tactics, ran, fused)


class BuildService:
    """Builds engines with a backend."""

    def __init__(self, backend: Backend, announce: Callable[[str], None]) -> None:
        self._backend = backend
        self._announce = announce

    def fingerprint(self) -> Fingerprint:
        """Versions and device."""
        return self._backend.fingerprint()

    def make(
        self, model: bytes, tactics: Mapping[str, str], products: Collection[str] = ()
    ) -> Engine:
        """Build an engine from a lowered model.

        Args:
            model: Serialized.
            tactics: Kernels to use again where they can be had, chosen on this kind of device.
            products: Names of its products, to be told what these run in.

        Raises:
            BuildError: The backend refused it.
        """
        self._announce("build")
        if isinstance(self._backend, ChoosesTactics):
            self._backend.hold(tactics)
        return engine_of(self._backend, self._backend.build(model), products)

    def portable(self, model: bytes) -> tuple[bytes, ...]:
        """A lowered model in the backend's own format, see `WritesPortableModel.portable`.

        Raises:
            BuildError: The backend refused it, or has no such format.
        """
        self._announce("build")
        if not isinstance(self._backend, WritesPortableModel):
            raise BuildError(f"the {self._backend.name} backend has no model format of its own")
        return self._backend.portable(model)


def open_build_service(
    place: Place,
    factory: Callable[[BackendOptions], Backend],
    options: BackendOptions,
    announce: Callable[[str], None],
) -> BuildService:
    """What a worker serves that only builds.

    Args:
        place: Where the external weights are on this host.
        factory: Constructs the backend.
        options: Its options, without the paths of one machine.
        announce: Is told the name of each stage as it begins.
    """
    here = replace(options, model_folder=place.weights, cache=place.build_cache)
    return BuildService(factory(here), announce)
