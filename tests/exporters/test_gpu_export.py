"""An exported plan, built by the real Polygraphy on a real GPU.

``pytest -m gpu tests/backends/trt``.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from precsearch import api
from precsearch.backends.tensorrt.backend import TensorRtBackend
from precsearch.core.backend import WEAK, BackendOptions
from precsearch.reference.session import reference_outputs
from tests.backends.trt.stand_in.plans import write_plan

NEEDED = ("tensorrt", "polygraphy")
HERE = all(map(importlib.util.find_spec, NEEDED)) and shutil.which("nvidia-smi") is not None
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not HERE, reason="needs TensorRT, Polygraphy and an NVIDIA GPU"),
]
PROGRAM = "import sys; from polygraphy.tools import main; sys.exit(main())"


def overflowing() -> onnx.ModelProto:
    """A MatMul, its root mean square with squares beyond FP16's range, and another MatMul."""
    rng = np.random.default_rng(0)
    weights = {
        "w1": rng.normal(0, 40, (64, 64)).astype(np.float32),
        "w2": rng.normal(0, 0.1, (64, 64)).astype(np.float32),
        "two": np.array(2, np.float32),
    }
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["wide"]),
        helper.make_node("Pow", ["wide", "two"], ["squared"]),
        helper.make_node("ReduceMean", ["squared"], ["mean"], axes=[-1], keepdims=1),
        helper.make_node("Sqrt", ["mean"], ["root"]),
        helper.make_node("Div", ["wide", "root"], ["normed"]),
        helper.make_node("MatMul", ["normed", "w2"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "overflowing",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [8, 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [8, 64])],
        [numpy_helper.from_array(w, n) for n, w in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def test_polygraphys_engine_is_as_right_as_ours(tmp_path: Path) -> None:
    backend = TensorRtBackend(BackendOptions())
    halves = dict.fromkeys(("wide", "normed", "y"), "fp16")
    form = backend.form.name
    plan = write_plan(tmp_path, overflowing(), form, halves, {"layer_precisions": "all"}, batch=8)
    report = api.export(plan, None, "polygraphy", tmp_path / "out")
    program = tmp_path / "polygraphy"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "{PROGRAM}" "$@"\n')
    program.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(
        [str(report.script)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    if backend.form is WEAK:
        assert "layers have a precision of their own" in done.stdout
    feed = {"x": np.random.default_rng(1).normal(0, 1, (8, 64)).astype(np.float32)}
    (wanted,) = reference_outputs(overflowing().SerializeToString(), [feed], "")
    for artifact in (
        (report.model.parent / "small.engine").read_bytes(),
        backend.build(report.model.read_bytes()),
    ):
        session = backend.open(artifact)
        found, truth = (v["y"].astype(np.float64) for v in (session.run(feed), wanted))
        session.close()
        error = np.linalg.norm(found - truth) / np.linalg.norm(truth)
        assert error < 5e-3  # NaN where the squares were in FP16
