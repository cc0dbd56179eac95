"""Real engines on a real GPU. Run with ``pytest -m gpu tests/backends/trt/test_gpu.py``."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from precsearch.api import build, optimize, verify
from precsearch.backends.tensorrt.backend import TensorRtBackend
from precsearch.calibration.ranges import Calibration, collect_ranges
from precsearch.core.backend import Array, BackendOptions, Feed
from precsearch.core.errors import BuildError, RunError
from precsearch.core.precision import Precision
from precsearch.core.space import Assignment, SearchSpace
from precsearch.graph.view import GraphView
from precsearch.grouping.group import group
from precsearch.lowering.lower import Lowered, Lowering
from precsearch.lowering.qdq.reach import quantizable
from precsearch.lowering.qdq.scales import RangeScales
from precsearch.plan.plan import read_plan
from precsearch.reference.session import reference_outputs
from tests.graph.small_graphs import conv_net, fire_net, residual_net, transformer
from tests.lowering.golden import EXAMPLE, prepared

HERE = importlib.util.find_spec("tensorrt") is not None and shutil.which("nvidia-smi") is not None
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not HERE, reason="needs TensorRT and an NVIDIA GPU"),
]

FP32, FP16, INT8 = Precision.FP32, Precision.FP16, Precision.INT8
MODELS: dict[str, Callable[[], onnx.ModelProto]] = {
    "conv": conv_net,
    "residual": residual_net,
    "fire": fire_net,
    "transformer": lambda: transformer(2),
}
LOSSES = {FP32: 2e-3, FP16: 1e-2, INT8: 0.25}


def _values(rng: np.random.Generator, value: onnx.ValueInfoProto) -> Array:
    kind = value.type.tensor_type
    shape = [d.dim_value or 2 for d in kind.shape.dim]
    if kind.elem_type == TensorProto.INT64:
        return np.ones(shape, np.int64)
    return rng.standard_normal(shape).astype(np.float32)


class Setting:
    """A model with its reference outputs, lowered for the TensorRT that is here."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.backend = TensorRtBackend(BackendOptions(shapes=()))
        self.graph: GraphView = prepared(model, self.backend.form.min_opset)
        scheme = self.backend.scheme
        self.space: SearchSpace = group(self.graph, scheme, frozenset(Precision))
        rng = np.random.default_rng(0)
        self.feeds: list[Feed] = [
            {value.name: _values(rng, value) for value in self.graph.inputs} for _ in range(3)
        ]
        plain = Lowering(self.graph, self.space, scheme, RangeScales({}, scheme), self.backend.form)
        whole = plain.lower(Assignment()).model
        self.reference = reference_outputs(whole, self.feeds, "")
        tensors = frozenset().union(*quantizable(self.graph, scheme, self.space).values())
        ranges = collect_ranges(Calibration(whole, "", tuple(sorted(tensors))), self.feeds)
        scales = RangeScales(ranges, scheme)
        self.lowering = Lowering(self.graph, self.space, scheme, scales, self.backend.form)
        shapes = {n: tuple(a.shape) for n, a in self.feeds[0].items()}
        self.backend.options = replace(self.backend.options, shapes=(shapes,))

    def loss(self, artifact: bytes) -> float:
        session = self.backend.open(artifact)
        try:
            outputs = [session.run(feed) for feed in self.feeds]
        finally:
            session.close()
        wrong = right = 0.0
        for found, wanted in zip(outputs, self.reference, strict=True):
            for name, array in wanted.items():
                truth = array.astype(np.float64)
                wrong += float(np.sum((found[name].astype(np.float64) - truth) ** 2))
                right += float(np.sum(truth**2))
        return float((wrong / right) ** 0.5)

    def lower(self, precision: Precision) -> Lowered:
        return self.lowering.lower(self.space.uniform(precision))


@pytest.fixture(scope="module", params=sorted(MODELS))
def setting(request: pytest.FixtureRequest) -> Setting:
    return Setting(MODELS[request.param]())


@pytest.mark.parametrize("precision", list(LOSSES))
def test_uniform_engines_are_right(setting: Setting, precision: Precision) -> None:
    artifact = setting.backend.build(setting.lower(precision).model)
    assert setting.loss(artifact) < LOSSES[precision]
    assert setting.backend.layer_summary(artifact)


def test_int8_is_achieved(setting: Setting) -> None:
    lowered = setting.lower(INT8)
    artifact = setting.backend.build(lowered.model)
    session = setting.backend.open(artifact, profiled=True)
    kernels = session.profile(setting.feeds[0], 2)
    session.close()
    ran = {node: k.precision for k in kernels for node in k.nodes}
    asked = [n for n, p in lowered.asked.items() if p is INT8]
    convs = [n for n in asked if setting.graph.producer[n].is_op("Conv")]
    told = [ran.get(n) for n in convs]
    assert all(p is INT8 for p in told if p is not None)
    assert sum(k.seconds for k in kernels) > 0


def test_time_is_positive_and_graphs_are_captured(setting: Setting) -> None:
    artifact = setting.backend.build(setting.lower(FP16).model)
    session = setting.backend.open(artifact)
    seconds = session.time(setting.feeds[0], 20)
    session.close()
    assert len(seconds) == 20
    assert all(0 < s < 1 for s in seconds)
    assert not [r for r in setting.backend.warnings(artifact) if "CUDA graph" in r]
    with pytest.raises(RunError, match="closed"):
        session.time(setting.feeds[0], 1)


def test_mixed_precisions_build(setting: Setting) -> None:
    keys = [g.key for g in setting.space.free]
    cycle = {k: (FP32, FP16, INT8)[i % 3] for i, k in enumerate(keys)}
    nearest = {k: setting.space.by_key[k].nearest(p) for k, p in cycle.items()}
    assignment = setting.space.canonical(Assignment.of(nearest))
    artifact = setting.backend.build(setting.lowering.lower(assignment).model)
    assert setting.loss(artifact) < LOSSES[INT8]


def test_a_model_that_tensorrt_cannot_read_is_a_build_error() -> None:
    backend = TensorRtBackend(BackendOptions())
    node = helper.make_node("Nonsense", ["x"], ["y"], domain="nowhere")
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    model = helper.make_model(
        helper.make_graph([node], "g", [value], [out]),
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("nowhere", 1)],
        ir_version=8,
    )
    with pytest.raises(BuildError):
        backend.build(model.SerializeToString())
    with pytest.raises(BuildError):
        backend.open(b"no engine")


def test_two_sets_of_shapes_have_a_profile_each() -> None:
    made = Setting(residual_net())
    ((name, shape),) = [(n, tuple(a.shape)) for n, a in made.feeds[0].items()]
    sets = ({name: shape}, {name: (5, *shape[1:])})
    made.backend.options = replace(made.backend.options, shapes=sets)
    session = made.backend.open(made.backend.build(made.lower(FP32).model))
    for batch in (5, 2, 5):
        feed = {name: np.ones((batch, *shape[1:]), np.float32)}
        assert next(iter(session.run(feed).values())).shape[0] == batch
        assert session.time(feed, 2)
    with pytest.raises(RunError, match="shapes"):
        session.run({name: np.ones((9, *shape[1:]), np.float32)})
    session.close()


def test_a_plan_from_search_to_engine(tmp_path: Path) -> None:
    data = EXAMPLE.with_name("data.npz")
    plan, engine = tmp_path / "p.json", tmp_path / "found.engine"
    optimize(
        EXAMPLE,
        data=data,
        tol=0.05,
        backend="tensorrt",
        max_builds=4,
        output=plan,
        artifact=engine,
        batch=8,
    )
    found = read_plan(plan)
    assert found.evidence.engine
    assert found.recipe.backend == "tensorrt"
    assert engine.stat().st_size > 1000
    again = build(plan, EXAMPLE, tmp_path / "again.engine")
    assert again.verdict in ("identical", "same plan, other kernels")
    model = build(plan, EXAMPLE, tmp_path / "again.onnx")
    assert model.verdict == "identical"
    report = verify(plan, EXAMPLE, data)
    assert report.loss <= 0.05
