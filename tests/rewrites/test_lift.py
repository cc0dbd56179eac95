"""Models that come quantized: their Q/DQ are taken out, and INT8 has the author's scales."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from precsearch.api import inspect, optimize_events
from precsearch.cli.output.inspect import inspect_lines
from precsearch.cli.output.page import Page
from precsearch.core.errors import OptionError
from precsearch.core.events import StageStarted, Warned
from precsearch.core.precision import Precision
from precsearch.core.space import Assignment
from precsearch.graph.prepare import prepare
from precsearch.graph.reading.read import read_model
from precsearch.lowering.lower import Lowering
from precsearch.lowering.qdq.reach import quantizable
from precsearch.lowering.qdq.scales import RangeScales, TensorRange
from precsearch.optimization.stages.rewrite import open_rewritten
from precsearch.rewrites.apply import with_rewrites
from precsearch.rewrites.lift import _LIMITS, LIFT, author_ranges
from precsearch.setup.config import OptimizeConfig
from precsearch.setup.target import open_target

INT8 = Precision.INT8
DTYPES: Any = ml_dtypes  # its finfo and iinfo have no types
STEP = 0.03125
NO_ZERO = np.int8(0)


def author(folder: Path, zero: np.integer = NO_ZERO, *, quantized: bool = True) -> Path:
    """Conv → Relu → pool → Gemm, with Q/DQ before both layers and on their weights."""
    rng = np.random.default_rng(0)
    weights = {
        "w": rng.integers(-127, 128, (8, 4, 3, 3)).astype(np.int8),
        "v": rng.integers(-127, 128, (10, 8)).astype(np.int8),
    }
    nodes: list[onnx.NodeProto] = []
    constants = [numpy_helper.from_array(rng.normal(0, 1, 8).astype(np.float32), "b")]

    def const(name: str, values: object) -> str:
        constants.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def pair(x: str) -> str:
        args = [const(f"{x}_s", np.float32(STEP)), const(f"{x}_z", zero)]
        nodes.append(helper.make_node("QuantizeLinear", [x, *args], [f"{x}_q"]))
        nodes.append(helper.make_node("DequantizeLinear", [f"{x}_q", *args], [f"{x}_dq"]))
        return f"{x}_dq" if quantized else x

    def weight(name: str) -> str:
        scale = np.full(len(weights[name]), 0.0078125, np.float32)
        if not quantized:
            shape = (-1, *[1] * (weights[name].ndim - 1))
            return const(name, weights[name].astype(np.float32) * scale.reshape(shape))
        args = [const(f"{name}_i", weights[name]), const(f"{name}_s", scale)]
        args.append(const(f"{name}_z", np.zeros(len(scale), np.int8)))
        nodes.append(helper.make_node("DequantizeLinear", args, [f"{name}_dq"], axis=0))
        return f"{name}_dq"

    def op(kind: str, inputs: list[str], out: str, **attributes: int | list[int]) -> None:
        nodes.append(helper.make_node(kind, inputs, [out], **attributes))  # type: ignore[arg-type]

    op("Conv", [pair("x"), weight("w"), "b"], "c", pads=[1, 1, 1, 1])
    op("Relu", ["c"], "r")
    op("GlobalAveragePool", ["r"], "p")
    op("Flatten", ["p"], "f")
    op("Gemm", [pair("f"), weight("v")], "y", transB=1)
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4, 6, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 10])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    onnx.checker.check_model(model, full_check=True)
    path = folder / f"{'author' if quantized else 'float'}.onnx"
    onnx.save(model, path)
    return path


def outputs(model: bytes) -> np.ndarray:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    feed = np.random.default_rng(1).normal(0, 1, (3, 4, 6, 6)).astype(np.float32)
    return np.asarray(session.run(None, {"x": feed})[0])


@pytest.mark.parametrize("quantized", [True, False])
def test_products_that_keep_the_authors_qdq_are_said_by_inspect_and_by_a_search(
    quantized: bool, tmp_path: Path
) -> None:
    path, data = author(tmp_path, quantized=quantized), tmp_path / "data.npz"
    np.savez(data, x=np.random.default_rng(1).normal(0, 1, (8, 4, 6, 6)).astype(np.float32))
    found = inspect(path, backend="tensorrt-rtx")
    assert (found.kept, found.products) == (2 if quantized else 0, 2)
    note = "2 of 2 products stand between the author's Q/DQ"
    shown = " ".join(line.plain for line in inspect_lines(found, Page()))
    assert (note in shown) == quantized
    said: list[str] = []
    config = OptimizeConfig(path, data=data, backend="onnxruntime", run_dir=tmp_path / "run")
    events = optimize_events(config)
    for event in events:
        if isinstance(event, Warned):
            said.append(event.message)
        if isinstance(event, StageStarted) and event.stage == "calibrate":
            events.close()
            break
    assert any(message.startswith(note) for message in said) == quantized


def test_lifting_leaves_the_float_model(tmp_path: Path) -> None:
    lifted = with_rewrites(read_model(author(tmp_path)), [(LIFT, {})])
    kinds = {n.op_type for n in lifted.proto.graph.node}
    assert not kinds & {"QuantizeLinear", "DequantizeLinear"}
    plain = author(tmp_path, quantized=False)
    np.testing.assert_allclose(
        outputs(lifted.proto.SerializeToString()), outputs(plain.read_bytes()), rtol=1e-6
    )


@pytest.mark.parametrize(
    ("zero", "low", "high"),
    [(np.int8(0), -127, 127), (np.int8(-128), 0, 255), (np.uint8(7), -7, 248)],
)
def test_the_authors_scales_are_kept(zero: np.integer, low: int, high: int, tmp_path: Path) -> None:
    graph = prepare(read_model(author(tmp_path, zero)), 13)
    assert author_ranges(graph) == dict.fromkeys(("x", "f"), (low * STEP, high * STEP))


def test_int8_everywhere_gives_the_numbers_of_the_quantized_model(tmp_path: Path) -> None:
    """With a backend whose placement is the author's; lowered for another, it may requantize."""
    path = author(tmp_path)
    source = with_rewrites(read_model(path), [(LIFT, {})])
    target = open_target(source, "tensorrt", None, "group", 1, "trt-s8s8", form="weak")
    tensors = frozenset().union(*quantizable(target.graph, target.scheme, target.space).values())
    known = author_ranges(prepare(read_model(path), 13))
    ranges = {t: TensorRange(*known.get(t, (-1.0, 1.0))) for t in tensors}
    scales = RangeScales(ranges, target.scheme)
    lowering = Lowering(target.graph, target.space, target.scheme, scales, target.form)
    asked = {g.key: g.nearest(INT8) for g in target.space.free if not g.passive}
    made = lowering.lower(target.space.canonical(Assignment.of(asked)))
    assert {t: p.scale for t, p in made.params.items()} == {"x": STEP, "f": STEP}
    np.testing.assert_allclose(outputs(made.model), outputs(path.read_bytes()), rtol=1e-5)


def of_fp8(folder: Path, activation: int, weight: int) -> Path:
    """A MatMul whose data and weight the author has put into floats of 8 bits."""
    values = np.random.default_rng(0).normal(0, 4, (8, 5)).astype(np.float32).reshape(-1)
    scale = np.asarray(0.125, np.float32)
    constants = [
        numpy_helper.from_array(scale, "s"),
        helper.make_tensor("z", activation, [], [0.0]),
        helper.make_tensor("w", weight, [8, 5], values),
        helper.make_tensor("wz", weight, [], [0.0]),
    ]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("DequantizeLinear", ["w", "s", "wz"], ["v"]),
        helper.make_node("MatMul", ["d", "v"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 5])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)])
    path = folder / "fp8.onnx"
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("weight", [TensorProto.FLOAT8E4M3FN, TensorProto.FLOAT8E5M2])
@pytest.mark.parametrize(
    ("activation", "most"), [(TensorProto.FLOAT8E4M3FN, 448.0), (TensorProto.FLOAT8E5M2, 57344.0)]
)
def test_floats_of_8_bits_are_lifted_with_their_ranges_and_their_fractions(
    activation: int, most: float, weight: int, tmp_path: Path
) -> None:
    path = of_fp8(tmp_path, activation, weight)
    assert author_ranges(prepare(read_model(path), 19)) == {"x": (-most * 0.125, most * 0.125)}
    lifted = with_rewrites(read_model(path), [(LIFT, {})]).proto
    assert [n.op_type for n in lifted.graph.node] == ["MatMul"]
    stored = next(t for t in onnx.load(path).graph.initializer if t.name == "w")
    wanted = numpy_helper.to_array(stored).astype(np.float32) * np.float32(0.125)
    assert np.any(wanted % 0.125)
    kept = next(t for t in lifted.graph.initializer if t.name in lifted.graph.node[0].input)
    np.testing.assert_array_equal(numpy_helper.to_array(kept), wanted)


def test_limits_are_those_of_the_types() -> None:
    for name, (lowest, highest) in _LIMITS.items():
        kind = np.dtype(helper.tensor_dtype_to_np_dtype(getattr(TensorProto, name)))
        whole = "INT" in name
        limits = DTYPES.iinfo(kind) if whole else DTYPES.finfo(kind)
        assert (float(limits.min), float(limits.max)) == (lowest, highest), name


def test_a_search_begins_with_the_lifted_model_and_says_so_in_its_plan(tmp_path: Path) -> None:
    path = author(tmp_path)
    target, _, _ = open_rewritten(
        OptimizeConfig(path, backend="onnxruntime", lift=True), read_model(path)
    )
    assert target.rewrites == ((LIFT, {}),)
    assert len(target.space.free) > len(
        open_target(read_model(path), "onnxruntime", None, "group", 1).space.free
    )


def test_a_model_without_qdq_cannot_be_lifted(tmp_path: Path) -> None:
    path = author(tmp_path, quantized=False)
    proto = onnx.load(path)
    for node in [n for n in proto.graph.node if "Linear" in n.op_type]:
        proto.graph.node.remove(node)
    onnx.save(proto, path)
    config = OptimizeConfig(path, backend="onnxruntime", lift=True)
    with pytest.raises(OptionError, match="no Q/DQ pairs that --lift could take out"):
        open_rewritten(config, read_model(path))


@pytest.mark.parametrize(("zero", "top"), [(np.uint8(0), 255), (np.int8(-128), 255)])
def test_an_activation_that_a_quantizer_took_out_is_put_back(
    tmp_path: Path, zero: np.integer, top: int
) -> None:
    """ONNX Runtime's quantizer leaves it to QuantizeLinear to clip as Relu or Clip did."""
    rng = np.random.default_rng(0)
    arrays = {
        "w": rng.normal(0, 0.3, (6, 4, 3, 3)).astype(np.float32),
        "v": rng.normal(0, 0.3, (3, 6, 1, 1)).astype(np.float32),
        "s": np.float32(2.0 / top),
        "z": zero,
    }
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("QuantizeLinear", ["c", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("Conv", ["d", "v"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 4, 5, 5])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(a), n) for n, a in arrays.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), tmp_path / "m")
    source = read_model(tmp_path / "m")
    changed = with_rewrites(source, [(LIFT, {})])
    assert not [n for n in changed.proto.graph.node if "Quantize" in n.op_type]
    feed = {"x": rng.normal(0, 1, (2, 4, 5, 5)).astype(np.float32)}
    found, wanted = (
        ort.InferenceSession(s.proto.SerializeToString()).run(None, feed)[0]
        for s in (changed, source)
    )
    assert np.linalg.norm(found - wanted) <= 0.02 * np.linalg.norm(wanted)
    assert author_ranges(prepare(source))["c/clipped"] == pytest.approx((0.0, 2.0))
