"""Samples as lines of JSON: what tokenizers give, one sample a line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from precsearch.core.backend import Array
from precsearch.core.errors import DataError
from precsearch.data.check import LABELS, REFERENCE
from precsearch.data.spec import InputSpec
from precsearch.system.regular_file import read_regular

__all__ = ["read_lines"]


def read_lines(path: Path, specs: Sequence[InputSpec], limit: int) -> list[dict[str, Array]]:
    """The feeds of a ``.jsonl`` file: one object of input name → nested lists of numbers a line.

    A sample without a batch axis gets one; numbers become the input's type where nothing is lost.

    Args:
        path: The file.
        specs: The model's inputs.
        limit: Bytes that it may have.

    Raises:
        DataError: A line is no such object.
    """
    what = repr(path.name)
    try:
        lines = read_regular(path, limit).decode().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{what} cannot be read as lines of text ({error}); check it") from error
    feeds = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            feeds.append(_feed(line, specs, f"line {number} of {what}"))
    return feeds


def _feed(line: str, specs: Sequence[InputSpec], what: str) -> dict[str, Array]:
    try:
        values = json.loads(line)
        arrays = {name: np.asarray(value) for name, value in values.items()}
    except (ValueError, RecursionError, AttributeError) as error:
        raise DataError(
            f"{what} is no JSON object of input name to lists of numbers ({str(error)[:120]}); "
            "write one sample a line"
        ) from error
    odd = [name for name, a in arrays.items() if a.dtype.kind not in "fiub"]
    if odd:
        raise DataError(f"{odd[0]!r} in {what} holds no numbers; leave it out")
    known = {s.name: s for s in specs if s.dims is not None}
    row = all(arrays[n].ndim == len(s.dims or ()) - 1 for n, s in known.items() if n in arrays)
    for name, spec in {s.name: s for s in specs}.items():
        array = arrays.get(name)
        if array is not None and _kept(array, spec.dtype):
            arrays[name] = array.astype(spec.dtype)
    if row and known:
        arrays = {
            n: a if n == LABELS or n.startswith(REFERENCE) else a[None] for n, a in arrays.items()
        }
    return arrays


def _kept(array: Array, dtype: np.dtype[np.generic]) -> bool:
    """Whether numbers of a text can become a type: JSON tells whole numbers and others apart."""
    if array.dtype.kind in "iub" and dtype.kind in "iub":
        return bool((array.astype(dtype) == array).all())
    return array.dtype.kind in "fiu" and dtype.kind == "f"
