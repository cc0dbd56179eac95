"""Models whose weights lie in a file beside them: one file, whose name is its digest.

What a model from elsewhere calls its files is never used for writing: a model could bring along a
``json.py``, or a workflow for a CI system.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx

from precsearch.core.errors import ModelError, OutputError
from precsearch.graph.reading.external import Extent, extents, read_extent
from precsearch.graph.reading.messages import tensors
from precsearch.graph.reading.read import SourceModel
from precsearch.setup.files import check_free, write_bytes, write_pieces
from precsearch.system.regular_file import open_regular

__all__ = ["Placed", "placed", "write_model"]

_PAGE = 4096
"""Bytes that larger weights begin at a multiple of, so that they can be mapped into memory."""
_WORD = 64
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Placed:
    """A model as it is written.

    Attributes:
        model: Serialized; its external tensors are in the file ``weights`` beside it.
        weights: The file's name: the first 16 hexadecimal digits of the SHA-256 of its bytes, and
            ``.weights``; "" if there is none.
        extents: What the file is made of, with the offsets in it.
    """

    model: bytes
    weights: str = ""
    extents: tuple[tuple[int, Extent], ...] = ()

    def is_beside(self, path: Path) -> bool:
        """Whether the weights lie beside a model's file, and are what their name says."""
        return not self.weights or _is_itself(path.resolve().parent / self.weights)

    def pieces(self) -> Iterator[bytes]:
        """The bytes of the file of weights.

        Raises:
            OSError: The original weights cannot be read.
        """
        position = 0
        for offset, place in self.extents:
            yield bytes(offset - position)
            yield from read_extent(place)
            position = offset + place.length


def placed(source: SourceModel, model: bytes) -> Placed:
    """A model with its external weights in one file of a name of ours.

    Args:
        source: The model that it was made of, whose external weights it names.
        model: Serialized.

    Raises:
        ModelError: The original weights cannot be read.
    """
    if not source.external:
        return Placed(model)
    proto = onnx.ModelProto.FromString(model)
    outside = [t for t in tensors(proto) if t.data_location == onnx.TensorProto.EXTERNAL]
    if not outside:
        return Placed(model)
    places = list(extents(outside, source.folder, source.path.name))
    offsets = _offsets(places)
    placement = Placed(model, extents=tuple((offset, place) for place, offset in offsets.items()))
    try:
        name = f"{_digest(placement.pieces())[:16]}.weights"
    except OSError as error:
        raise ModelError(
            f"the weights of {source.path.name!r} cannot be read ({error.strerror}); restore them"
        ) from error
    for tensor, place in zip(outside, places, strict=True):
        _name(tensor, name, offsets[place], place.length)
    return Placed(proto.SerializeToString(deterministic=True), name, placement.extents)


def _offsets(places: Iterable[Extent]) -> Mapping[Extent, int]:
    """Where each extent goes, in order of first use."""
    offsets: dict[Extent, int] = {}
    position = 0
    for place in places:
        if place in offsets:
            continue
        step = _PAGE if place.length >= _PAGE else _WORD
        position = -(-position // step) * step
        offsets[place] = position
        position += place.length
    return offsets


def _name(tensor: onnx.TensorProto, file: str, offset: int, length: int) -> None:
    tensor.ClearField("external_data")
    for key, value in (("location", file), ("offset", str(offset)), ("length", str(length))):
        tensor.external_data.add(key=key, value=value)


def write_model(
    source: SourceModel,
    path: Path,
    model: bytes,
    put: Callable[[Path, bytes], None] = write_bytes,
) -> bytes:
    """Write a model, and beside it its external weights if it has any.

    Args:
        source: The model that it was made of.
        path: Where to write.
        model: Serialized.
        put: Writes the model's file, and decides what may be replaced.

    Returns:
        What was written to ``path``.

    Raises:
        OutputError: Something cannot be written, another file has the name of the weights, or
            ``path`` is one of the original weights.
        ModelError: The original weights cannot be read.
    """
    check_free([path], force=True, inputs=source.external)
    placement = placed(source, model)
    if placement.weights:
        _write_weights(path.resolve().parent / placement.weights, placement)
    put(path, placement.model)
    return placement.model


def _write_weights(target: Path, placement: Placed) -> None:
    if not target.exists() and not target.is_symlink():
        write_pieces(target, placement.pieces(), follow=False)
    elif not _is_itself(target):
        raise OutputError(
            f"{str(target)!r} is not what its name says, the SHA-256 of its bytes; remove it"
        )


def _is_itself(file: Path) -> bool:
    """Whether a file of weights has the digest that is its name."""
    try:
        with open_regular(file, follow=False) as stream:
            return f"{_digest(iter(lambda: stream.read(_CHUNK), b''))[:16]}.weights" == file.name
    except OSError:
        return False


def _digest(pieces: Iterable[bytes]) -> str:
    sha = hashlib.sha256()
    for piece in pieces:
        sha.update(piece)
    return sha.hexdigest()
