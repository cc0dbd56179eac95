"""What a scale promises: half a step of error at most, zero exactly, one range for tied tensors."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from precsearch.backends.onnxruntime.backend import scheme
from precsearch.lowering.scales import QuantParams, RangeScales, TensorRange, Tie, quantise_weight

NUMBERS = st.floats(-1e3, 1e3, width=32)


@given(st.lists(NUMBERS, min_size=2, max_size=64), st.sampled_from([7, 8]))
def test_a_weight_is_half_a_step_off_at_most(values: list[float], bits: int) -> None:
    weight = np.array(values, np.float32)[None]
    q, scale = quantise_weight(weight, 0, bits=bits)
    assert np.abs(q.astype(int)).max() <= 2 ** (bits - 1) - 1
    assert np.all(np.abs(q * scale[:, None] - weight) <= scale[:, None] * 0.501 + 1e-30)


@given(NUMBERS, NUMBERS, st.floats(0, 1))
def test_an_activation_is_half_a_step_off_at_most(a: float, b: float, share: float) -> None:
    low, high = min(a, b), max(a, b)
    params = QuantParams.of(TensorRange(low, high), scheme())
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
    assert found["a"] == found["b"] == QuantParams.of(TensorRange(-4.0, 2.0), scheme())
    assert found["c"] == QuantParams.of(TensorRange(0.0, 9.0), scheme())
