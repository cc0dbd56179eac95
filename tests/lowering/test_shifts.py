"""Bias correction takes back what INT8 moves the mean of a Conv's outputs by."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from precsearch.backends.onnxruntime.backend import scheme
from precsearch.calibration.bias_shift import ShiftedLayer, ShiftRequest, collect_shifts
from precsearch.calibration.ranges import Calibration, collect_ranges
from precsearch.codec.vectors import decode_halves, encode_halves
from precsearch.core.precision import Precision
from precsearch.core.space import Assignment
from precsearch.graph.reading.read import read_model
from precsearch.lowering.lower import Lowering
from precsearch.lowering.qdq.scales import FixedScales, QuantParams, RangeScales
from precsearch.lowering.qdq.shifts import bias_holder, weight_axis
from precsearch.setup.target import open_target
from tests.rewrites.scalable_models import CHANNELS, Chain, conv


def chained(bias: bool) -> onnx.ModelProto:
    chain = Chain(2)
    if bias:
        conv(chain)
    else:
        chain.node("Conv", ["x", chain.weight(CHANNELS, CHANNELS, 3, 3)])
    return chain.model([2, CHANNELS, 16, 16])


def means(model: bytes, feed: dict[str, np.ndarray]) -> np.ndarray:
    found: np.ndarray = ort.InferenceSession(model).run(None, feed)[0]
    return np.asarray(np.float64(found).mean(axis=(0, 2, 3)))


@pytest.mark.parametrize("bias", [True, False])
def test_the_means_of_channels_come_back(bias: bool, tmp_path: Path) -> None:
    onnx.save(chained(bias), tmp_path / "m.onnx")
    target = open_target(read_model(tmp_path / "m.onnx"), "onnxruntime", None, "group", 1)
    # Inputs far from 0 on average, so that rounded weights move the mean of what is computed.
    x = np.random.default_rng(0).normal(3, 0.3, (2, CHANNELS, 16, 16)).astype(np.float32)
    plain = Lowering(target.graph, target.space, target.scheme, RangeScales({}, target.scheme))
    model = plain.lower(Assignment()).model
    ranges = collect_ranges(Calibration(model, "", ("x", "t0")), [{"x": x}])
    scales = RangeScales(ranges, target.scheme)
    whole = target.space.uniform(Precision.INT8)
    before = Lowering(target.graph, target.space, target.scheme, scales).lower(whole)
    layers = (ShiftedLayer("t0", before.params["x"], 4),)
    found = collect_shifts(ShiftRequest(model, "", layers, target.scheme), [{"x": x}])
    shifts = {key: row.astype(np.float32) for key, row in found.items()}
    shifted = scales.shifted(shifts)
    after = Lowering(target.graph, target.space, target.scheme, shifted).lower(whole)
    wanted = means(model, {"x": x})
    off = [np.abs(means(one.model, {"x": x}) - wanted).max() for one in (before, after)]
    assert off[1] < 0.3 * off[0]
    assert (set(before.shifts), set(after.shifts)) == (set(), {"t0"})
    fixed = FixedScales(after.params, shifts)
    again = Lowering(target.graph, target.space, target.scheme, fixed).lower(whole)
    assert again.model == after.model
    fp32 = Lowering(target.graph, target.space, target.scheme, shifted).lower(Assignment())
    assert fp32.model == model, "FP32 is not shifted"


def product(kind: str) -> onnx.ModelProto:
    """A product with its bias, and what it adds behind."""
    chain = Chain(2)
    weight, bias = chain.weight(16, 16), chain.weight(16)
    if kind == "MatMul":
        chain.node("Add", [bias, chain.node("MatMul", ["x", weight])])
    else:
        chain.node("Gemm", ["x", weight, bias], transB=int(kind == "Gemm, transposed"))
    return chain.model([32, 16])


@pytest.mark.parametrize("kind", ["MatMul", "Gemm", "Gemm, transposed"])
def test_the_means_of_a_product_come_back(kind: str, tmp_path: Path) -> None:
    onnx.save(product(kind), tmp_path / "m.onnx")
    target = open_target(read_model(tmp_path / "m.onnx"), "onnxruntime", None, "group", 1)
    x = np.random.default_rng(0).normal(3, 0.3, (32, 16)).astype(np.float32)
    bare = Lowering(target.graph, target.space, target.scheme, RangeScales({}, target.scheme))
    model = bare.lower(Assignment()).model
    scales = RangeScales(collect_ranges(Calibration(model, "", ("x",)), [{"x": x}]), target.scheme)
    whole = target.space.uniform(Precision.INT8)
    before = Lowering(target.graph, target.space, target.scheme, scales).lower(whole)
    node = next(n for n in target.graph.nodes if n.is_op("MatMul", "Gemm"))
    holder = bias_holder(node, target.graph)
    assert holder is not None
    layer = ShiftedLayer(node.key, before.params["x"], 2, weight_axis(node))
    found = collect_shifts(ShiftRequest(model, "", (layer,), target.scheme), [{"x": x}])
    shifts = {holder.key: found[node.key].astype(np.float32)}
    shifted = scales.shifted(shifts)
    after = Lowering(target.graph, target.space, target.scheme, shifted).lower(whole)
    wanted, *off = (run(one, x).mean(axis=0) for one in (model, before.model, after.model))
    assert np.abs(off[1] - wanted).max() < 0.3 * np.abs(off[0] - wanted).max()
    fixed = FixedScales(after.params, shifts)
    again = Lowering(target.graph, target.space, target.scheme, fixed).lower(whole)
    assert again.model == after.model
    fp32 = Lowering(target.graph, target.space, target.scheme, shifted).lower(Assignment())
    assert fp32.model == model, "FP32 is not shifted"


def run(model: bytes, x: np.ndarray) -> np.ndarray:
    found: np.ndarray = ort.InferenceSession(model).run(None, {"x": x})[0]
    return found.astype(np.float64)


@pytest.mark.parametrize("step", ["no bias", "one number", "read twice"])
def test_a_product_without_a_bias_of_its_own_is_left_alone(step: str, tmp_path: Path) -> None:
    chain = Chain(2)
    first = chain.node("MatMul", ["x", chain.weight(16, 16)])
    if step != "no bias":
        chain.node("Add", [first, chain.weight(1 if step == "one number" else 16)])
    if step == "read twice":
        chain.node("Mul", [first, chain.tensor])
    onnx.save(chain.model([32, 16]), tmp_path / "m.onnx")
    graph = open_target(read_model(tmp_path / "m.onnx"), "onnxruntime", None, "group", 1).graph
    assert all(bias_holder(n, graph) is None for n in graph.nodes)


def test_a_layer_that_is_not_there_or_not_finite_has_no_shift() -> None:
    model = chained(True).SerializeToString()
    layers = tuple(ShiftedLayer(key, QuantParams(0.1, 0), 4) for key in ("nothing", "t0"))
    target = ShiftRequest(model, "", layers, scheme())
    x = np.full((2, CHANNELS, 16, 16), 3e38, np.float32)
    assert collect_shifts(target, [{"x": x}]) == {}


def test_halves_are_read_as_they_were_written() -> None:
    values = np.array([0, 1.5, -3e-5, 6e4], np.float16)
    assert decode_halves(encode_halves(values)).tolist() == values.tolist()
    for text in ("i1:AA==", "f2:A", encode_halves(np.array([np.inf], np.float16))):
        with pytest.raises(ValueError, match="is no vector"):
            decode_halves(text)
