"""What a backend offers that has a model format of its own, which any machine can read."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

__all__ = ["TellsHowToLoad", "WritesPortableModel"]


@runtime_checkable
class TellsHowToLoad(Protocol):
    """A backend that knows how an application opens what it ships."""

    def how_to_load(self, path: str) -> tuple[str, ...]:
        """Lines of Python that open and run a file, none if it is not the backend's to open."""
        ...


@runtime_checkable
class WritesPortableModel(Protocol):
    """A backend whose engines can be shipped as a model in the engine's own format.

    Such a file does not depend on the device, unlike an engine.
    """

    portable_suffixes: tuple[str, ...]
    """Of the files that make up one model, the one to name first: ``(".xml", ".bin")``."""

    def portable(self, model: bytes) -> tuple[bytes, ...]:
        """The content of each file, for a lowered ONNX model; equal for equal models.

        Raises:
            BuildError: The model was refused.
        """
        ...

    def how_to_load(self, path: str) -> tuple[str, ...]:
        """Lines of Python that open the file as it was measured."""
        ...
