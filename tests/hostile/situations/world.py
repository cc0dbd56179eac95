"""A small valid world to break: a model, its data, a plan with INT8 in it, and a journal.

Nothing is searched or timed to make it, so that it is the same everywhere and made at once.
"""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from precsearch.codec import dumps, unstructure
from precsearch.core.events import Event, RunStarted
from precsearch.core.precision import Precision
from precsearch.graph.reading.read import read_model
from precsearch.lowering.lower import Lowering
from precsearch.lowering.qdq.reach import quantizable
from precsearch.lowering.qdq.scales import RangeScales, TensorRange
from precsearch.optimization.identity import identity
from precsearch.optimization.write_plan import make_recipe
from precsearch.plan.plan import Plan
from precsearch.setup.config import OptimizeConfig
from precsearch.setup.inputs import open_inputs
from precsearch.setup.target import open_target
from tests.cli.runs import plan as shown_plan

__all__ = [
    "data_bytes",
    "journal_bytes",
    "model",
    "plan",
    "write_world",
]

_FLOAT = onnx.TensorProto.FLOAT


def model(seed: int = 0, hidden: int = 4) -> onnx.ModelProto:
    """Conv, Relu, Flatten and MatMul: two groups that can be INT8."""
    random = np.random.default_rng(seed)
    kernel = random.normal(size=(hidden, 1, 3, 3)).astype(np.float32)
    matrix = random.normal(size=(hidden * 64, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "kernel"], ["conv"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["conv"], ["relu"]),
        helper.make_node("Flatten", ["relu"], ["flat"]),
        helper.make_node("MatMul", ["flat", "matrix"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", _FLOAT, ["batch", 1, 8, 8])],
        [helper.make_tensor_value_info("y", _FLOAT, ["batch", 3])],
        [numpy_helper.from_array(kernel, "kernel"), numpy_helper.from_array(matrix, "matrix")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def data_bytes(**arrays: np.ndarray) -> bytes:
    """An ``.npz`` of these arrays; by default 16 samples that fit the model."""
    stream = io.BytesIO()
    random = np.random.default_rng(1)
    np.savez(stream, **(arrays or {"x": random.normal(size=(16, 1, 8, 8)).astype(np.float32)}))  # type: ignore[arg-type]
    return stream.getvalue()


def plan(folder: Path) -> Plan:
    """A plan for ``model.onnx`` and ``data.npz`` of a folder, everything in INT8."""
    source = read_model(folder / "model.onnx")
    target = open_target(source, "onnxruntime", None, "group", 1, "ort-u8s8-8")
    inputs = open_inputs(OptimizeConfig(source.path, folder / "data.npz"), target.graph)
    tensors = frozenset().union(*quantizable(target.graph, target.scheme, target.space).values())
    ranges = {t: TensorRange(-2.0, 2.0) for t in tensors}
    scales = RangeScales(ranges, target.scheme)
    assignment = target.space.uniform(Precision.INT8)
    lowering = Lowering(target.graph, target.space, target.scheme, scales)
    recipe = make_recipe(target, target.space, assignment, lowering.lower(assignment), inputs)
    shown = shown_plan()
    return Plan(recipe, replace(shown.criteria, tolerance=0.9), shown.evidence)


def journal_bytes(folder: Path) -> bytes:
    """The first line of a journal that `optimize` would go on with."""
    config = OptimizeConfig(
        folder / "model.onnx", folder / "data.npz", tol=0.9, threads=1, backend="onnxruntime"
    )
    source = read_model(config.model)
    target = open_target(source, config.backend, None, config.granularity, 1)
    inputs = open_inputs(config, target.graph)
    started = RunStarted(identity(config, target, inputs), "model.onnx", "0")
    return dumps(unstructure(started, Event)).encode() + b"\n"


def write_world(folder: Path) -> Path:
    """Write ``model.onnx``, ``data.npz`` and ``plan.json``."""
    (folder / "model.onnx").write_bytes(model().SerializeToString())
    (folder / "data.npz").write_bytes(data_bytes())
    (folder / "plan.json").write_text(plan(folder).to_json(), encoding="utf-8")
    return folder
