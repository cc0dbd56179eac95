"""Corrections: what makes INT8 better is kept, recorded and replayed; what does not is not."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import pytest

import precsearch
from precsearch.core.precision import Precision
from precsearch.plan.plan import Plan
from precsearch.setup.config import OptimizeConfig
from tests.rewrites.scalable_models import CHANNELS, Chain, conv


def unequal() -> onnx.ModelProto:
    """Convs with a channel that is 300 times as large as the others, in INT8 far off."""
    chain = Chain(1)
    for _ in range(3):
        conv(chain)
        chain.node("Relu", [chain.tensor])
    conv(chain)
    model = chain.model(["n", CHANNELS, 8, 8])
    large = np.ones(CHANNELS, np.float32)
    large[2] = 300
    arrays = [onnx.numpy_helper.to_array(w) for w in model.graph.initializer]
    for index in (0, 2, 4):
        arrays[index] = arrays[index] * large[:, None, None, None]
        arrays[index + 1] = arrays[index + 1] * large
        arrays[index + 2] = arrays[index + 2] / large[:, None, None]
    for proto, values in zip(model.graph.initializer, arrays, strict=True):
        proto.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float32), proto.name))
    return model


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    onnx.save(unequal(), "model.onnx")
    rng = np.random.default_rng(0)
    np.savez("data.npz", x=rng.normal(0, 1, (16, CHANNELS, 8, 8)).astype(np.float32))
    return tmp_path


def config(**changes: object) -> OptimizeConfig:
    plain = OptimizeConfig(
        Path("model.onnx"),
        Path("data.npz"),
        tol=0.5,
        backend="onnxruntime",
        strategy="uniform",
        threads=1,
        output=Path("model.plan.json"),
    )
    return dataclasses.replace(plain, **changes)  # type: ignore[arg-type]


def int8_loss(plan: Plan) -> float:
    """Of the uniform INT8 engine."""
    return next(t.loss for t in plan.evidence.trials if t.counts and t.loss is not None)


def test_equal_channels_make_int8_better_and_stand_in_the_plan(place: Path) -> None:
    plain = precsearch.optimize_config(config(corrections=())).plan
    assert plain is not None
    assert plain.evidence.corrections == ()
    found = precsearch.optimize_config(config(force=True)).plan
    assert found is not None
    row = found.evidence.corrections[0]
    assert (row.name, row.kept) == ("equalize", True)
    assert row.after < 0.3 * row.before
    assert int8_loss(found) < 0.3 * int8_loss(plain)
    if any(g.precision is Precision.INT8 for g in found.recipe.groups):
        assert [cure.name for cure in found.recipe.cures] == ["equalize"]
