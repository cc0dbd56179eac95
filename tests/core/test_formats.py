"""The table of number formats agrees with those who implement them."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest

from precsearch.core.formats import BFLOAT16, FLOAT8E4M3, FLOAT16, FLOAT32, FORMATS, NumberFormat

DTYPES: Any = ml_dtypes  # its finfo and iinfo have no types
OTHERS: dict[str, Any] = {
    "float32": np.finfo(np.float32),
    "float16": np.finfo(np.float16),
    "bfloat16": DTYPES.finfo(ml_dtypes.bfloat16),
    "float8e4m3": DTYPES.finfo(ml_dtypes.float8_e4m3fn),
}
INTEGERS: dict[str, Any] = {
    "int8": np.iinfo(np.int8),
    "uint8": np.iinfo(np.uint8),
    "int4": DTYPES.iinfo(ml_dtypes.int4),
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_float_format_is_that_of_numpy_and_ml_dtypes(name: str) -> None:
    row, other = FORMATS[name], OTHERS[name]
    assert (row.bits, row.significand_bits) == (other.bits, other.nmant + 1)
    assert (row.lowest, row.largest) == (float(other.min), float(other.max))
    assert row.smallest_normal == float(other.smallest_normal)
    assert row.smallest == float(other.smallest_subnormal)
    assert not row.is_integer


@pytest.mark.parametrize("name", INTEGERS)
def test_an_integer_format_has_the_largest_value_of_its_type(name: str) -> None:
    row, other = FORMATS[name], INTEGERS[name]
    assert (row.bits, row.lowest, row.largest) == (other.bits, float(other.min), float(other.max))
    assert row.largest == 2**row.significand_bits - 1
    assert row.is_integer


@pytest.mark.parametrize("row", FORMATS.values(), ids=lambda row: row.name)
def test_the_onnx_type_of_a_format_has_its_name(row: NumberFormat) -> None:
    if row.elem_type:
        name = onnx.TensorProto.DataType.Name(row.elem_type).lower()
        assert name in (row.name, {"float32": "float", "float8e4m3": "float8e4m3fn"}.get(row.name))


@pytest.mark.parametrize("row", [BFLOAT16, FLOAT16], ids=lambda row: row.name)
def test_the_first_value_that_overflows_is_half_a_step_beyond_the_largest(
    row: NumberFormat,
) -> None:
    kind = np.float16 if row is FLOAT16 else ml_dtypes.bfloat16
    below = np.nextafter(np.float32(row.overflow), np.float32(0))
    with np.errstate(over="ignore"):
        assert np.isinf(np.float32(row.overflow).astype(kind))
        assert float(below.astype(kind)) == row.largest


@pytest.mark.parametrize("row", [BFLOAT16, FLOAT16], ids=lambda row: row.name)
def test_what_is_flushed_is_half_of_the_smallest_value(row: NumberFormat) -> None:
    kind = np.float16 if row is FLOAT16 else ml_dtypes.bfloat16
    above = np.nextafter(np.float32(row.flushed), np.float32(1))
    assert float(np.float32(row.flushed).astype(kind)) == 0
    assert float(above.astype(kind)) == row.smallest


def test_the_largest_e4m3_value_is_448() -> None:
    assert FLOAT8E4M3.largest == 448
    assert FLOAT32.largest > BFLOAT16.largest > FLOAT16.largest > FLOAT8E4M3.largest
