"""Rounding to a number format is that of ml_dtypes, NumPy and ONNX Runtime's Cast, bit by bit."""

from __future__ import annotations

from dataclasses import replace

import ml_dtypes
import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from precsearch.core.errors import OptionError
from precsearch.core.formats import BFLOAT16, FLOAT8E4M3, FLOAT16, FLOAT32, INT8, NumberFormat
from precsearch.emulation.round_nodes import cast_pair
from precsearch.graph.encode import coded, rounded, stored

ON_BITS = replace(FLOAT16, name="float16 by the general rule")
KINDS = {BFLOAT16: ml_dtypes.bfloat16, FLOAT16: np.float16, ON_BITS: np.float16}
WORDS = np.random.default_rng(0).integers(0, 1 << 32, 200_000, np.uint64).astype(np.uint32)
EDGES = [0.0, -0.0, np.inf, -np.inf, np.nan, 65504, 65519.9, 65520, 2.0**-24, 2.0**-25, 3e-8]
EDGES += [FLOAT32.largest, BFLOAT16.largest, BFLOAT16.overflow, -FLOAT32.largest, 2.0**-149]
VALUES = np.concatenate([WORDS.view(np.float32), np.asarray(EDGES, np.float32)])
each = pytest.mark.parametrize("wanted", [BFLOAT16, FLOAT16], ids=lambda row: row.name)


def same(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> bool:
    bits = a.view(np.uint32) == b.view(np.uint32)
    return bool(np.all(bits | (np.isnan(a) & np.isnan(b))))


@pytest.mark.parametrize("wanted", KINDS, ids=lambda row: row.name)
def test_rounding_is_that_of_other_libraries(wanted: NumberFormat) -> None:
    with np.errstate(all="ignore"):
        assert same(rounded(VALUES, wanted), VALUES.astype(KINDS[wanted]).astype(np.float32))


def test_e4m3_is_rounded_as_elsewhere_within_its_range() -> None:
    made = rounded(VALUES, FLOAT8E4M3)
    fits = np.isfinite(made)
    with np.errstate(all="ignore"):
        assert same(made[fits], VALUES[fits].astype(ml_dtypes.float8_e4m3fn).astype(np.float32))


@given(st.floats(width=32), st.sampled_from([*KINDS, FLOAT8E4M3]))
def test_rounding_again_changes_nothing(value: float, wanted: NumberFormat) -> None:
    once = rounded(np.asarray(value, np.float32), wanted)
    assert same(rounded(once, wanted), once)


@each
def test_a_pair_of_casts_in_a_proxy_rounds_the_same(wanted: NumberFormat) -> None:
    graph = helper.make_graph(
        cast_pair("x", "y", wanted),
        "pair",
        [helper.make_tensor_value_info("x", FLOAT32.elem_type, [None])],
        [helper.make_tensor_value_info("y", FLOAT32.elem_type, [None])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    (found,) = session.run(None, {"x": VALUES})
    assert same(np.asarray(found), rounded(VALUES, wanted))


@each
def test_a_stored_constant_holds_the_rounded_values(wanted: NumberFormat) -> None:
    proto = stored("w", VALUES.reshape(2, -1), wanted)
    onnx.checker.check_tensor(proto)
    assert (proto.name, proto.data_type, list(proto.dims)) == (
        "w",
        wanted.elem_type,
        [2, -(-len(VALUES) // 2)],
    )
    raw = np.frombuffer(proto.raw_data, KINDS[wanted]).astype(np.float32)
    assert same(raw, rounded(VALUES, wanted))


def test_a_code_of_e4m3_is_that_of_its_value() -> None:
    codes = np.arange(256, dtype=np.uint8)
    values = codes.view(ml_dtypes.float8_e4m3fn).astype(np.float32)
    proto = coded("w", values, FLOAT8E4M3)
    onnx.checker.check_tensor(proto)
    assert proto.data_type == onnx.TensorProto.FLOAT8E4M3FN
    assert proto.raw_data == codes.tobytes()


def test_a_float_format_of_a_plug_in_is_stored_by_its_row() -> None:
    """E5M2 of OFP8, which has infinities, as no table here has it."""
    e5m2 = NumberFormat("float8e5m2", 19, 8, 3, 57344.0, 2.0**-14, 2.0**-16, 19)
    codes = np.arange(256, dtype=np.uint8)
    values = codes.view(ml_dtypes.float8_e5m2).astype(np.float32)
    raw = np.frombuffer(stored("w", values, e5m2).raw_data, ml_dtypes.float8_e5m2)
    assert same(raw.astype(np.float32), values)


def test_no_constant_is_stored_in_an_integer_format() -> None:
    with pytest.raises(ValueError, match="int8"):
        stored("w", VALUES, INT8)


def test_fp32_is_stored_as_it_is() -> None:
    assert same(numpy_helper.to_array(stored("w", VALUES, FLOAT32)), VALUES)


@pytest.mark.parametrize("significand", [4, 7, 11])
@pytest.mark.parametrize("source", ["x", "q", "features"])
def test_a_format_that_onnx_lacks_is_rounded_to_in_arithmetic(
    source: str, significand: int
) -> None:
    wanted = replace(
        FLOAT16,
        name="made up",
        elem_type=0,
        significand_bits=significand,
        largest=float((2 - 2.0 ** (1 - significand)) * 2.0**15),
        smallest=2.0 ** (-13 - significand),
    )
    graph = helper.make_graph(
        cast_pair(source, "y", wanted),
        "pair",
        [helper.make_tensor_value_info(source, FLOAT32.elem_type, [None])],
        [helper.make_tensor_value_info("y", FLOAT32.elem_type, [None])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    near = np.random.default_rng(1).normal(0, 1, 50_000).astype(np.float32)
    values = np.concatenate([VALUES, near, near * np.float32(2.0**-14)])
    (found,) = session.run(None, {source: values})
    np.testing.assert_array_equal(np.asarray(found), rounded(values, wanted))


def test_a_wide_format_that_onnx_lacks_is_refused() -> None:
    with pytest.raises(OptionError, match="ONNX has no type wide"):
        cast_pair("x", "y", replace(BFLOAT16, name="wide", elem_type=0))
