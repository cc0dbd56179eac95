"""FP32 values as another number format holds them.

Integer operations on the bits and FP32 additions alone, so that the same values give the same bytes
with every version of NumPy; NumPy itself has no bfloat16.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from precsearch.core.formats import BFLOAT16, FLOAT8E4M3, FLOAT16, FLOAT32, NumberFormat

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
    """FP32 values as a constant in FP32, float16 or bfloat16.

    Args:
        name: Of the constant.
        values: Numbers of any shape.
        number_format: What they are rounded to.

    Raises:
        ValueError: No constant of another format is made here.
    """
    if number_format == FLOAT32:
        return numpy_helper.from_array(np.asarray(values, np.float32), name)
    if number_format == FLOAT16:
        with np.errstate(over="ignore"):
            return numpy_helper.from_array(np.asarray(values).astype(np.float16), name)
    if number_format != BFLOAT16:
        raise ValueError(f"no constant can be stored in {number_format.name}")
    encoded = rounded(values, BFLOAT16)
    quiet = np.where(np.isnan(encoded), np.uint32(1 << 22), np.uint32(0))  # a NaN, not an infinity
    high = ((encoded.view(np.uint32) | quiet) >> np.uint32(16)).astype("<u2")
    return onnx.TensorProto(
        name=name,
        data_type=BFLOAT16.elem_type,
        dims=np.shape(values),
        raw_data=high.tobytes(),
    )


def coded(
    name: str, values: npt.NDArray[np.generic], number_format: NumberFormat
) -> onnx.TensorProto:
    """Values that a format holds, as a constant in it.

    Args:
        name: Of the constant.
        values: Numbers of any shape, rounded already.
        number_format: FP32, float8e4m3, int8 or uint8.

    Raises:
        ValueError: No constant of another format is made here.
    """
    if number_format == FLOAT8E4M3:
        exact = np.asarray(values, np.float32)
        codes = np.searchsorted(_E4M3, np.abs(exact)).astype(np.uint8)
        codes |= np.signbit(exact).astype(np.uint8) << np.uint8(7)
        return onnx.TensorProto(
            name=name,
            data_type=FLOAT8E4M3.elem_type,
            dims=np.shape(values),
            raw_data=codes.tobytes(),
        )
    if number_format == FLOAT32:
        return stored(name, values, FLOAT32)
    if not number_format.is_integer or number_format.bits != 8:
        raise ValueError(f"no constant can be coded in {number_format.name}")
    return numpy_helper.from_array(np.asarray(values, np.dtype(number_format.name)), name)


def _e4m3() -> Floats:
    """The values of the codes 0 to 126, ascending; 127 is not a number."""
    code = np.arange(127)
    exponent, fraction = code >> 3, code & 7
    normal = np.ldexp(8.0 + fraction, exponent - 10)
    return np.asarray(np.where(exponent == 0, np.ldexp(fraction * 1.0, -9), normal), np.float32)


_E4M3 = _e4m3()
