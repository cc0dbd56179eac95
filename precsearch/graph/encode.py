"""FP32 values as another number format holds them.

Integer operations on the bits and FP32 additions alone, so that the same values give the same bytes
with every version of NumPy; NumPy itself has no bfloat16.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from precsearch.core.formats import FLOAT16, FLOAT32, NumberFormat

__all__ = ["coded", "rounded", "stored"]

Floats = npt.NDArray[np.float32]

_MAGIC = 1.5 * 2.0**23


def rounded(values: npt.NDArray[np.generic], number_format: NumberFormat) -> Floats:
    """The nearest values of a float format, ties to even; beyond its range infinite.

    A normal number is rounded on its bits; a subnormal one by adding and subtracting
    1.5 * 2^23 * u, u being the smallest number of the format (Dekker, *Numerische Mathematik* 18,
    1971, section 2).

    Args:
        values: Numbers of any shape, taken as FP32.
        number_format: Of at most 23 significant bits, or FP32 itself.

    Returns:
        FP32 values of the same shape.
    """
    exact = np.ascontiguousarray(values, np.float32).reshape(np.shape(values))
    if number_format == FLOAT32:
        return exact
    if number_format == FLOAT16:
        with np.errstate(over="ignore"):
            return np.asarray(exact.astype(np.float16).astype(np.float32))
    dropped = np.uint32(24 - number_format.significand_bits)
    words = exact.view(np.uint32)
    up = ((words >> dropped) & np.uint32(1)) + np.uint32((1 << (int(dropped) - 1)) - 1)
    rounded_values = ((words + up) & ~np.uint32((1 << int(dropped)) - 1)).view(np.float32)
    if number_format.smallest_normal > FLOAT32.smallest_normal:
        magic = np.float32(_MAGIC * number_format.smallest)
        small = np.abs(exact) < np.float32(number_format.smallest_normal)
        near_zero = np.where(small, exact, np.float32(0))
        rounded_values = np.where(
            small, np.copysign((near_zero + magic) - magic, exact), rounded_values
        )
    beyond = np.abs(rounded_values) > np.float32(number_format.largest)
    rounded_values = np.where(beyond, np.copysign(np.float32(np.inf), exact), rounded_values)
    return np.where(np.isnan(exact), exact, rounded_values)


def stored(
    name: str, values: npt.NDArray[np.generic], number_format: NumberFormat
) -> onnx.TensorProto:
    """FP32 values as a constant in a float format, rounded to it.

    Args:
        name: Of the constant.
        values: Numbers of any shape.
        number_format: FP32, float16, or any other float format of 8 or 16 bits that ONNX has.

    Raises:
        ValueError: No constant of another format is made here.
    """
    if number_format.is_integer or not number_format.elem_type:
        raise ValueError(f"no constant can be stored in {number_format.name}")
    if number_format.in_numpy:
        with np.errstate(over="ignore"):
            own = np.asarray(values).astype(np.dtype(number_format.name))
        return numpy_helper.from_array(own, name)
    return onnx.TensorProto(
        name=name,
        data_type=number_format.elem_type,
        dims=np.shape(values),
        raw_data=_codes(rounded(values, number_format), number_format).tobytes(),
    )


def coded(
    name: str, values: npt.NDArray[np.generic], number_format: NumberFormat
) -> onnx.TensorProto:
    """Values that a format holds, as a constant in it.

    Args:
        name: Of the constant.
        values: Numbers of any shape, rounded already.
        number_format: A float format that `stored` takes, int8 or uint8.

    Raises:
        ValueError: No constant of another format is made here.
    """
    if not number_format.is_integer:
        return stored(name, values, number_format)
    if number_format.bits != 8:
        raise ValueError(f"no constant can be coded in {number_format.name}")
    return numpy_helper.from_array(np.asarray(values, np.dtype(number_format.name)), name)


def _codes(values: Floats, number_format: NumberFormat) -> npt.NDArray[np.generic]:
    """The bits of values that a float format holds: sign, exponent, fraction (IEEE 754-2019, 3.4).

    The code behind that of the largest value is infinity, or no number in a format that has no
    infinity (OFP8 E4M3).

    Args:
        values: Rounded to the format, of any shape.
        number_format: Of 8 or 16 bits.
    """
    fraction = number_format.significand_bits - 1
    exponent = math.frexp(number_format.smallest_normal)[1]  # FP32's smallest normal number: -125
    words = values.view(np.uint32).astype(np.int64)
    magnitudes = (words & 0x7FFFFFFF) >> (23 - fraction)
    codes = magnitudes - ((exponent + 125) << fraction)
    small = np.abs(values) < np.float32(number_format.smallest_normal)
    steps = np.where(small, np.abs(values), 0) / np.float64(number_format.smallest)
    codes = np.where(small, steps.astype(np.int64), codes)
    top = math.frexp(number_format.largest)[1]
    mantissa = int(math.ldexp(number_format.largest, fraction + 1 - top))
    last = ((top - exponent) << fraction) + mantissa
    quiet = 1 << (fraction - 1)  # a NaN, not an infinity
    no_number = (last + 1) | quiet | (magnitudes & ((1 << fraction) - 1))
    codes = np.where(np.isinf(values), last + 1, np.where(np.isnan(values), no_number, codes))
    signs = (words >> 31) << (number_format.bits - 1)
    return (codes | signs).astype(np.dtype(f"<u{number_format.bits // 8}"))
