"""Inputs that Polygraphy saved as JSON (``--save-inputs``, ``save_json``).

A file holds one feed or a list of feeds; a feed maps names to arrays, an array is a dictionary with
the base64 of its ``.npy`` file under ``array``. From Polygraphy 0.53's ``json/serde.py``: the type
stands in ``polygraphy_class``, in older files in a key ``__polygraphy_encoded_ndarray``; the oldest
hold Latin-1 text instead of base64, and archives instead of single arrays.
"""

from __future__ import annotations

import base64
import binascii
import errno
import io
import json
from collections.abc import Mapping
from pathlib import Path

from precsearch.core.backend import Array
from precsearch.core.errors import DataError
from precsearch.data.archive import MAX_BYTES, read_npy, read_npz
from precsearch.system.regular_file import read_regular

__all__ = ["read_polygraphy"]

_LEGACY = "__polygraphy_encoded_"
_WRAPPERS = ("LazyArray", "LazyNumpyArray")


def read_polygraphy(path: Path, limit: int = MAX_BYTES) -> list[dict[str, Array]]:
    """The feeds of a Polygraphy inputs file.

    Args:
        path: The ``.json`` file.
        limit: Bytes that it may have.

    Returns:
        One dictionary of name → read-only array per feed.

    Raises:
        DataError: It is not such a file, or too large.
    """
    what = repr(path.name)
    try:
        document = json.loads(read_regular(path, limit * 4 // 3 + (1 << 20)))
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, OSError) and error.errno == errno.EFBIG:
            raise DataError(
                f"{what} is larger than the limit of {limit:,} bytes; split it"
            ) from error
        raise DataError(
            f"{what} is not readable as JSON ({str(error)[:120]}); save the inputs again with "
            "Polygraphy's --save-inputs"
        ) from error
    if isinstance(document, dict) and _kind(document) is not None:
        raise DataError(
            f"{what} holds Polygraphy's {_kind(document)}, not inputs; save the inputs with "
            "--save-inputs"
        )
    feeds = document if isinstance(document, list) else [document]
    return [_feed(feed, f"feed {i} of {what}", limit) for i, feed in enumerate(feeds)]


def _kind(node: Mapping[str, object]) -> str | None:
    """The type that Polygraphy wrote beside a value; ``None`` for a plain dictionary."""
    kind = node.get("polygraphy_class")
    if isinstance(kind, str):
        return kind
    return next((k.removeprefix(_LEGACY) for k in node if k.startswith(_LEGACY)), None)


def _feed(feed: object, what: str, limit: int) -> dict[str, Array]:
    if not isinstance(feed, dict):
        raise DataError(
            f"{what} is not a dictionary of arrays; save the inputs again with Polygraphy's "
            "--save-inputs"
        )
    return {name: _array(node, f"array {name!r} of {what}", limit) for name, node in feed.items()}


def _array(node: object, what: str, limit: int) -> Array:
    kind = _kind(node) if isinstance(node, dict) else None
    if kind in _WRAPPERS and isinstance(node, dict):
        node = node.get("values")
        kind = _kind(node) if isinstance(node, dict) else None
    if kind == "Tensor":
        raise DataError(
            f"{what} is a PyTorch tensor, stored as a pickle that is never loaded; save NumPy "
            "arrays"
        )
    text = node.get("array") if isinstance(node, dict) else None
    if kind != "ndarray" or not isinstance(text, str):
        raise DataError(
            f"{what} is not an array as Polygraphy writes it; save the inputs again with "
            "--save-inputs"
        )
    data = _decode(text, what)
    if data[:2] == b"PK":
        arrays = read_npz(io.BytesIO(data), what, limit)
        if len(arrays) != 1:
            raise DataError(f"{what} is an archive of {len(arrays)} arrays instead of one array")
        return next(iter(arrays.values()))
    return read_npy(io.BytesIO(data), len(data), what)


def _decode(text: str, what: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        pass
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError as error:
        raise DataError(f"{what} is not base64; save the inputs again") from error
