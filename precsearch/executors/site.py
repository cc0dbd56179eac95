"""`Site`: the files of a search on another host."""

from __future__ import annotations

import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from precsearch.core.device import DeviceSpec
from precsearch.executors.model_files import ModelFiles
from precsearch.measurement.place import Place

__all__ = ["ROOT", "Site"]

ROOT = "~/.cache/precsearch"
"""Folder of all sites, in a user's home."""


@dataclass(frozen=True, slots=True)
class Site:
    """A folder on a host, named after the model's digest, that holds the model and its weights.

    Attributes:
        digest: Of the model with its weights, as hex.
        files: Name of each file, relative to the model's folder, and its SHA-256, as hex; the model
            comes first..
        root: Folder of all sites, in which ``~`` is the user's home there.
    """

    digest: str
    files: tuple[tuple[str, str], ...]
    root: str = ROOT

    @classmethod
    def of(cls, files: ModelFiles, root: str = ROOT) -> Site:
        """What another host needs of a model.

        Raises:
            OSError: A file cannot be read.
        """
        paths = (files.model, *files.external)
        rows = tuple((str(p.relative_to(files.model.parent)), _sha256(p)) for p in paths)
        return cls(files.digest, rows, root)

    @property
    def folder(self) -> Path:
        """Where the model's folder is, on the host that asks."""
        return Path(self.root).expanduser() / "models" / self.digest[:32]

    def missing(self) -> tuple[str, ...]:
        """Names of the files that are not there yet."""
        return tuple(name for name, _ in self.files if not (self.folder / name).is_file())

    def put(self, name: str, data: bytes) -> None:
        """Write a file of the model, whole.

        Raises:
            ValueError: It is none of the model's, or its bytes are others.
            OSError: It cannot be written.
        """
        if dict(self.files).get(name) != hashlib.sha256(data).hexdigest():
            raise ValueError(f"{name!r} is no file of this model")
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, scratch = tempfile.mkstemp(dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            Path(scratch).replace(path)
        except BaseException:
            Path(scratch).unlink(missing_ok=True)
            raise

    def place(self, device: DeviceSpec, *, shared: bool) -> Place:
        """Where a service finds the model, and keeps what belongs to a device."""
        run = Path(self.root).expanduser() / "runs" / self.digest[:32]
        run.mkdir(parents=True, exist_ok=True)
        external = len(self.files) > 1
        return Place(
            model=str(self.folder / self.files[0][0]),
            weights=str(self.folder) if external else "",
            build_cache=str(run / f"build-{device.file_stem}.cache"),
            engines=str(run / "engines"),
            lock=str(run / f"device-{device.file_stem}.lock") if shared else None,
        )


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()
