"""What a scale promises: half a step of error at most, zero exactly, one range for tied tensors."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from precsearch.backends.onnxruntime.backend import scheme
from precsearch.core.formats import FLOAT8E4M3
from precsearch.core.precision import Precision
from precsearch.core.quantization import TensorFormat
from precsearch.lowering.qdq.scales import QuantParams, RangeScales, TensorRange, Tie
from precsearch.lowering.qdq.weights import quantize_weight

INT8, FP8 = Precision.INT8, Precision.FP8
U8 = scheme().activation(INT8)
E4M3 = TensorFormat(FLOAT8E4M3)
NUMBERS = st.floats(-1e3, 1e3, width=32)


@given(st.lists(NUMBERS, min_size=2, max_size=64), st.sampled_from([7, 8]))
def test_a_weight_is_half_a_step_off_at_most(values: list[float], bits: int) -> None:
    weight = np.array(values, np.float32)[None]
    q, scale = quantize_weight(weight, 0, stored_as=scheme(bits).weight("Conv", INT8))
    assert np.abs(q.astype(int)).max() <= 2 ** (bits - 1) - 1
    assert np.all(
        np.abs(q.astype(np.float32) * scale[:, None] - weight) <= scale[:, None] * 0.501 + 1e-30
    )


@given(NUMBERS, NUMBERS, st.floats(0, 1))
def test_an_activation_is_half_a_step_off_at_most(a: float, b: float, share: float) -> None:
    low, high = min(a, b), max(a, b)
    params = QuantParams.of(TensorRange(low, high), U8)
    value = low + share * (high - low)
    q = np.clip(np.rint(value / params.scale) + params.zero_point, 0, 255)
    # Half a step of the value's own rounding, and half a step of the zero point's at the ends.
    assert abs((q - params.zero_point) * params.scale - value) <= params.scale * 1.01
    assert 0 <= params.zero_point <= 255
    if low >= 0:
        assert params.zero_point == 0
    if low < 0 < high:
        assert abs(params.zero_point - -low / params.scale) <= 0.501


def test_tied_tensors_share_the_union_of_their_ranges() -> None:
    ranges = {"a": TensorRange(-1.0, 1.0), "b": TensorRange(-4.0, 2.0), "c": TensorRange(0.0, 9.0)}
    found = RangeScales(ranges, scheme()).assign(ranges, [Tie("a", "b", exact=True)])
    assert found["a"] == found["b"] == QuantParams.of(TensorRange(-4.0, 2.0), U8)
    assert found["c"] == QuantParams.of(TensorRange(0.0, 9.0), U8)


@given(st.lists(NUMBERS, min_size=2, max_size=64))
def test_a_weight_in_fp8_reaches_448_and_is_a_sixteenth_off_at_most(values: list[float]) -> None:
    weight = np.array(values, np.float32)[None]
    q, scale = quantize_weight(weight, 0, stored_as=E4M3)
    if np.abs(weight).max() >= 448 * 2.0**-100:  # below that the least scale there is takes over
        assert np.abs(q).max() == 448
    smallest = FLOAT8E4M3.smallest * scale[:, None]
    allowed = np.maximum(np.abs(weight) / 16, smallest / 2)
    assert np.all(np.abs(q.astype(np.float32) * scale[:, None] - weight) <= allowed * 1.01 + 1e-30)


@given(NUMBERS, NUMBERS)
def test_an_activation_in_fp8_has_no_zero_point(a: float, b: float) -> None:
    params = QuantParams.of(TensorRange(min(a, b), max(a, b)), E4M3)
    assert params.zero_point == 0
    assert params.scale * 448 >= max(abs(a), abs(b)) * 0.999
