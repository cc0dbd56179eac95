"""Products that round by the range of each inference: written, kept where they help, replayed."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import precsearch
from precsearch.backends.onnxruntime.backend import OnnxRuntimeBackend, scheme
from precsearch.core.backend import BackendOptions
from precsearch.core.errors import PlanError
from precsearch.core.precision import Precision
from precsearch.graph.prepare import prepare
from precsearch.graph.reading.read import SourceModel
from precsearch.grouping.group import group
from precsearch.lowering.lower import Lowered, Lowering
from precsearch.lowering.qdq.dynamic import can_be_dynamic
from precsearch.lowering.qdq.scales import RangeScales, TensorRange
from precsearch.optimization.run import optimize_events
from precsearch.plan.plan import read_plan
from precsearch.setup.config import OptimizeConfig
from tests.e2e.plugins.clocked_backend import here

WIDTH = 64
LARGE = 200.0


def two_products() -> onnx.ModelProto:
    rng = np.random.default_rng(0)
    weights = {
        "w0": rng.normal(0, 0.1, (WIDTH, WIDTH)),
        "b0": rng.normal(0, 0.1, WIDTH),
        "w1": rng.normal(0, 0.1, (WIDTH, WIDTH)),
    }
    nodes = [
        helper.make_node("MatMul", ["x", "w0"], ["m0"]),
        helper.make_node("Add", ["m0", "b0"], ["a0"]),
        helper.make_node("Tanh", ["a0"], ["t0"]),
        helper.make_node("MatMul", ["t0", "w1"], ["y"]),
    ]
    values = [numpy_helper.from_array(v.astype(np.float32), n) for n, v in weights.items()]
    shape: list[int | str] = ["n", 8, WIDTH]
    graph = helper.make_graph(
        nodes,
        "products",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        values,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return model


def inputs(count: int, large: bool) -> np.ndarray:
    x = np.random.default_rng(1).normal(0, 1, (count, 8, WIDTH)).astype(np.float32)
    if large:
        x[0] *= LARGE
    return x


def lowered(dynamic: frozenset[str]) -> Lowered:
    graph = prepare(SourceModel(Path("m.onnx"), two_products(), "", ()))
    space = group(graph, scheme(), frozenset({Precision.FP32, Precision.INT8}), "group")
    ranges = {"x": TensorRange(-4 * LARGE, 4 * LARGE), "t0": TensorRange(-1.0, 1.0)}
    scales = RangeScales(ranges, scheme()).measured(dynamic)
    return Lowering(graph, space, scheme(), scales).lower(space.uniform(Precision.INT8))


def error(made: Lowered) -> float:
    """Relative to FP32, of an inference without large values."""
    feed = {"x": inputs(1, large=False)}
    backend = OnnxRuntimeBackend(BackendOptions(threads=1))
    found, wanted = (
        np.asarray(backend.open(backend.build(model)).run(feed)["y"], np.float64)
        for model in (made.model, two_products().SerializeToString())
    )
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))


def test_a_range_of_each_inference_is_not_stretched_by_another_one() -> None:
    assert error(lowered(frozenset())) > 0.3
    assert error(lowered(frozenset({"m0", "y"}))) < 0.03


def test_only_the_named_products_have_dynamic_ranges() -> None:
    made = lowered(frozenset({"m0"}))
    assert made.dynamic == ("m0",)
    assert set(made.params) == {"t0"}
    assert made.asked == {"m0": Precision.INT8, "y": Precision.INT8}
    assert made.sha256 == lowered(frozenset({"m0"})).sha256


def test_the_engine_computes_them_in_integers() -> None:
    backend = OnnxRuntimeBackend(BackendOptions(threads=1))
    session = backend.open(backend.build(lowered(frozenset({"m0", "y"})).model), profiled=True)
    kernels = session.profile({"x": inputs(1, large=False)}, 1)
    ran = {name: kernel.precision for kernel in kernels for name in kernel.nodes}
    assert (ran["m0"], ran["y"]) == (Precision.INT8, Precision.INT8)
    session.close()


def test_products_of_two_activations_and_other_engines_take_no_dynamic_range() -> None:
    graph = prepare(SourceModel(Path("m.onnx"), two_products(), "", ()))
    takes = [n.key for n in graph.nodes if can_be_dynamic(n, graph, scheme())]
    assert takes == ["m0", "y"]
    other = dataclasses.replace(scheme(), quirks=frozenset())
    assert not any(can_be_dynamic(n, graph, other) for n in graph.nodes)


def test_a_search_keeps_dynamic_ranges_where_a_known_range_fails_and_a_plan_replays_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here(tmp_path, monkeypatch)
    monkeypatch.chdir(tmp_path)
    onnx.save(two_products(), "model.onnx")
    np.savez("data.npz", x=inputs(16, large=True)[:, None])
    config = OptimizeConfig(
        Path("model.onnx"), Path("data.npz"), tol=0.5, metric="rel-l2-max", backend="clocked",
        strategy="uniform", threads=1, output=Path("plan.json"), corrections=("dynamic",),
    )  # fmt: skip
    list(optimize_events(config))
    plan = read_plan("plan.json")
    (row,) = plan.evidence.corrections
    assert (row.name, row.kept) == ("dynamic", True)
    assert row.after < 0.3 * row.before
    assert plan.recipe.dynamic == ("m0", "y")
    assert precsearch.build("plan.json", "model.onnx", "fast.onnx").verdict == "identical"
    assert "DynamicQuantizeLinear" in {n.op_type for n in onnx.load("fast.onnx").graph.node}
    recipe = dataclasses.replace(plan.recipe, dynamic=("t0",))
    Path("other.json").write_text(dataclasses.replace(plan, recipe=recipe).to_json())
    with pytest.raises(PlanError, match="node 't0' cannot round by the range of each inference"):
        precsearch.build("other.json", "model.onnx", "other.onnx")
