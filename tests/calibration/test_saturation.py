"""Values that saturate behind a tensor need no levels: the range is cut where curves are flat."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from precsearch.calibration.saturation import Curves, curves_behind, useful_range
from precsearch.graph.prepare import prepare
from precsearch.graph.reading.read import SourceModel
from precsearch.lowering.qdq.scales import TensorRange
from tests.rewrites.scalable_models import CHANNELS, Chain, conv


def silu(c: Chain) -> None:
    before = c.tensor
    c.node("Sigmoid", [before])
    c.node("Mul", [c.tensor, before])


def hard_swish(c: Chain) -> None:
    before = c.tensor
    c.node("HardSigmoid", [before], alpha=1 / 6, beta=0.5)
    c.node("Mul", [before, c.tensor])


def gelu(c: Chain) -> None:
    before = c.tensor
    c.node("Div", [before, c.constant(np.float32(math.sqrt(2)))])
    c.node("Erf", [c.tensor])
    c.node("Add", [c.tensor, c.constant(np.float32(1))])
    c.node("Mul", [before, c.tensor])
    c.node("Mul", [c.tensor, c.constant(np.float32(0.5))])


def clip(c: Chain) -> None:
    c.node("Clip", [c.tensor, c.constant(np.float32(-1)), c.constant(np.float32(6))])


def gate(c: Chain) -> None:
    before = c.tensor
    conv(c)
    tensor = c.tensor
    c.node("HardSigmoid", [tensor], alpha=0.2, beta=0.5)
    c.node("Mul", [before, c.tensor])


def curves(*steps: Callable[[Chain], None]) -> Curves | None:
    """Behind the first Conv."""
    chain = Chain(0)
    conv(chain)
    for step in steps:
        step(chain)
    conv(chain)
    tensor = "t1" if gate in steps else "t0"
    source = SourceModel(Path("model.onnx"), chain.model([2, CHANNELS, 4, 4]), "", ())
    return curves_behind([tensor], prepare(source)).get(tensor)


def cut(step: Callable[[Chain], None], low: float, high: float) -> TensorRange:
    found = curves(step)
    assert found is not None
    return useful_range(TensorRange(low, high), found)


@pytest.mark.parametrize(
    ("step", "low", "high"),
    [
        (silu, (-6.5, -4.0), (20.0, 20.0)),
        (hard_swish, (-3.0, -2.8), (20.0, 20.0)),
        (gelu, (-3.2, -1.8), (20.0, 20.0)),
        (clip, (-1.1, -0.8), (5.9, 6.1)),
        (gate, (-2.7, -2.3), (2.3, 2.7)),
    ],
)
def test_a_range_ends_where_the_next_function_saturates(
    step: Callable[[Chain], None], low: tuple[float, float], high: tuple[float, float]
) -> None:
    found = cut(step, -40.0, 20.0)
    assert low[0] <= found.low <= low[1]
    assert high[0] <= found.high <= high[1]


@settings(max_examples=60, deadline=None)
@given(
    step=st.sampled_from([silu, hard_swish, gelu, clip, gate]),
    low=st.floats(-200, 0),
    high=st.floats(0.01, 200),
)
def test_cutting_costs_no_more_than_rounding(
    step: Callable[[Chain], None], low: float, high: float
) -> None:
    found = curves(step)
    assert found is not None
    kept = useful_range(TensorRange(low, high), found)
    assert low <= kept.low <= 0 <= kept.high <= high
    points = np.linspace(low, high, 1001)
    values, clipped = found.at(points), found.at(np.clip(points, kept.low, kept.high))
    level = (kept.high - kept.low) / 255
    steepest = 1.5  # of these curves: of HardSwish at 3
    assert np.abs(values - clipped).max() <= steepest * level / 2 + 1e-9


def test_a_range_within_the_useful_part_stays() -> None:
    whole = TensorRange(-0.2, 20.0)
    found = curves(silu)
    assert found is not None
    assert useful_range(whole, found) == whole


def shortcut(c: Chain) -> None:
    before = c.tensor
    silu(c)
    c.node("Add", [c.tensor, before])


def residual(c: Chain) -> None:
    """The tensor is read by a Conv as well."""
    before = c.tensor
    silu(c)
    after = c.tensor
    c.tensor = before
    conv(c)
    c.node("Add", [c.tensor, after])


def relu(c: Chain) -> None:
    c.node("Relu", [c.tensor])
    c.node("MaxPool", [c.tensor], kernel_shape=[1, 1])


def test_a_tensor_with_another_reader_is_not_cut() -> None:
    assert curves(residual) is None


def test_a_curve_that_never_saturates_is_not_cut() -> None:
    found = curves(shortcut)
    assert found is not None
    kept = useful_range(TensorRange(-40.0, 20.0), found)
    assert kept == TensorRange(-40.0, 20.0)


def test_a_relu_needs_no_negative_values() -> None:
    found = curves(relu)
    assert found is not None
    kept = useful_range(TensorRange(-40.0, 20.0), found)
    assert -0.1 <= kept.low <= 0
    assert kept.high == 20.0
