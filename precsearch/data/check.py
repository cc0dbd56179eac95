"""Checking feeds against a model's inputs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from precsearch.core.backend import Array, Feed
from precsearch.core.errors import DataError
from precsearch.data.dataset import Dataset
from precsearch.data.spec import LABELS, REFERENCE, InputSpec, batch_axis

__all__ = ["LABELS", "REFERENCE", "FeedCheck"]

_PICTURE = 4
"""Axes of a batch of pictures."""
_CASTS = {("float64", "float32"), ("int32", "int64")}
"""What NumPy's defaults on some platforms give, and what loses nothing that a user would miss."""


class FeedCheck:
    """Checks feeds one by one and keeps the notes.

    Args:
        specs: The inputs, shapes resolved.
        outputs: Names of the outputs, if they are known.
    """

    def __init__(self, specs: Sequence[InputSpec], outputs: Collection[str] | None = None) -> None:
        self._specs = {s.name: s for s in specs}
        self._outputs = outputs
        self._axis = batch_axis(specs)
        self._notes: dict[str, None] = {}

    def dataset(
        self, raw: Sequence[Mapping[str, Array]], *, random: bool = False, notes: Sequence[str] = ()
    ) -> Dataset:
        """A dataset of these feeds.

        Raises:
            DataError: One of them does not fit the model, or not all have labels and references.
        """
        keys = set(raw[0])
        for i, feed in enumerate(raw):
            if set(feed) != keys:
                others = ", ".join(sorted(map(repr, set(feed) ^ keys)))
                raise DataError(
                    f"feeds 0 and {i} differ in {others}; give every feed the same keys"
                )
        self.keys(raw[0], "the data")
        feeds = tuple(self._feed(feed, i) for i, feed in enumerate(raw))
        sizes = tuple(map(self._size, feeds))
        labels = None
        if LABELS in keys:
            sizes, labels = _labels([feed[LABELS] for feed in raw], sizes)
        names = sorted(k for k in keys if k.startswith(REFERENCE))
        references = None
        if names:
            references = tuple(
                {k.removeprefix(REFERENCE): _reference(feed[k], k) for k in names} for feed in raw
            )
        return Dataset(feeds, sizes, labels, references, random, (*notes, *self._notes))

    def keys(self, keys: Collection[str], what: str) -> None:
        """Check the names alone.

        Raises:
            DataError: An input is missing, or a key is unknown.
        """
        expected = ", ".join(map(str, self._specs.values()))
        missing = [repr(k) for k in self._specs if k not in keys]
        if missing:
            raise DataError(
                f"{what} lacks {', '.join(missing)}; name the arrays like the model's inputs: "
                f"{expected}"
            )
        for key in keys:
            if key in self._specs or key == LABELS:
                continue
            output = key.removeprefix(REFERENCE)
            if not key.startswith(REFERENCE):
                raise DataError(
                    f"{what} holds {key!r}, which is no input of the model; it expects {expected}, "
                    f"and optionally {LABELS!r} and '{REFERENCE}<output name>'"
                )
            if self._outputs is not None and output not in self._outputs:
                raise DataError(
                    f"{what} holds {key!r}, but the model's outputs are "
                    f"{', '.join(sorted(self._outputs))}; rename it"
                )

    def _feed(self, feed: Mapping[str, Array], index: int) -> dict[str, Array]:
        return {
            name: self._input(np.asarray(feed[name]), spec, index)
            for name, spec in self._specs.items()
        }

    def _input(self, array: Array, spec: InputSpec, index: int) -> Array:
        if not spec.fits(array.shape):
            raise DataError(
                f"input {spec.name!r} has shape {array.shape} in feed {index}, but the model takes "
                f"{spec}; {_reshaping(array.shape, spec)}"
            )
        if array.shape[:1] == (0,) and self._axis.offender is None:
            raise DataError(f"input {spec.name!r} holds no samples in feed {index}; give some")
        # Infinities are data (attention masks), and so is NaN where the model copes with it.
        return frozen(self._cast(array, spec, index))

    def _cast(self, array: Array, spec: InputSpec, index: int) -> Array:
        have, want = array.dtype.newbyteorder("="), spec.dtype
        if have == want:
            return array.astype(want, copy=False)
        if (have.name, want.name) not in _CASTS:
            raise DataError(
                f"input {spec.name!r} is {have.name}, but the model takes {want.name}; "
                f"{_converting(have, want, spec)}"
            )
        self._notes[f"input {spec.name!r} was cast from {have.name} to {want.name}"] = None
        with np.errstate(over="ignore"):
            narrow = array.astype(want)
        if have.kind == "f" and np.isinf(narrow[np.isfinite(array)]).any():
            raise DataError(
                f"input {spec.name!r} holds numbers beyond {want.name} in feed {index}; scale it "
                "as the model wants it"
            )
        return narrow

    def _size(self, feed: Feed) -> int:
        if self._axis.offender is None:
            leads = {a.shape[0] if a.ndim else 1 for a in feed.values()}
            return leads.pop() if len(leads) == 1 else 1
        for name, spec in self._specs.items():
            if self._axis.symbol in (spec.dims or ()) and self._axis.symbol is not None:
                return int(feed[name].shape[(spec.dims or ()).index(self._axis.symbol)])
        return 1


def _reshaping(shape: Sequence[int], spec: InputSpec) -> str:
    """What to do about a shape: pictures have their channels first or last."""
    dims = spec.dims or ()
    if len(dims) == _PICTURE and len(shape) == _PICTURE:
        for order, name in (((0, 3, 1, 2), "NHWC"), ((0, 2, 3, 1), "NCHW")):
            if spec.fits([shape[axis] for axis in order]):
                other = "NCHW" if name == "NHWC" else "NHWC"
                return (
                    f"it is {name}, the model is {other}: transpose it with "
                    f".transpose({', '.join(map(str, order))})"
                )
    return "reshape the data or give --input-shape"


def _converting(have: np.dtype[np.generic], want: np.dtype[np.generic], spec: InputSpec) -> str:
    """What to do about a type: whole numbers up to 255 are pixels that nobody has scaled."""
    if have.name == "uint8" and want.kind == "f" and len(spec.dims or ()) == _PICTURE:
        return (
            "these are raw pixels: prepare them as in training, often "
            f".astype({want.name!r}) / 255, then less the mean and over the deviation"
        )
    if want.name == "uint8" and have.kind == "f":
        return "it takes raw pixels from 0 to 255: leave out the scaling, and store uint8"
    return f"convert it with .astype({want.name!r})"


def frozen(array: Array) -> Array:
    """The array contiguous and read-only, a copy only where it must be; rank 0 stays rank 0."""
    array = np.asarray(array, order="C").view()
    array.flags.writeable = False
    return array


def _labels(
    raw: Sequence[Array], sizes: tuple[int, ...]
) -> tuple[tuple[int, ...], tuple[Array, ...]]:
    """Labels with the samples along axis 0, and the sizes that they imply."""
    arrays = [np.asarray(a) for a in raw]
    if all(a.ndim == 0 for a in arrays):
        # One label per feed: what leads the inputs is then no batch of labelled samples.
        sizes = (1,) * len(arrays)
    labels: list[Array] = []
    for i, (array, size) in enumerate(zip(arrays, sizes, strict=True)):
        entry = array[None] if size == 1 and array.shape[:1] != (1,) else array
        if entry.shape[:1] != (size,):
            raise DataError(
                f"{LABELS!r} of feed {i} has shape {array.shape} for {size} samples; give one "
                "label per sample"
            )
        labels.append(frozen(entry))
    if len({(a.shape[1:], a.dtype) for a in labels}) > 1:
        raise DataError(f"{LABELS!r} differ in shape or type between feeds; make them alike")
    return sizes, tuple(labels)


def _reference(array: Array, name: str) -> Array:
    array = np.asarray(array)
    if array.dtype.kind not in "fciub":
        raise DataError(f"{name!r} is {array.dtype}, not numbers; save the output as an array")
    return frozen(array)
