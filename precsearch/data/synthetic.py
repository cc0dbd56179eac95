"""Seeded random feeds for a model that came without data."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from precsearch.core.backend import Array
from precsearch.core.errors import DataError
from precsearch.data.spec import BatchAxis, InputSpec, batch_axis, is_sequence

__all__ = ["random_feeds"]

_FEEDS = 16
_BYTES = 512 << 20
_SEQUENCE = 16
_IDS = 10


def random_feeds(
    specs: Sequence[InputSpec], batch: int, seed: int
) -> tuple[list[dict[str, Array]], tuple[str, ...]]:
    """Feeds of numbers that mean nothing, the same for one seed everywhere.

    Floats are uniform in [-1, 1), booleans 0 or 1, integers below 10 (token identifiers, say),
    masks all one, and token types all zero, since their table may have just one row.

    Args:
        specs: The inputs, shapes resolved.
        batch: Size of a dynamic batch.
        seed: Of the numbers.

    Returns:
        The feeds and notes on what had to be assumed.

    Raises:
        DataError: A dynamic dimension is neither the batch nor a sequence.
    """
    axis = batch_axis(specs)
    assumed: dict[str, int] = {}
    shapes = {s.name: _shape(s, axis, batch, assumed) for s in specs}
    size = sum(_bytes(shapes[s.name], s.dtype) for s in specs)
    count = max(1, min(_FEEDS, _BYTES // max(size, 1)))
    # RandomState's stream is frozen for ever, that of the newer Generator is not. Uniform numbers
    # need no logarithm, so they are the same bits on every platform.
    rng = np.random.RandomState(np.random.MT19937(np.random.SeedSequence(seed)))
    feeds = [{s.name: _draw(s, shapes[s.name], rng) for s in specs} for _ in range(count)]
    notes = tuple(
        f"no data: the dimension {name!r} is taken as {n} (--input-shape sets it)"
        for name, n in assumed.items()
    )
    return feeds, notes


def _bytes(shape: Sequence[int], dtype: np.dtype[np.generic]) -> int:
    total = dtype.itemsize
    for n in shape:
        total *= n
    return total


def _shape(
    spec: InputSpec, axis: BatchAxis, batch: int, assumed: dict[str, int]
) -> tuple[int, ...]:
    if spec.dims is None:
        raise DataError(
            f"input {spec.name!r} declares no shape, so no random data can be made; give --data "
            "or --input-shape"
        )
    integers = np.issubdtype(spec.dtype, np.integer)
    shape: list[int] = []
    for i, dim in enumerate(spec.dims):
        name = dim if isinstance(dim, str) else ""
        if isinstance(dim, int):
            shape.append(dim)
        elif "batch" in name.lower() or (name and name == axis.symbol):
            shape.append(batch)
        elif is_sequence(name) or (not name and i == 1 and integers and len(spec.dims) == 2):
            shape.append(assumed.setdefault(name or f"axis {i} of {spec.name}", _SEQUENCE))
        elif i == 0 and axis.offender is None:
            shape.append(batch)
        else:
            raise DataError(
                f"the size of axis {i} of input {spec} is unknown, so no random data can be made; "
                f"give --data, or --input-shape {spec.name}:{_example(spec, batch)}"
            )
    return tuple(shape)


def _example(spec: InputSpec, batch: int) -> str:
    dims = spec.dims or ()
    return "x".join(
        str(d) if isinstance(d, int) else (str(batch) if i == 0 else "N")
        for i, d in enumerate(dims)
    )


def _draw(spec: InputSpec, shape: tuple[int, ...], rng: np.random.RandomState) -> Array:
    name = spec.name.lower()
    values: Array
    if spec.dtype.kind == "b":
        values = rng.random_sample(shape) < 0.5
    elif spec.dtype.kind not in "iu":
        values = rng.random_sample(shape) * 2 - 1
    elif "mask" in name:
        values = np.ones(shape)
    elif "type" in name or "segment" in name:
        values = np.zeros(shape)
    else:
        values = np.floor(rng.random_sample(shape) * _IDS)
    return np.asarray(values, dtype=spec.dtype)
