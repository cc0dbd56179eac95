"""A serialized model that is not joined before somebody needs it in one piece."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

__all__ = ["SerializedModel"]


@dataclass(frozen=True)
class SerializedModel:
    """A serialized ``ModelProto`` in pieces, most of which other models of a search share.

    ``bytes`` joins them, which takes as much memory again.

    Attributes:
        pieces: One after the other.
    """

    pieces: tuple[bytes, ...]

    def __bytes__(self) -> bytes:
        return b"".join(self.pieces)

    def __len__(self) -> int:
        return sum(map(len, self.pieces))

    def __reduce__(self) -> tuple[type[SerializedModel], tuple[tuple[bytes]]]:
        return SerializedModel, ((bytes(self),),)

    @property
    def sha256(self) -> str:
        """SHA-256 of the bytes, as hex."""
        digest = hashlib.sha256()
        for piece in self.pieces:
            digest.update(piece)
        return digest.hexdigest()
