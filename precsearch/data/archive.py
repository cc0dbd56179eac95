"""Reading ``.npz`` and ``.npy`` as hostile input.

NumPy's own reader allocates what a header claims before it looks for the data. Here the sizes are
compared first, nothing is unpickled, and whatever goes wrong is one sentence.
"""

from __future__ import annotations

import lzma
import math
import struct
import tokenize
import zipfile
import zlib
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy

from precsearch.core.backend import Array
from precsearch.core.errors import DataError
from precsearch.system.regular_file import open_regular

__all__ = ["MAX_BYTES", "read_npy", "read_npz"]

MAX_BYTES = 4 << 30
"""Uncompressed bytes that a data source may hold unless the caller says otherwise."""

_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
_ZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    OSError,
    OverflowError,
    LookupError,
    ValueError,
    RuntimeError,  # an encrypted entry; NotImplementedError: an unknown compression
)
_HEADER_ERRORS = (
    ValueError,
    TypeError,
    SyntaxError,
    LookupError,
    OverflowError,
    MemoryError,
    RecursionError,
    tokenize.TokenError,
)


def read_npz(source: Path | IO[bytes], what: str, limit: int = MAX_BYTES) -> dict[str, Array]:
    """All arrays of an archive, in its order.

    Args:
        source: The file, or one that is open.
        what: How messages call it.
        limit: Uncompressed bytes that it may hold.

    Returns:
        Name → read-only array.

    Raises:
        DataError: It is no archive of arrays, is truncated, holds Python objects, the same name
            twice or more than ``limit`` bytes.
    """
    try:
        with _opened(source) as file, zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
            total = sum(e.file_size for e in entries)
            if total > limit:
                raise DataError(
                    f"{what} unpacks to {total:,} bytes, more than the limit of {limit:,}; "
                    "store fewer samples"
                )
            arrays: dict[str, Array] = {}
            for entry in entries:
                name = entry.filename.removesuffix(".npy")
                if name in arrays:
                    raise DataError(f"{what} holds the array {name!r} twice; save it again")
                with archive.open(entry) as stream:
                    arrays[name] = read_npy(stream, entry.file_size, f"array {name!r} of {what}")
            return arrays
    except _ZIP_ERRORS as error:
        raise DataError(
            f"{what} is not a complete .npz archive ({_short(error)}); save it again with np.savez"
        ) from error


def _opened(source: Path | IO[bytes]) -> AbstractContextManager[IO[bytes]]:
    return open_regular(source) if isinstance(source, Path) else nullcontext(source)


def read_npy(stream: IO[bytes], size: int, what: str) -> Array:
    """One array in NumPy's own format.

    Args:
        stream: At the beginning of the array.
        size: Bytes that it has from there; the array must fill them.
        what: How messages call it.

    Returns:
        Read-only array in native byte order.

    Raises:
        DataError: It is no array, is truncated, or holds Python objects.
    """
    try:
        header = _HEADERS[npy.read_magic(stream)]
        shape, fortran, dtype = header(stream)
    except _HEADER_ERRORS as error:
        raise DataError(
            f"{what} is not in NumPy's format ({_short(error)}); save it with np.savez"
        ) from error
    if dtype.hasobject:
        raise DataError(
            f"{what} holds Python objects, which are never unpickled; save it as an array of "
            "numbers (are its rows of unequal length?)"
        )
    expected = math.prod(shape) * dtype.itemsize
    # A header may claim any size: nothing is allocated before the file is known to have it.
    if dtype.itemsize == 0 or dtype.subdtype is not None or min(shape, default=0) < 0:
        raise DataError(f"{what} has the unusable type {dtype}; save it as an array of numbers")
    data = stream.read(expected) if expected <= size else b""
    if len(data) != expected or stream.read(1):
        raise DataError(f"{what} does not have as many bytes as its header promises; save it again")
    try:
        array: Array = np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")
    except (ValueError, OverflowError) as error:  # no elements, and an axis longer than any
        raise DataError(f"{what} has an impossible shape; save it again") from error
    return array if dtype.isnative else array.astype(dtype.newbyteorder("="))


def _short(error: BaseException) -> str:
    text = str(error).strip().split("\n")[0]
    return text[:120] or type(error).__name__
