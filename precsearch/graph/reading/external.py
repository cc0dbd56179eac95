"""Weights outside of the model's file: where they may stand, their checks and their bytes.

A tensor can stand in a graph, in an attribute of a node or of a function, in a sparse tensor and
in what a model says about its training. `precsearch.graph.reading.messages.tensors` finds all of
them, and everything here works on what it finds.

ONNX Runtime before 1.24 opens whatever file a model names, so nothing is handed to it that was not
checked here.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import onnx
import onnx_ir as ir

from precsearch.core.errors import ModelError
from precsearch.graph.reading.messages import parts, tensors
from precsearch.system.regular_file import is_regular, open_regular, resolved

__all__ = [
    "Extent",
    "check_size",
    "digest",
    "extents",
    "external_files",
    "read_extent",
    "taken_in",
]

_CHUNK = 1 << 20
_IN_MEMORY = "_ORT_MEM_ADDR_"
"""ONNX Runtime's mark for weights whose 'offset' is an address to read from."""

_WHOLE = re.compile("-?[0-9]{1,18}")

_MOST_TAKEN_IN = 1 << 30
"""Bytes; a protobuf message can have twice as many."""


@dataclass(frozen=True, order=True)
class Extent:
    """Where the bytes of a tensor lie.

    Attributes:
        file: The file, resolved.
        offset: Of the first byte.
        length: How many.
    """

    file: Path
    offset: int
    length: int


def external_files(proto: onnx.ModelProto, path: Path) -> tuple[Path, ...]:
    """The files of weights that a model names, resolved, each once, in order of their names.

    Args:
        proto: The model; every tensor of it is checked.
        path: Its file.

    Raises:
        ModelError: A tensor does not fit its data, or names a file that is missing, too short or
            outside of the model's folder.
    """
    folder = path.resolve().parent
    places = extents(_external_tensors(proto), folder, path.name)
    return tuple(sorted({place.file for place in places}))


def _external_tensors(proto: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    for tensor in tensors(proto):
        check_size(tensor)
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            yield tensor


def extents(outside: Iterable[onnx.TensorProto], folder: Path, model: str) -> Iterator[Extent]:
    """Where the bytes of external tensors lie, in their order, once that was checked.

    Thousands of tensors name one file. Its path is followed once: that takes longer than all other
    checks of a tensor together.

    Args:
        outside: The tensors.
        folder: The model's, resolved.
        model: The model's file name, for messages.

    Raises:
        ModelError: See `external_files`.
    """
    files: dict[str, Path] = {}
    for tensor in outside:
        entries = {e.key: e.value for e in tensor.external_data}
        if len(entries) != len(tensor.external_data):  # readers do not agree on which holds
            raise _malformed(tensor, "a key stands there twice")
        location = entries.get("location", "")
        if location not in files:
            files[location] = _file_of(tensor, location, folder, model)
        yield _checked(tensor, entries, files[location])


def _file_of(tensor: onnx.TensorProto, location: str, folder: Path, model: str) -> Path:
    # Nothing may leave the folder, by an absolute path, by '..' or through a symbolic link.
    target = _resolved(folder, location)
    if (
        not location
        or Path(location).is_absolute()
        or ".." in Path(location).parts
        or _IN_MEMORY in location
        or target is None
        or not target.is_relative_to(folder)
    ):
        raise ModelError(
            f"tensor {tensor.name!r} keeps its data in {location[:100]!r}, outside of the "
            "model's folder; move the file beside the model and save it with a relative path"
        )
    if not is_regular(target):
        raise ModelError(
            f"the external data file {location!r} is missing; copy it beside {model!r}"
        )
    return target


def _resolved(folder: Path, location: str) -> Path | None:
    try:
        target = resolved(folder / location)
        target.is_file()
    except (OSError, ValueError):  # too long, a NUL, a loop of links
        return None
    return target


def _bytes_of(tensor: onnx.TensorProto) -> int | None:
    """What the data of a tensor takes; ``None`` where its type does not tell."""
    try:
        bits = ir.DataType(tensor.data_type).bitwidth
    except (ValueError, TypeError):
        return None
    return (math.prod(tensor.dims) * bits + 7) // 8 if min(tensor.dims, default=0) >= 0 else -1


def check_size(tensor: onnx.TensorProto) -> None:
    """Refuse a tensor whose shape and data do not fit.

    Raises:
        ModelError: They do not.
    """
    expected = _bytes_of(tensor)
    actual = len(tensor.raw_data) if tensor.HasField("raw_data") else expected
    if expected is not None and (expected < 0 or actual != expected):
        raise ModelError(
            f"tensor {tensor.name!r} has shape {list(tensor.dims)[:8]} and {actual} bytes of data, "
            "which do not fit; the file is damaged: export the model again"
        )


def _checked(tensor: onnx.TensorProto, entries: dict[str, str], target: Path) -> Extent:
    name = tensor.name
    given = [entries.get(key, "0") for key in ("offset", "length")]
    for value in given:
        if not _WHOLE.fullmatch(value):
            raise _malformed(tensor, f"{value[:20]!r} is no whole number")
    offset, length = map(int, given)
    expected, size = _bytes_of(tensor), target.stat().st_size
    if length and expected is not None and length != expected:
        raise ModelError(
            f"tensor {name!r} needs {expected} bytes, but its external-data entry names {length}; "
            "export the model again"
        )
    if offset < 0 or length < 0 or offset + (length or expected or 0) > size:
        raise ModelError(
            f"tensor {name!r} reaches past the end of {target.name!r}; the file is truncated or "
            "belongs to another model"
        )
    rest = size - offset if expected is None else expected
    return Extent(target, offset, length or rest)


def _malformed(tensor: onnx.TensorProto, why: str) -> ModelError:
    return ModelError(
        f"tensor {tensor.name!r} has a malformed external-data entry ({why}); export the model "
        "again"
    )


def read_extent(place: Extent) -> Iterator[bytes]:
    """The bytes of an extent, in pieces.

    Raises:
        OSError: The file cannot be read, or has become too short.
    """
    left = place.length
    with open_regular(place.file) as file:
        file.seek(place.offset)
        while left:
            piece = file.read(min(left, _CHUNK))
            if not piece:
                raise OSError(0, "the file has become shorter", os.fspath(place.file))
            left -= len(piece)
            yield piece


def taken_in(proto: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """The model with the data of its external tensors inside, but for the main graph's weights.

    An engine that is given a model as bytes finds the weights of the main graph in a folder that
    it is told; others it would look for elsewhere, in the working directory, say.

    Args:
        proto: The model, checked by `external_files`; it is changed.
        path: Its file.

    Raises:
        ModelError: They are too many.
        OSError: A file cannot be read.
    """
    folder = path.resolve().parent
    others = [*parts(proto, but="graph"), *parts(proto.graph, but="initializer")]
    outside = [
        tensor
        for part in others
        for tensor in tensors(part)
        if tensor.data_location == onnx.TensorProto.EXTERNAL
    ]
    places = list(extents(outside, folder, path.name))
    total = sum(p.length for p in places)
    if total > _MOST_TAKEN_IN:
        raise ModelError(
            f"{path.name!r} keeps {total:,} bytes outside of its file that are no weights of its "
            "main graph; export it with weights as initializers of the main graph"
        )
    for tensor, place in zip(outside, places, strict=True):
        tensor.raw_data = b"".join(read_extent(place))
        tensor.ClearField("data_location")
        tensor.ClearField("external_data")
    return proto


def digest(paths: Iterable[Path]) -> str:
    """SHA-256 of files one after the other, as hex.

    Raises:
        OSError: One cannot be read.
    """
    sha = hashlib.sha256()
    for path in paths:
        with open_regular(path) as file:
            while chunk := file.read(_CHUNK):
                sha.update(chunk)
    return sha.hexdigest()
