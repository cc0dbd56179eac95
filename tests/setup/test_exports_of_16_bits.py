"""A model exported in 16 bits is searched like any other, and in its own type among others."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto

import precsearch
from precsearch.backends.openvino.backend import OpenVinoBackend
from precsearch.core.backend import BackendOptions
from precsearch.core.precision import Precision
from precsearch.graph.reading.read import read_model
from precsearch.setup import target as targets
from precsearch.setup.target import open_target
from tests.backends.ov.clocked_openvino import install
from tests.graph.small_layers import GraphBuilder, linear
from tests.hazards.half_backend import Half
from tests.hazards.half_backend import install as install_half
from tests.odd.models.odd_models import retyped

BF16, FP16, FP32, INT8 = Precision.BF16, Precision.FP16, Precision.FP32, Precision.INT8


def exported(folder: Path, kind: int, opset: int = 22) -> Path:
    b = GraphBuilder(opset=opset)
    x = b.op("Relu", linear(b, b.input([4, 32], name="x"), 32, 64))
    b.output(linear(b, x, 64, 8))
    onnx.save(retyped(b.model(), kind), folder / "narrow.onnx")
    return folder / "narrow.onnx"


class Offering(Half):
    """Offers FP32 and INT8 alone, and runs 16 bits, too, but for what the device lacks."""

    precisions = frozenset({FP32, BF16, FP16, INT8})
    facts = replace(Half.facts, offered=frozenset({FP32, INT8}))
    lacking: frozenset[Precision] = frozenset()

    def unavailable(self, precisions: Collection[Precision]) -> str:
        return "the device lacks it" if self.lacking & set(precisions) else ""


@pytest.mark.parametrize(
    ("kind", "lacking", "offered"),
    [
        (TensorProto.BFLOAT16, set(), {FP32, BF16, INT8}),
        (TensorProto.FLOAT16, set(), {FP32, FP16, INT8}),
        (TensorProto.FLOAT, set(), {FP32, INT8}),
        (TensorProto.BFLOAT16, {BF16}, {FP32, INT8}),
    ],
)
def test_the_type_of_the_file_is_offered_where_the_device_has_it(
    kind: int,
    lacking: set[Precision],
    offered: set[Precision],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Here(Offering):
        pass

    Here.lacking = frozenset(lacking)
    monkeypatch.setattr(targets, "backend_factory", lambda _: Here)
    source = read_model(exported(tmp_path, kind))
    assert set(open_target(source, "here", None, "group", 1).space.precisions) == offered
    asked = open_target(source, "here", (FP32, INT8), "group", 1)
    assert set(asked.space.precisions) == {FP32, INT8}, "what the user names is all there is"


@pytest.mark.slow
@pytest.mark.parametrize("own", [BF16, FP16])
def test_an_export_is_searched_built_and_verified_like_any_other(
    own: Precision, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """BF16 on OpenVINO, which computes in it; FP16 on a backend that takes its graphs."""
    if own is BF16 and BF16 not in OpenVinoBackend(BackendOptions()).precisions:
        pytest.skip("the processor has no BF16 instructions")
    name, data, place = "half", tmp_path / "d.npz", tmp_path / "p.json"
    if own is BF16:
        name = install(tmp_path, monkeypatch)
    else:
        install_half(tmp_path)
        monkeypatch.syspath_prepend(str(tmp_path))
    model = exported(tmp_path, own.spec.format.elem_type)
    rows = np.random.default_rng(0).normal(0, 1, (32, 32))
    np.savez(data, x=rows.astype(np.float16 if own is FP16 else np.float32))
    found = precsearch.optimize(
        model, data=data, backend=name, tol=0.03, threads=1, max_builds=3, output=place
    )
    engines = [t for t in found.plan.evidence.trials if t.fidelity == "engine"]
    groups = sum(t.counts.get(own, 0) > 0 and t.counts.keys() == {own} for t in engines)
    assert groups, "the engine that there is today was measured"
    built = precsearch.build(place, model, tmp_path / "m.onnx")
    assert built.verdict == "identical", built.lines
    (end,) = onnx.load(tmp_path / "m.onnx").graph.input
    wanted = TensorProto.FLOAT16 if own is FP16 else TensorProto.FLOAT
    assert end.type.tensor_type.elem_type == wanted
    assert precsearch.verify(place, model, data=data, tol=0.03).loss <= 0.03
