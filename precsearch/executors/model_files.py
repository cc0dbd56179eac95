"""`ModelFiles`: the files of a model, which an executor makes available on each host."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from precsearch.graph.reading.read import SourceModel

__all__ = ["ModelFiles"]


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A model on the disk of the machine that a search is started on.

    Attributes:
        model: The ONNX file, resolved.
        digest: SHA-256 of the file and its external files, as hex.
        external: Its external weight files, resolved.
    """

    model: Path
    digest: str
    external: tuple[Path, ...] = ()

    @classmethod
    def of(cls, source: SourceModel) -> ModelFiles:
        """The files of a model that was read."""
        return cls(source.path.resolve(), source.digest, source.external)

    @property
    def weights(self) -> Path | None:
        """The folder that external weights are relative to; ``None`` if there are none."""
        return self.model.parent if self.external else None
