"""Files of samples for tests, and inputs that they are meant for."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from precsearch.core.backend import Array
from precsearch.data import InputSpec

F4, I8 = np.dtype(np.float32), np.dtype(np.int64)
IMAGE = (InputSpec("x", F4, ("batch", 3)),)
FIXED = (InputSpec("x", F4, (2, 3)),)
STATE = (InputSpec("x", F4, ("batch", 3)), InputSpec("state", F4, (2, "batch", 4)))
TEXT = (InputSpec("ids", I8, ("batch", "sequence")), InputSpec("mask", I8, ("batch", "sequence")))


def rows(n: int) -> Array:
    return np.arange(n * 3, dtype=np.float32).reshape(n, 3)


def save(folder: Path, name: str = "data.npz", **arrays: Array) -> Path:
    path = folder / name
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return path
