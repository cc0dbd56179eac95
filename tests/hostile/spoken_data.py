"""Data files that cause an error: one situation for each message."""

from __future__ import annotations

import base64
import io
import json
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from precsearch.data import Dataset, InputSpec, load

Say = Callable[[Path], object]
"""Does what is answered with an error, in a folder that holds a valid world."""

F32 = np.dtype(np.float32)
IMAGE = InputSpec("x", F32, ("batch", 2))


def data(*specs: InputSpec, batch: int = 1, limit: int = 4 << 30, **arrays: object) -> Say:
    """Arrays of one ``.npz``."""

    def say(folder: Path) -> Dataset:
        np.savez(folder / "d.npz", **{k: np.asarray(v) for k, v in arrays.items()})  # type: ignore[arg-type]
        return load(folder / "d.npz", specs or (IMAGE,), batch=batch, limit=limit)

    return say


def no_data(*specs: InputSpec, batch: int = 1) -> Say:
    return lambda _: load(None, specs, batch=batch)


def feeds(*found: dict[str, object]) -> Say:
    """A folder of feeds."""

    def say(folder: Path) -> Dataset:
        (folder / "d").mkdir()
        for i, arrays in enumerate(found):
            np.savez(folder / "d" / f"{i}.npz", **{k: np.asarray(v) for k, v in arrays.items()})  # type: ignore[arg-type]
        return load(folder / "d", (IMAGE,))

    return say


def text(name: str, content: str | bytes, limit: int = 4 << 30) -> Say:
    """A data file with this content."""

    def say(folder: Path) -> Dataset:
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return load(folder / name, (IMAGE,), limit=limit)

    return say


def header(descr: str, shape: str, count: int = 1) -> Say:
    """``count`` arrays called x, of which only a header is there."""
    head = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    array = b"\x93NUMPY\x01\x00" + len(head + b"\n").to_bytes(2, "little") + head + b"\n"
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile dislikes the same name twice
        for _ in range(count):
            archive.writestr("x.npy", array)
    return text("d.npz", stream.getvalue())


def polygraphy(array: str) -> Say:
    inner = {"array": array, "polygraphy_class": "ndarray"}
    return text("d.json", json.dumps([{"x": inner}]))


def two_arrays() -> str:
    stream = io.BytesIO()
    np.savez(stream, a=np.zeros(1), b=np.zeros(1))
    return base64.b64encode(stream.getvalue()).decode()
