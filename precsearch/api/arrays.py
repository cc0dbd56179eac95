"""What people hold in memory, as arrays: of NumPy, or of any library that can hand them over."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from precsearch.core.backend import Array
from precsearch.core.errors import DataError
from precsearch.data import MAX_BYTES, InputSpec
from precsearch.data.check import LABELS, REFERENCE

__all__ = ["feeds_of", "stacked_of", "to_array"]


def to_array(value: object, what: str) -> Array:
    """A value as an array of numbers; PyTorch tensors come from any device, without gradients.

    Args:
        value: A number, an array, a tensor, or nested sequences of numbers.
        what: How messages call it.

    Raises:
        DataError: It is none of these.
    """
    detach = getattr(value, "detach", None)
    if callable(detach):
        value = detach().cpu().numpy()
    try:
        array = np.asarray(value)
    except (TypeError, ValueError) as error:
        raise DataError(f"{what} is not an array of numbers: {error}") from error
    if array.dtype.hasobject or array.dtype.kind in "USM":
        raise DataError(
            f"{what} is {type(value).__name__} of {array.dtype}, not an array of numbers; convert "
            "it, or name the columns to use (columns={'column': 'input'})"
        )
    return array


def is_array(value: object) -> bool:
    """Whether a value is one array, rather than something to go through."""
    return hasattr(value, "shape") and hasattr(value, "dtype")


def stacked_of(
    data: object, specs: Sequence[InputSpec], columns: Mapping[str, str] | None
) -> dict[str, Array] | None:
    """Arrays that hold samples along axis 0, by name.

    Args:
        data: A mapping of names to arrays; one array for a model of one input; a tuple of arrays,
            one for each input in the model's order, and labels if it has one more.
        specs: The model's inputs.
        columns: Name in ``data`` → name of the input (or ``labels``); others are left out.

    Returns:
        The arrays; ``None`` if ``data`` is none of these: an iterable of feeds.

    Raises:
        DataError: A value is no array of numbers.
    """
    if isinstance(data, Mapping):
        return _named(data, columns)
    if is_array(data):
        return _in_order((data,), specs)
    if isinstance(data, tuple) and data and all(map(is_array, data)):
        return _in_order(data, specs)
    return None


def _named(data: Mapping[str, object], columns: Mapping[str, str] | None) -> dict[str, Array]:
    names = {str(k): str(k) for k in data} if columns is None else columns
    missing = [repr(name) for name in names if name not in data]
    if missing:
        raise DataError(
            f"the data has no column {', '.join(missing)}; its columns are "
            f"{', '.join(map(repr, data))}"
        )
    return {to: to_array(data[name], f"column {name!r}") for name, to in names.items()}


def _in_order(values: Sequence[object], specs: Sequence[InputSpec]) -> dict[str, Array]:
    names = [s.name for s in specs]
    if len(values) == len(names) + 1:
        names.append(LABELS)
    if len(values) != len(names):
        raise DataError(
            f"the data has {len(values)} arrays for the model's {len(specs)} inputs "
            f"({', '.join(map(str, specs))}); give one for each, or a dictionary by name"
        )
    return {n: to_array(v, f"array {n!r}") for n, v in zip(names, values, strict=True)}


def feeds_of(
    data: Iterable[object],
    specs: Sequence[InputSpec],
    columns: Mapping[str, str] | None,
    most: int,
) -> list[dict[str, Array]]:
    """Feeds from whatever gives one after the other: a DataLoader, a data set, a generator.

    Each is what `stacked_of` takes, with or without a batch axis: a row of a data set gets one.

    Args:
        data: Gone through once, no further than ``most`` samples.
        specs: The model's inputs.
        columns: See `stacked_of`.
        most: Samples to take; a warning says if there are more.

    Raises:
        DataError: A feed is none, or there is none at all.
    """
    feeds: list[dict[str, Array]] = []
    samples = size = 0
    steps: Iterator[object] = iter(data)
    for item in steps:
        arrays = stacked_of(tuple(item) if isinstance(item, list) else item, specs, columns)
        if arrays is None:
            raise DataError(
                f"sample {len(feeds)} of the data is a {type(item).__name__}; give dictionaries of "
                "input name to array, or arrays in the order of the model's inputs"
            )
        feed, count = _batched(arrays, specs)
        feeds.append(feed)
        samples += count
        size += sum(a.nbytes for a in feed.values())
        if size > MAX_BYTES:
            raise DataError(
                f"the data has more than {MAX_BYTES:,} bytes within {samples} samples; take fewer "
                "(samples=…)"
            )
        if samples >= most:
            break
    if not feeds:
        raise DataError("the data has no samples; give at least one")
    if samples >= most and next(itertools.islice(steps, 1), None) is not None:
        warnings.warn(
            f"the first {samples} samples are used, the data has more (samples=…)", stacklevel=4
        )
    return feeds


def _batched(feed: dict[str, Array], specs: Sequence[InputSpec]) -> tuple[dict[str, Array], int]:
    """A feed with its batch axis, and the samples in it."""
    shaped = [s for s in specs if s.dims is not None and s.name in feed]
    row = bool(shaped) and all(feed[s.name].ndim == len(s.dims or ()) - 1 for s in shaped)
    if row:
        feed = {
            name: array if name == LABELS or name.startswith(REFERENCE) else array[None]
            for name, array in feed.items()
        }
    lead = next((feed[s.name].shape[0] for s in shaped if feed[s.name].ndim), 1)
    return feed, max(int(lead), 1)
