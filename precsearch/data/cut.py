"""Cutting the arrays of one ``.npz`` into feeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from precsearch.core.backend import Array
from precsearch.core.errors import DataError
from precsearch.data.check import LABELS, REFERENCE
from precsearch.data.spec import InputSpec, batch_axis

__all__ = ["cut"]

_WHOLE = (
    "store whole feeds instead: give every array one more leading axis, with one entry per feed"
)


def cut(
    stacked: Mapping[str, Array], specs: Sequence[InputSpec], batch: int, what: str
) -> tuple[list[dict[str, Array]], tuple[str, ...]]:
    """Cut stacked arrays into feeds.

    Args:
        stacked: Name → array; every input is there.
        specs: The inputs, shapes resolved.
        batch: Samples per feed where the model leaves it open.
        what: How messages call the file.

    Returns:
        The feeds and a note on samples that were left over.

    Raises:
        DataError: Ranks or lengths do not fit, or no sample is there.
    """
    whole = _is_whole(stacked, specs, what)
    n = _length(stacked, specs, what)
    if whole:
        _check_lengths(stacked, n, "feeds", what)
        return [{k: a[i] for k, a in stacked.items()} for i in range(n)], ()
    axis = batch_axis(specs)
    if axis.offender is not None:
        raise DataError(
            f"input {axis.offender} does not start with the batch, so {what} cannot be cut into "
            f"samples along axis 0; {_WHOLE}"
        )
    size = axis.fixed or batch
    _check_lengths(stacked, n, "samples", what)
    feeds = [
        {k: a[i * size : (i + 1) * size] for k, a in stacked.items()} for i in range(n // size)
    ]
    if not feeds:
        raise DataError(
            f"{what} holds {n} samples, fewer than one batch of {size}; give more samples or a "
            "smaller --batch"
        )
    left = n % size
    note = f"the last {left} of {n} samples of {what} do not fill a batch of {size} and are unused"
    return feeds, (note,) if left else ()


def _is_whole(stacked: Mapping[str, Array], specs: Sequence[InputSpec], what: str) -> bool:
    """Whether every entry is a whole feed: *all* inputs have one axis more than the model's."""
    extra = {s: stacked[s.name].ndim - len(s.dims) for s in specs if s.dims is not None}
    whole = bool(extra) and all(e == 1 for e in extra.values())
    for spec, axes in extra.items():
        if not whole and axes != 0:
            raise DataError(
                f"input {spec.name!r} of {what} has shape {stacked[spec.name].shape}, which is "
                f"neither samples on axis 0 of {spec} nor, for every input alike, whole feeds with "
                "one more leading axis; reshape it"
            )
    return whole


def _length(stacked: Mapping[str, Array], specs: Sequence[InputSpec], what: str) -> int:
    lengths = {s.name: stacked[s.name].shape[0] if stacked[s.name].ndim else 0 for s in specs}
    if len(set(lengths.values())) > 1:
        names = ", ".join(f"{k!r} {n}" for k, n in lengths.items())
        raise DataError(
            f"the inputs of {what} have different lengths along axis 0 ({names}); give every input "
            "as many samples"
        )
    n = next(iter(lengths.values()), 0)
    if n == 0:
        raise DataError(f"{what} holds no samples; give at least one")
    return n


def _check_lengths(stacked: Mapping[str, Array], n: int, unit: str, what: str) -> None:
    for name, array in stacked.items():
        if name == LABELS or name.startswith(REFERENCE):
            length = array.shape[0] if array.ndim else 0
            if length != n:
                raise DataError(
                    f"{name!r} of {what} has {length} entries along axis 0 for {n} {unit}; give "
                    "one for each"
                )
