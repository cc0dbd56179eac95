"""`ArtifactStore`: built engines on disk, within a budget.

An engine that took minutes to build is kept, so that its timing, its confirmation in new processes
and a worker that replaces a crashed one need no second build. Kept in memory, the engines of a
search would fill it: a hundred engines of a model of 500 MB are 50 GB.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from precsearch.system.regular_file import read_regular

__all__ = ["BUDGET", "Artifact", "ArtifactStore"]

BUDGET = 8 << 30
"""Bytes of engines that are kept by default; a quarter of the free disk space if that is less."""

_SUFFIX = ".engine"
_PIN = ".pin"
_SEAL = 32  # bytes of the SHA-256 in front of a file
_LENGTH = 8  # bytes that say how long the notes behind it are
_MOST_BYTES = 1 << 37


@dataclass(frozen=True, slots=True)
class Artifact:
    """A kept engine.

    Attributes:
        engine: Its bytes.
        notes: What the backend knows of it beyond them.
    """

    engine: bytes
    notes: bytes = b""


class ArtifactStore:
    """Engines by the digest of what they were built from, in one folder.

    The least recently used engine is removed first. Pinned engines stay, whatever the budget.
    Several processes of one host may share a folder: engines are written whole, and a damaged file
    counts as a missing one. An engine that finds no room on the disk is not kept.

    Args:
        folder: It is made when the first engine is kept. ``None`` is a temporary folder, which
            `close` removes.
        budget: Bytes that the engines may take together.
    """

    def __init__(self, folder: str | Path | None, budget: int = BUDGET) -> None:
        self._scratch = None
        if folder is None:
            self._scratch = tempfile.TemporaryDirectory(prefix="precsearch-engines-")
            folder = self._scratch.name
        self._folder = Path(folder)
        self._budget = budget

    def get(self, digest: str) -> Artifact | None:
        """The engine, ``None`` if it is not kept (any more)."""
        path = self._path(digest)
        try:
            data = memoryview(read_regular(path, _MOST_BYTES, follow=False))
        except OSError:
            return None
        body = data[_SEAL:]
        if data[:_SEAL] != hashlib.sha256(body).digest():
            path.unlink(missing_ok=True)  # half of it was written when the power failed
            return None
        with suppress(OSError):
            os.utime(path)  # used now: the file's time is its place in the order of removal
        end = _LENGTH + int.from_bytes(body[:_LENGTH], "big")
        return Artifact(bytes(body[end:]), bytes(body[_LENGTH:end]))

    def put(self, digest: str, engine: bytes, notes: bytes = b"") -> bool:
        """Keep an engine, and remove others until the budget holds.

        Args:
            digest: Of what it was built from.
            engine: Its bytes.
            notes: What the backend knows of it beyond them.

        Returns:
            Whether it is kept: an engine larger than the budget is not, nor one that finds no room.
        """
        head = len(notes).to_bytes(_LENGTH, "big") + notes
        if len(engine) + len(head) + _SEAL > self._limit() and not self._pinned(digest):
            return False
        seal = hashlib.sha256(head)
        seal.update(engine)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self._folder, prefix="new-")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(seal.digest())
                    file.write(head)
                    file.write(engine)
                Path(name).replace(self._path(digest))
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
        except OSError:
            return False
        self._shrink(keep=digest)
        return True

    def pin(self, digests: Iterable[str]) -> None:
        """Never remove these, in place of those pinned before; an engine may be kept later."""
        pinned = set(digests)
        with suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            for path in self._folder.glob(f"*{_PIN}"):
                if path.stem not in pinned:
                    path.unlink(missing_ok=True)
            for digest in pinned:
                self._path(digest, _PIN).touch()

    def close(self) -> None:
        """Remove the temporary folder, if it is one. May be called twice."""
        if self._scratch is not None:
            self._scratch.cleanup()

    def _path(self, digest: str, suffix: str = _SUFFIX) -> Path:
        if not digest.isalnum():  # a digest may be any label; a path it must not be
            digest = hashlib.sha256(digest.encode()).hexdigest()
        return self._folder / f"{digest}{suffix}"

    def _pinned(self, digest: str) -> bool:
        return self._path(digest, _PIN).exists()

    def _limit(self) -> int:
        """Bytes that the engines may take now."""
        there = self._folder
        while not there.exists() and there != there.parent:
            there = there.parent
        try:
            free = shutil.disk_usage(there).free
        except OSError:
            return self._budget
        return min(self._budget, (free + sum(size for _, size, _ in self._kept())) // 4)

    def _kept(self) -> Iterator[tuple[float, int, Path]]:
        """When each engine was used last, its bytes, and its file."""
        for path in self._folder.glob(f"*{_SUFFIX}"):
            with suppress(OSError):
                status = path.stat()
                yield status.st_mtime, status.st_size, path

    def _shrink(self, keep: str) -> None:
        rows = sorted(self._kept())
        total, limit = sum(size for _, size, _ in rows), self._limit()
        for _, size, path in rows:
            if total <= limit:
                return
            if path == self._path(keep) or path.with_suffix(_PIN).exists():
                continue
            with suppress(OSError):
                path.unlink()
                total -= size
