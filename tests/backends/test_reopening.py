"""A model that ONNX Runtime optimized once opens again with the same kernels and outputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from precsearch.backends.onnxruntime import optimized
from precsearch.backends.onnxruntime.backend import OnnxRuntimeBackend
from precsearch.backends.onnxruntime.optimized import OptimizedModels
from precsearch.core.backend import Array, BackendOptions, Feed
from precsearch.core.errors import BuildError
from precsearch.core.precision import Precision
from precsearch.core.space import Assignment
from precsearch.graph.reading.read import read_model
from precsearch.setup.target import open_target
from tests.emulation.test_probing import lowering_of
from tests.graph.small_graphs import conv_net, residual_net, transformer


@pytest.fixture(autouse=True)
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """However quick an engine opens."""
    monkeypatch.setattr(optimized, "_WORTH_S", 0.0)


def backend_in(folder: Path) -> OnnxRuntimeBackend:
    return OnnxRuntimeBackend(BackendOptions(threads=1, scratch=str(folder / "scratch")))


def feeds_of(model: onnx.ModelProto) -> list[Feed]:
    rng = np.random.default_rng(0)

    def value(info: onnx.ValueInfoProto) -> Array:
        shape = [d.dim_value or 1 for d in info.type.tensor_type.shape.dim]
        if info.type.tensor_type.elem_type == onnx.TensorProto.FLOAT:
            return rng.standard_normal(shape).astype(np.float32)
        return np.ones(shape, np.int64)

    return [{i.name: value(i) for i in model.graph.input} for _ in range(3)]


@pytest.mark.parametrize("net", [residual_net, conv_net, transformer])
@pytest.mark.parametrize("precision", [Precision.FP32, Precision.INT8])
def test_outputs_are_equal_bit_for_bit_and_kernels_are_the_same(
    tmp_path: Path, net: object, precision: Precision
) -> None:
    model: onnx.ModelProto = net()  # type: ignore[operator]
    onnx.save(model, tmp_path / "m.onnx")
    target = open_target(read_model(tmp_path / "m.onnx"), "onnxruntime", None, "group", 1)
    feeds = feeds_of(model)
    lowering = lowering_of(target, feeds)
    wanted = Assignment() if precision is Precision.FP32 else target.space.uniform(precision)
    lowered = lowering.lower(wanted).model
    backend = backend_in(tmp_path)
    backend.open(lowered).close()  # shows how long it takes
    first = backend.open(lowered)
    assert len(list((tmp_path / "scratch/optimized").glob("*.onnx"))) == 1
    unaided = OnnxRuntimeBackend(BackendOptions(threads=1))
    again, plain = backend.open(lowered), unaided.open(lowered)
    for feed in feeds:
        expected = plain.run(feed)
        for session in (first, again):
            found = session.run(feed)
            assert {k: v.tobytes() for k, v in found.items()} == {
                k: v.tobytes() for k, v in expected.items()
            }
    kernels = []
    for each in (backend, unaided):
        profile = each.open(lowered, profiled=True).profile(feeds[0], 1)
        kernels.append(sorted((k.nodes, k.op_type, str(k.precision)) for k in profile))
    assert kernels[0] == kernels[1]


def test_a_damaged_file_is_not_used(tmp_path: Path) -> None:
    model = residual_net().SerializeToString()
    backend = backend_in(tmp_path)
    for _ in range(2):
        backend.open(model).close()
    (written,) = (tmp_path / "scratch/optimized").glob("*.onnx")
    written.write_bytes(b"damaged")
    backend.open(model).close()
    with pytest.raises(BuildError):
        backend.open(b"no model")


def test_few_files_are_kept_and_none_is_half_written(tmp_path: Path) -> None:
    models = OptimizedModels(tmp_path / "kept")
    models.took(1.0)
    for number in range(12):
        with models.writing(str(number).encode()) as path:
            assert path is not None
            path.write_bytes(b"x")
    assert len(list((tmp_path / "kept").iterdir())) == 8
    assert models.found(b"11") is not None
    assert models.found(b"0") is None
    with pytest.raises(ValueError, match="no"), models.writing(b"12") as path:
        raise ValueError("no")
    assert len(list((tmp_path / "kept").iterdir())) == 8


def test_engines_that_open_quickly_are_not_cached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(optimized, "_WORTH_S", 1e9)
    backend = backend_in(tmp_path)
    for _ in range(3):
        backend.open(residual_net().SerializeToString()).close()
    assert not (tmp_path / "scratch/optimized").exists()
