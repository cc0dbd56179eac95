"""Which kernels TensorRT chose by timing them, and building with the same ones again.

TensorRT 10.8 and later keep one entry a layer in an *editable* timing cache: a key that stands for
the layer and its types, and the hash of the tactic that was the fastest. Entries can be read, and
overwritten where there is one (``ITimingCache.queryKeys``, ``query``, ``update``; NVIDIA's sample
``sampleEditableTimingCache``). Keys hold on one kind of device and one version alone.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from precsearch.system.regular_file import read_regular

__all__ = ["KeptCache", "overwrite", "read_tactics"]

_MAX_CACHE_BYTES = 1 << 30
"""Of a timing cache; those of large models have some megabytes."""


def read_tactics(cache: Any) -> dict[str, str]:  # noqa: ANN401 - TensorRT's bindings have no types
    """Key → hash of the tactic, both as hexadecimal text; empty if the cache does not tell."""
    return {str(key): f"{cache.query(key).tacticHash:#018x}" for key in _keys(cache)}


def overwrite(
    trt: Any,  # noqa: ANN401
    cache: Any,  # noqa: ANN401
    tactics: Mapping[str, str],
) -> list[tuple[Any, Any]]:
    """Put the tactics of some keys in the place of what is there.

    A key that the cache lacks, or a tactic that it does not take, is left as it is.

    Returns:
        Key and former value of each entry that was changed, for ``ITimingCache.update``.
    """
    changed = []
    for key in _keys(cache) if tactics else ():
        tactic, now = tactics.get(str(key)), cache.query(key)
        if tactic is None or int(tactic, 16) == now.tacticHash:
            continue
        if cache.update(key, trt.TimingCacheValue(int(tactic, 16), now.timingMSec)):
            changed.append((key, now))
    return changed


def _keys(cache: Any) -> list[Any]:  # noqa: ANN401
    try:
        return list(cache.queryKeys())
    except RuntimeError:  # so the bindings say that there is nothing to be had
        return []


class KeptCache:
    """The file of a timing cache, which every process that builds for one device reads and writes.

    The files of other devices lie beside it, under names that begin alike (``build-gpu_0.cache``).
    They are read, too: equal GPUs need not time a kernel twice.

    Attributes:
        path: The file; ``None`` keeps nothing.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._seen: dict[Path, tuple[int, ...]] = {}

    def read(self) -> list[bytes]:
        """The serialized caches that were written since they were last read here, its own first."""
        return [data for path in self._paths() if (data := self._new(path))]

    def _paths(self) -> list[Path]:
        if self.path is None:
            return []
        prefix = self.path.stem.partition("-")[0]
        beside = sorted(self.path.parent.glob(f"{prefix}*{self.path.suffix}"))
        return [self.path, *(p for p in beside if p != self.path)]

    def _new(self, path: Path) -> bytes:
        state = _state(path)
        if state is None or state == self._seen.get(path):
            return b""
        self._seen[path] = state
        try:
            return read_regular(path, _MAX_CACHE_BYTES, follow=False)
        except OSError:
            return b""

    def write(self, cache: bytes) -> None:
        """Write the cache beside its file and rename it: another process may be reading.

        A build that is slow next time is no reason to fail this one: what cannot be written is
        left.
        """
        if self.path is None:
            return
        with suppress(OSError):
            handle, part = tempfile.mkstemp(prefix=f".{self.path.name}.", dir=self.path.parent)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(cache)
                Path(part).replace(self.path)
            finally:
                Path(part).unlink(missing_ok=True)
            if (state := _state(self.path)) is not None:
                self._seen[self.path] = state


def _state(path: Path) -> tuple[int, ...] | None:
    """What changes when another process writes the file; ``None`` if there is none."""
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
