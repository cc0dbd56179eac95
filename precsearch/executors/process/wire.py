"""Messages between a worker and its child: pickles with their sizes in front."""

from __future__ import annotations

import pickle
import struct
from collections.abc import Sequence
from typing import Any, BinaryIO

from precsearch.system.serialized import SerializedModel

__all__ = [
    "DEVICE_LOST",
    "GRACE_S",
    "GREETING",
    "Frame",
    "exactly",
    "load",
    "pack",
    "receive",
    "send",
]

GREETING = b"\0precsearch worker\0"
"""The first that a child sends; what comes before it was printed by something else."""

DEVICE_LOST = 71
"""Exit code of a child whose device nothing can use any more (``EX_OSERR`` of sysexits.h)."""

GRACE_S = 2.0
"""Seconds that either side leaves the other to finish by itself."""

Frame = Sequence[bytes | bytearray | memoryview]


class _Chunks(list[bytes]):
    """A file whose large writes are kept as they are, not copied."""

    def write(self, data: bytes) -> None:
        self.append(bytes(data))  # no copy of what is bytes already


class _Stub(bytes):
    """Stands for a model in pieces until it is written."""

    pieces: tuple[bytes, ...] = ()


class _Pickler(pickle.Pickler):
    """Leaves arrays, and models in pieces, out of the pickle."""

    def __init__(self, body: _Chunks) -> None:
        self.buffers: list[pickle.PickleBuffer] = []
        super().__init__(body, 5, buffer_callback=self.buffers.append)

    def reducer_override(self, obj: object) -> Any:  # noqa: ANN401 - see `pickle.Pickler`
        if type(obj) is not SerializedModel:
            return NotImplemented
        stub = _Stub()
        stub.pieces = obj.pieces
        return bytes, (pickle.PickleBuffer(stub),)


def _parts(buffer: memoryview) -> Frame:
    """What is written for a buffer."""
    return buffer.obj.pieces if isinstance(buffer.obj, _Stub) else (buffer,)


def pack(message: object) -> Frame:
    """A message as bytes to send one after the other; models and arrays are not copied.

    A `SerializedModel` arrives as ``bytes``.

    Raises:
        TypeError: It cannot be pickled; or `AttributeError` or `pickle.PicklingError`.
    """
    body = _Chunks()
    pickler = _Pickler(body)
    pickler.dump(message)
    rest = [_parts(b.raw()) for b in pickler.buffers]
    sizes = [sum(map(len, body)), *(sum(memoryview(p).nbytes for p in parts) for parts in rest)]
    head = struct.pack(f">Q{len(sizes)}Q", len(sizes), *sizes)
    return [head, *body, *(p for parts in rest for p in parts)]


def send(stream: BinaryIO, frame: Frame) -> None:
    """Write a packed message.

    Raises:
        OSError: The other side is gone.
    """
    for part in frame:
        stream.write(part)
    stream.flush()


def receive(stream: BinaryIO) -> list[bytearray]:
    """Read a packed message.

    Raises:
        EOFError: The other side is gone.
        OSError: The pipe to the other side broke.
    """
    (count,) = struct.unpack(">Q", exactly(stream, 8))
    sizes = struct.unpack(f">{count}Q", exactly(stream, 8 * count))
    return [exactly(stream, size) for size in sizes]


def exactly(stream: BinaryIO, size: int) -> bytearray:
    """Read so many bytes.

    Raises:
        EOFError: There are fewer.
        OSError: The other side is gone.
    """
    data = bytearray(size)
    view = memoryview(data)
    while view:
        read: int = stream.readinto(view)  # type: ignore[attr-defined]
        if not read:
            raise EOFError
        view = view[read:]
    return data


def load(parts: list[bytearray]) -> Any:  # noqa: ANN401 - a message is anything
    """Unpack a message. Both sides are ours: nothing else can write to the pipes."""
    return pickle.loads(parts[0], buffers=parts[1:])  # noqa: S301 - see above
