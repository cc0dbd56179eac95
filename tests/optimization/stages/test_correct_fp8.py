"""Corrections are of INT8: beside FP8, or with FP8 alone, a search comes to its end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import precsearch
from precsearch.core.precision import Precision
from tests.e2e.plugins.clocked_backend import here
from tests.optimization.unequal import searched, unequal
from tests.plugin import make_known
from tests.rewrites.scalable_models import CHANNELS

FP32, FP8, INT8 = Precision.FP32, Precision.FP8, Precision.INT8
BACKEND = {"with-fp8": "tests.e2e.plugins.fp8_backend:WithFp8"}


@pytest.mark.parametrize("offered", [(FP32, FP8), (FP32, FP8, INT8)], ids=["alone", "beside INT8"])
def test_a_search_with_fp8_keeps_to_its_corrections(
    offered: tuple[Precision, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here(tmp_path, monkeypatch)
    make_known(tmp_path / "clocked", "fp8", BACKEND)
    monkeypatch.chdir(tmp_path)
    onnx.save(unequal(), "model.onnx")
    rng = np.random.default_rng(0)
    np.savez("data.npz", x=rng.normal(0, 1, (16, CHANNELS, 8, 8)).astype(np.float32))
    found = searched(backend="with-fp8", precisions=offered, tol=3.0)
    assert bool(found.evidence.corrections) is (INT8 in offered)
    ran = {g.precision for g in found.recipe.groups}
    assert ran & {FP8, INT8}
    report = precsearch.build("model.plan.json", "model.onnx", "fast.onnx")
    assert report.verdict == "identical"
