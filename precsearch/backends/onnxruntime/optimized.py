"""Models that ONNX Runtime has optimized once, to be opened again without optimizing.

A search opens an engine two to four times: to run it, to profile it, to time it newly opened, and
again if it is a finalist. Each time ONNX Runtime optimizes the graph, which grows faster than the
number of nodes. It can write the optimized graph down, and opens it with the same kernels and the
same outputs, bit for bit (docs/benchmarks/reopening.md).
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["OptimizedModels"]

_MOST = 8
"""Files at a time: the FP32 engine, the finalists, and the engine at hand."""

_WORTH_S = 0.25
"""Seconds that an engine takes to open from which on it is worth while to write it down."""


class OptimizedModels:
    """Files in a folder, by the digest of the model that they were optimized from.

    Processes of one machine may share the folder: files appear whole, and the one that was used
    longest ago goes first.

    Args:
        folder: Made when it is needed; ``None`` keeps nothing.
        context: What else the optimized graph depends on, such as versions and threads.
    """

    def __init__(self, folder: Path | None, context: str = "") -> None:
        self._folder = folder
        self._context = context
        self._slow = False

    def found(self, model: bytes) -> Path | None:
        """The optimized model, ``None`` if it is not there."""
        if self._folder is None or not self._slow:
            return None
        path = self._path(model)
        try:
            os.utime(path)
        except OSError:
            return None
        return path

    @contextmanager
    def writing(self, model: bytes) -> Iterator[Path | None]:
        """A file for ONNX Runtime to write the optimized model to, kept if the block succeeds.

        ``None`` where that is not worth while, or not possible.
        """
        scratch = self._scratch() if self._slow else None
        try:
            yield scratch
        except BaseException:
            if scratch is not None:
                scratch.unlink(missing_ok=True)
            raise
        if scratch is not None:
            with suppress(OSError):
                scratch.replace(self._path(model))
            scratch.unlink(missing_ok=True)
            self._shrink()

    def took(self, seconds: float) -> None:
        """Take note of how long an engine took to open, optimization included."""
        self._slow = seconds >= _WORTH_S

    def stop(self) -> None:
        """Keep nothing from now on: the file could not be written, or not be opened."""
        self._folder = None

    def _scratch(self) -> Path | None:
        if self._folder is None:
            return None
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self._folder, suffix=".new")
        except OSError:
            return None
        os.close(handle)
        return Path(name)

    def _path(self, model: bytes) -> Path:
        assert self._folder is not None, "asked before"
        digest = hashlib.sha256(self._context.encode() + b"\0")
        digest.update(model)
        return self._folder / f"{digest.hexdigest()}.onnx"

    def _shrink(self) -> None:
        if self._folder is None:
            return
        rows = []
        for path in self._folder.glob("*.onnx"):
            with suppress(OSError):
                rows.append((path.stat().st_mtime_ns, path))
        for _, path in sorted(rows)[:-_MOST]:
            with suppress(OSError):
                path.unlink()
