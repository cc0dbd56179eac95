"""Vectors of whole numbers as text: ``i1:``, ``i2:`` or ``i4:`` and Base64 of little-endian bytes.

One text says the same everywhere and takes a byte or two for a number, so that a plan holds a
number for each channel of a model and stays one file.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

__all__ = ["decode_halves", "decode_vector", "encode_halves", "encode_vector"]

_TYPES = {"i1": "<i1", "i2": "<i2", "i4": "<i4"}


def encode_vector(values: npt.NDArray[np.int64]) -> str:
    """The shortest text for a vector.

    Args:
        values: Shape ``(n,)``, within 32 bits.

    Raises:
        ValueError: A value does not fit 32 bits.
    """
    for name, kind in _TYPES.items():
        limits = np.iinfo(kind)
        if np.all((values >= limits.min) & (values <= limits.max)):
            return f"{name}:{base64.b64encode(values.astype(kind).tobytes()).decode()}"
    raise ValueError("a value does not fit 32 bits")


def decode_vector(text: str) -> npt.NDArray[np.int64]:
    """What `encode_vector` made a text of, shape ``(n,)``.

    Raises:
        ValueError: It is no such text.
    """
    return _unpacked(text, _TYPES).astype(np.int64)


def encode_halves(values: npt.NDArray[np.float16]) -> str:
    """FP16 numbers as text: ``f2:`` and Base64 of little-endian bytes.

    Args:
        values: Shape ``(n,)``.
    """
    return f"f2:{base64.b64encode(values.astype('<f2').tobytes()).decode()}"


def decode_halves(text: str) -> npt.NDArray[np.float32]:
    """What `encode_halves` made a text of, shape ``(n,)``, finite.

    Raises:
        ValueError: It is no such text.
    """
    halves = _unpacked(text, {"f2": "<f2"}).astype(np.float32)
    if not np.isfinite(halves).all():
        raise ValueError(f"{text[:16]!r} is no vector")
    return halves


def _unpacked(text: str, types: Mapping[str, str]) -> npt.NDArray[np.generic]:
    name, colon, body = text.partition(":")
    if name not in types or not colon:
        raise ValueError(f"{text[:16]!r} is no vector")
    try:
        return np.frombuffer(base64.b64decode(body, validate=True), types[name])
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"{text[:16]!r} is no vector") from error
