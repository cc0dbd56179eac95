"""Equalization leaves FP32 as it is, repairs INT8, and is repeated from a plan's numbers."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from precsearch.calibration.channels import ChannelStatistics
from precsearch.codec.vectors import decode_vector, encode_vector
from precsearch.graph.prepare import prepare
from precsearch.graph.reading.read import SourceModel, read_model
from precsearch.graph.view import GraphView
from precsearch.rewrites import with_rewrites
from precsearch.rewrites.scaling.equalize import EQUALIZE, name_of
from precsearch.rewrites.scaling.homogeneity import channel_classes
from precsearch.rewrites.scaling.scale_choice import chosen_scales, scalable_axes
from tests.rewrites.scalable_models import CHANNELS, IMAGES, Chain, conv, scalable_models


def source_of(model: onnx.ModelProto, folder: Path) -> SourceModel:
    onnx.save(model, folder / "model.onnx")
    return read_model(folder / "model.onnx")


def run(model: onnx.ModelProto, feed: dict[str, np.ndarray]) -> np.ndarray:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), options)
    found: np.ndarray = session.run(None, feed)[0]
    return found


def every_channel(graph: GraphView, seed: int) -> dict[str, str]:
    """Exponents for every axis that may hold channels, those that must keep their scale too."""
    rng = np.random.default_rng(seed)
    labels = channel_classes(graph).labels
    return {
        name_of(axis): encode_vector(rng.integers(-6, 7, len(ids))) for axis, ids in labels.items()
    }


@settings(max_examples=60, deadline=None)
@given(made=scalable_models(), seed=st.integers(0, 99))
def test_fp32_does_not_change_whatever_the_scales(
    made: tuple[onnx.ModelProto, dict[str, np.ndarray]], seed: int
) -> None:
    model, feed = made
    with tempfile.TemporaryDirectory() as folder:
        source = source_of(model, Path(folder))
        vectors = every_channel(prepare(source), seed)
        first, second = (with_rewrites(source, [(EQUALIZE, vectors)]).proto for _ in range(2))
    assert first.SerializeToString() == second.SerializeToString()
    wanted, found = run(model, feed), run(first, feed)
    difference = np.linalg.norm(np.float64(found) - wanted)
    assert difference <= 1e-6 * max(float(np.linalg.norm(np.float64(wanted))), 1e-30)


@settings(max_examples=10, deadline=None)
@given(made=scalable_models(), seed=st.integers(0, 99))
def test_a_model_that_was_equalized_before_is_equalized_again(
    made: tuple[onnx.ModelProto, dict[str, np.ndarray]], seed: int
) -> None:
    model, feed = made
    with tempfile.TemporaryDirectory() as folder:
        source = source_of(model, Path(folder))
        once = with_rewrites(source, [(EQUALIZE, every_channel(prepare(source), seed))])
        twice = with_rewrites(once, [(EQUALIZE, every_channel(prepare(once), seed + 1))])
    names = [w.name for w in twice.proto.graph.initializer]
    assert len(names) == len(set(names))
    wanted, found = run(model, feed), run(twice.proto, feed)
    difference = np.linalg.norm(np.float64(found) - wanted)
    assert difference <= 1e-6 * max(float(np.linalg.norm(np.float64(wanted))), 1e-30)


def test_a_tensor_that_is_named_like_a_new_constant_keeps_its_name(tmp_path: Path) -> None:
    chain = Chain(0)
    conv(chain)
    conv(chain)
    name = f"{chain.tensor}/{EQUALIZE}/1"
    chain.node("Relu", [chain.tensor])
    chain.nodes[-1].output[0] = chain.tensor = name
    source = source_of(chain.model(["n", CHANNELS, 4, 4]), tmp_path)
    changed = with_rewrites(source, [(EQUALIZE, every_channel(prepare(source), 1))])
    assert changed is not source
    x = np.random.default_rng(0).standard_normal((1, CHANNELS, 4, 4)).astype(np.float32)
    found, wanted = (run(s.proto, {"x": x}) for s in (changed, source))
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


def free_channels(steps: list[str], folder: Path) -> dict[str, int]:
    """Tensor → number of channels whose scale may change, after a Conv and before another."""
    chain = Chain(0)
    conv(chain)
    for step in steps:
        IMAGES[step](chain)
    conv(chain)
    graph = prepare(source_of(chain.model(["n", CHANNELS, 4, 4]), folder))
    found = channel_classes(graph)
    return {tensor: int((ids >= 0).sum()) for (tensor, axis), ids in found.free() if axis == 1}


PASSED = ("relu", "leaky", "prelu", "max", "average", "depthwise", "residual", "pad", "clip at 0")


@pytest.mark.parametrize("step", PASSED)
def test_a_scale_passes_through(step: str, tmp_path: Path) -> None:
    assert free_channels([step], tmp_path)["t0"] == CHANNELS


@pytest.mark.parametrize("step", ["silu", "clip at 6", "instance norm"])
def test_a_scale_stops_at(step: str, tmp_path: Path) -> None:
    assert "t0" not in free_channels([step], tmp_path)


def test_ends_of_the_graph_keep_their_scales(tmp_path: Path) -> None:
    found = free_channels(["relu"], tmp_path)
    assert set(found) == {"t0", "t1"}


def unequal() -> tuple[GraphView, onnx.ModelProto, SourceModel, dict[str, np.ndarray]]:
    """Conv, Relu, Conv, where one channel in between is 1000 times as large as the others."""
    chain = Chain(1)
    conv(chain)
    chain.node("Relu", [chain.tensor])
    conv(chain)
    model = chain.model([8, CHANNELS, 4, 4])
    large = np.ones(CHANNELS, np.float32)
    large[2] = 1000
    first, bias, second = (onnx.numpy_helper.to_array(w) for w in model.graph.initializer[:3])
    changed: list[np.ndarray] = [
        first * large[:, None, None, None],
        bias * large,
        second / large[:, None, None],
    ]
    for proto, values in zip(model.graph.initializer, changed, strict=False):
        proto.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float32), proto.name))
    feed = {"x": np.random.default_rng(0).normal(0, 1, (8, CHANNELS, 4, 4)).astype(np.float32)}
    with tempfile.TemporaryDirectory() as folder:
        source = source_of(model, Path(folder))
        return prepare(source), model, source, feed


def statistics_of(
    graph: GraphView, model: onnx.ModelProto, feed: dict[str, np.ndarray]
) -> dict[tuple[str, int], ChannelStatistics]:
    found = {}
    for tensor, axis in scalable_axes(graph):
        looked = onnx.ModelProto()
        looked.CopyFrom(model)
        del looked.graph.output[:]
        looked.graph.output.append(onnx.helper.make_tensor_value_info(tensor, 1, None))
        value = np.float64(run(looked, feed))
        others = tuple(d for d in range(value.ndim) if d != axis)
        peak, square = np.abs(value).max(axis=others), np.square(value).mean(axis=others)
        found[tensor, axis] = ChannelStatistics(peak, square, bool((value < 0).any()))
    return found


def test_the_chosen_scales_bring_channels_to_like_ranges() -> None:
    graph, model, source, feed = unequal()
    chosen = chosen_scales(graph, statistics_of(graph, model, feed))
    changed = with_rewrites(source, [(EQUALIZE, chosen)])
    before = statistics_of(graph, model, feed)["t1", 1].peak
    after = statistics_of(prepare(changed), changed.proto, feed)["t1", 1].peak
    assert before.max() / before.min() > 300
    assert after.max() / after.min() < 5
    np.testing.assert_array_equal(run(changed.proto, feed), run(model, feed))


def test_like_channels_are_left_alone(tmp_path: Path) -> None:
    chain = Chain(1)
    conv(chain)
    chain.node("Relu", [chain.tensor])
    conv(chain)
    model = chain.model([8, CHANNELS, 4, 4])
    feed = {"x": np.random.default_rng(0).normal(0, 1, (8, CHANNELS, 4, 4)).astype(np.float32)}
    graph = prepare(source_of(model, tmp_path))
    assert chosen_scales(graph, statistics_of(graph, model, feed)) == {}


def test_factors_that_fit_nothing_change_nothing(tmp_path: Path) -> None:
    graph, _, source, _ = unequal()
    assert "t1" in {tensor for (tensor, _), _ in channel_classes(graph).free()}
    short, wrong = encode_vector(np.ones(2, np.int64)), "i1:?"
    for parameters in ({"1:t1": short}, {"1:t1": wrong}, {"1:none": short}, {"t1": short}, {}):
        assert with_rewrites(source, [(EQUALIZE, parameters)]).proto is source.proto


@given(st.lists(st.integers(-(2**31), 2**31 - 1), max_size=20))
def test_a_vector_is_read_as_it_was_written(values: list[int]) -> None:
    text = encode_vector(np.array(values, np.int64))
    assert decode_vector(text).tolist() == values


@pytest.mark.parametrize("text", ["", "i1", "i8:AA==", "i2:AA==", "i1:%%", "i1:AA"])
def test_text_that_is_not_a_vector_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no vector"):
        decode_vector(text)


def test_a_number_beyond_32_bits_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bits"):
        encode_vector(np.array([1 << 31]))
