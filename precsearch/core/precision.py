"""The numeric precisions, and the order in which they fall back on each other."""

from __future__ import annotations

from enum import Enum

__all__ = ["Precision"]

_BITS = {"fp32": 32, "fp16": 16, "int8": 8}
_RANKS = {"fp32": 0, "fp16": 2, "int8": 4}


class Precision(str, Enum):
    """A numeric precision that a group can be asked to run in.

    What an added member needs is listed by ``tests/core/test_precision.py``: until it has all of
    that, those tests fail.
    """

    FP32 = "fp32"
    FP16 = "fp16"
    INT8 = "int8"

    @property
    def bits(self) -> int:
        """Storage bits of one element."""
        return _BITS[self.value]

    @property
    def rank(self) -> int:
        """Place in the declared order of fallback: 0 is the most precise, no two share one.

        Precisions are ordered by this and never by `bits`: two may have the same width.
        """
        return _RANKS[self.value]

    @classmethod
    def below_fp32(cls) -> tuple[Precision, ...]:
        """Every precision but FP32, the least precise first."""
        return tuple(sorted((p for p in cls if p is not cls.FP32), key=lambda p: -p.rank))

    def __str__(self) -> str:
        return self.value
