"""Ranges are chosen tensor by tensor, by what they do to the operators that read the tensor."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from precsearch.backends.onnxruntime.backend import scheme
from precsearch.calibration.channels import ChannelRequest, collect_channels
from precsearch.calibration.range_choice import ChosenRange, RangeRequest, choose_ranges
from precsearch.calibration.ranges import METHODS, Calibration, collect_ranges, ranges_by_method
from precsearch.core.errors import ModelError
from precsearch.core.precision import Precision
from precsearch.lowering.qdq.scales import QuantParams
from tests.rewrites.scalable_models import CHANNELS, Chain, conv

SIZE = 128


def chained() -> onnx.ModelProto:
    chain = Chain(1)
    conv(chain)
    chain.node("Relu", [chain.tensor])
    conv(chain)
    return chain.model([4, CHANNELS, SIZE, SIZE])


def feed(outlier: float) -> dict[str, np.ndarray]:
    x = np.random.default_rng(0).normal(0, 1, (4, CHANNELS, SIZE, SIZE)).astype(np.float32)
    x[0, 0, 0, 0] = outlier
    return {"x": x}


def chosen(outlier: float) -> dict[str, ChosenRange]:
    calibration = Calibration(chained().SerializeToString(), "", ("x", "t1"))
    feeds = [feed(outlier)]
    found = ranges_by_method(calibration, feeds, METHODS)
    return choose_ranges(RangeRequest(calibration, scheme(), found), feeds)


def test_an_outlier_alone_does_not_set_the_range() -> None:
    found = chosen(16.0)["x"]
    assert found.method != "minmax"
    assert found.found.high < 14
    assert found.error < 0.95


def test_min_max_stays_where_nothing_is_gained() -> None:
    found = chosen(0.0)["t1"]
    assert found.error <= 1.0
    assert found.found.high > 0
    assert (found.method == "minmax") == (found.error == 1.0)


def test_the_range_of_a_non_negative_tensor_begins_at_zero() -> None:
    found = chosen(16.0)["t1"]
    params = QuantParams.of(found.found, scheme().activation(Precision.INT8))
    assert params.zero_point == 0


@pytest.mark.parametrize("method", METHODS)
def test_all_methods_at_once_find_what_each_finds(method: str) -> None:
    calibration = Calibration(chained().SerializeToString(), "", ("x", "t1"), method)
    every = ranges_by_method(calibration, [feed(9.0)], METHODS)
    assert collect_ranges(calibration, [feed(9.0)]) == every[method]


def test_calibration_ends_when_its_time_is_up() -> None:
    model = chained().SerializeToString()
    calibration = Calibration(model, "", ("x",), "mse", seconds=-1.0)
    with pytest.raises(ModelError, match="no time is left for all samples"):
        ranges_by_method(calibration, [feed(9.0)], METHODS)
    channels = ChannelRequest(model, "", (("x", 1),), {"x": 4}, seconds=-1.0)
    with pytest.raises(ModelError, match="no time is left for all samples"):
        collect_channels(channels, [feed(9.0)])


def test_entropy_cuts_outliers_off() -> None:
    calibration = Calibration(chained().SerializeToString(), "", ("x",), "entropy")
    assert collect_ranges(calibration, [feed(400.0)])["x"].high < 200


@pytest.mark.parametrize("opset", [17, 18])
def test_statistics_are_per_channel(opset: int) -> None:
    model = chained()
    model.opset_import[0].version = opset
    axes = (("x", 1), ("t1", 1))
    request = ChannelRequest(model.SerializeToString(), "", axes, {"x": 4, "t1": 4})
    x = feed(40.0)["x"]
    found = collect_channels(request, [{"x": x}, {"x": x}])
    np.testing.assert_allclose(found["x", 1].peak, np.abs(x).max(axis=(0, 2, 3)))
    square = np.square(x.astype(np.float64)).mean(axis=(0, 2, 3))
    np.testing.assert_allclose(found["x", 1].mean_square, square, rtol=1e-4)
    assert (found["x", 1].signed, found["t1", 1].signed) == (True, False)


def test_channels_that_are_not_finite_are_left_out() -> None:
    axes = (("x", 1), ("t1", 1))
    request = ChannelRequest(chained().SerializeToString(), "", axes, {"x": 4, "t1": 4})
    assert collect_channels(request, [feed(np.inf)]) == {}
