"""Names of precsearch 0.1.0 that backends of plug-ins may keep for one release."""

from __future__ import annotations

from precsearch.core.backend.protocol import Backend

__all__ = ["engine_warnings", "layer_summary"]


def engine_warnings(backend: Backend, artifact: bytes) -> tuple[str, ...]:
    """See `Backend.warnings`, which was ``remarks``."""
    method = getattr(backend, "warnings", None) or getattr(backend, "remarks")  # noqa: B009
    return tuple(method(artifact))


def layer_summary(backend: Backend, artifact: bytes) -> tuple[str, ...]:
    """See `Backend.layer_summary`, which was ``anatomy``.

    Raises:
        BuildError: The engine was refused.
    """
    method = getattr(backend, "layer_summary", None) or getattr(backend, "anatomy")  # noqa: B009
    return tuple(method(artifact))
