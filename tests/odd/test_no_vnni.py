"""On x86 without VNNI, sums of uint8 times int8 saturate at 16 bits: weights get 7 bits there."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import precsearch
from precsearch.backends.onnxruntime import backend as module
from precsearch.backends.onnxruntime.backend import OnnxRuntimeBackend
from precsearch.core.backend import BackendOptions
from precsearch.core.errors import InputError
from precsearch.core.precision import Precision
from tests.e2e.plugins.clocked_backend import here
from tests.graph.small_graphs import GraphBuilder, linear

HASWELL = ("avx2",)
SKYLAKE = ("avx2", "avx512bw", "avx512f")
CASCADE_LAKE = ("avx2", "avx512_vnni", "avx512bw", "avx512f")
ALDER_LAKE = ("avx2", "avx_vnni")
NEOVERSE = ("asimddp",)


@pytest.mark.parametrize(
    ("machine", "features", "name"),
    [
        ("x86_64", HASWELL, "ort-u8s8-7"),
        ("AMD64", SKYLAKE, "ort-u8s8-7"),
        ("x86_64", CASCADE_LAKE, "ort-u8s8-8"),
        ("x86_64", ALDER_LAKE, "ort-u8s8-8"),
        ("aarch64", NEOVERSE, "ort-u8s8-8"),
    ],
)
def test_the_instruction_set_decides_the_scheme(
    machine: str, features: tuple[str, ...], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(module, "cpu_features", lambda: features)
    backend = OnnxRuntimeBackend(BackendOptions())
    assert backend.scheme.name == name
    assert backend.scheme.weight("Conv", Precision.INT8).reduced is (name[-1] == "7")
    assert backend.fingerprint().features == features


def wide() -> onnx.ModelProto:
    """Layers that are worth running in INT8 on any CPU."""
    b = GraphBuilder()
    x = b.input([64, 384])
    for _ in range(3):
        x = b.op("Relu", linear(b, x, 384, 384))
    b.output(x)
    return b.model()


def test_a_plan_with_7_bits_replays_where_8_are_safe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, plan_path = tmp_path / "model.onnx", tmp_path / "model.plan.json"
    onnx.save(wide(), path)
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(module, "cpu_features", lambda: HASWELL)
    here(tmp_path, monkeypatch)
    options: dict[str, Any] = {"tol": 0.2, "threads": 1, "strategy": "uniform"}
    plan = precsearch.optimize(path, **options, backend="clocked", output=plan_path).plan
    assert plan.recipe.scheme == "ort-u8s8-7"
    assert plan.recipe.assignment.entries, "INT8 is faster"

    monkeypatch.setattr(module, "cpu_features", lambda: CASCADE_LAKE)
    report = precsearch.build(plan_path, path, tmp_path / "built.onnx")
    assert report.sha256 == plan.recipe.materialised_sha256
    quantized = [
        numpy_helper.to_array(t)
        for t in onnx.load(tmp_path / "built.onnx").graph.initializer
        if t.data_type == onnx.TensorProto.INT8 and len(t.dims) > 1
    ]
    assert quantized
    assert {int(np.abs(q.astype(int)).max()) for q in quantized} == {63}


def test_a_run_is_not_resumed_with_another_scheme(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(wide(), path)
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(module, "cpu_features", lambda: HASWELL)
    options: dict[str, Any] = {"output": tmp_path / "p.json", "threads": 1, "max_builds": 1}
    precsearch.optimize(path, **options)
    monkeypatch.setattr(module, "cpu_features", lambda: CASCADE_LAKE)
    with pytest.raises(InputError, match="scheme was ort-u8s8-7 and is now ort-u8s8-8"):
        precsearch.optimize(path, **options, resume=True)
