"""Number formats: how the values of a tensor are stored, and which values those can be.

Sources: IEEE 754-2019 (float32, float16), OCP OFP8 1.0 (float8e4m3), the ONNX operator
specification (bfloat16, the integers, the operator sets).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = [
    "BFLOAT16",
    "FLOAT8E4M3",
    "FLOAT16",
    "FLOAT32",
    "FORMATS",
    "INT4",
    "INT8",
    "TFLOAT32",
    "UINT8",
    "NumberFormat",
]


@dataclass(frozen=True, slots=True)
class NumberFormat:
    """One format. A float format rounds to nearest, ties to even.

    Attributes:
        name: Such as ``float16``; unique.
        elem_type: ``onnx.TensorProto.DataType`` of a tensor in it, 0 if ONNX has no such type.
        bits: Bits that one value takes in storage. They do not order formats.
        significand_bits: Significant bits of a normal value, the hidden one counted; of an integer
            those of its magnitude.
        largest: The largest finite value.
        smallest_normal: The smallest positive value with all significant bits; 1 for integers.
        smallest: The smallest positive value; 1 for integers.
        min_opset: The first operator set whose Cast (for integers and float8: QuantizeLinear) takes
            it.
    """

    name: str
    elem_type: int
    bits: int
    significand_bits: int
    largest: float
    smallest_normal: float
    smallest: float
    min_opset: int

    @property
    def is_integer(self) -> bool:
        """Whether neighbouring values are 1 apart everywhere."""
        return self.smallest == 1

    @property
    def lowest(self) -> float:
        """The lowest finite value. An integer format has a bit for the sign, or none."""
        if not self.is_integer:
            return -self.largest
        return -self.largest - 1 if self.significand_bits < self.bits else 0.0

    @property
    def in_numpy(self) -> bool:
        """Whether NumPy has arrays of it without another package."""
        return self.name in _IN_NUMPY

    @property
    def epsilon(self) -> float:
        """Distance from 1 to the next larger value of a float format."""
        return float(2.0 ** (1 - self.significand_bits))

    @property
    def overflow(self) -> float:
        """The magnitude from which a float format rounds to infinity: half a step too far."""
        return self.largest + math.ldexp(0.5, math.frexp(self.largest)[1] - self.significand_bits)

    @property
    def flushed(self) -> float:
        """The magnitude up to which a float format rounds to zero: ties go to even."""
        return self.smallest / 2


_IN_NUMPY = frozenset({"float16", "float32", "int8", "uint8"})

FLOAT32 = NumberFormat(
    "float32", 1, 32, 24, float((2 - 2.0**-23) * 2.0**127), 2.0**-126, 2.0**-149, 1
)
TFLOAT32 = NumberFormat(
    "tfloat32", 0, 32, 11, float((2 - 2.0**-10) * 2.0**127), 2.0**-126, 2.0**-136, 1
)
"""What NVIDIA's tensor cores round the factors of an FP32 product to. No tensor is stored in it."""

BFLOAT16 = NumberFormat(
    "bfloat16", 16, 16, 8, float((2 - 2.0**-7) * 2.0**127), 2.0**-126, 2.0**-133, 13
)
FLOAT16 = NumberFormat("float16", 10, 16, 11, 65504.0, 2.0**-14, 2.0**-24, 1)
FLOAT8E4M3 = NumberFormat("float8e4m3", 17, 8, 4, 448.0, 2.0**-6, 2.0**-9, 19)
"""E4M3FN: no infinity, so that QuantizeLinear saturates at 448."""

INT8 = NumberFormat("int8", 3, 8, 7, 127.0, 1.0, 1.0, 10)
UINT8 = NumberFormat("uint8", 2, 8, 8, 255.0, 1.0, 1.0, 10)
INT4 = NumberFormat("int4", 22, 4, 3, 7.0, 1.0, 1.0, 21)

FORMATS = {
    row.name: row for row in (FLOAT32, TFLOAT32, BFLOAT16, FLOAT16, FLOAT8E4M3, INT8, UINT8, INT4)
}
"""Every format by name."""
