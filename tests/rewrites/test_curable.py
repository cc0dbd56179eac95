"""A run names ``--rewrite`` where FP16's hazards may not stay in FP32 and a rewrite fits them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from precsearch.core.events import Warned
from precsearch.core.precision import Precision
from precsearch.optimization.run import optimize_events
from precsearch.setup.config import OptimizeConfig
from tests.diagnosis.sick_models import SHAPE, Maker, masked, overflowing, underflowing
from tests.hazards.half_backend import install

ROOT = Path(__file__).parents[2]
NORM, MASK = "fuse-layernorm", "clamp-constants"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    install(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    data = np.random.default_rng(0).normal(0, 1, (12, *SHAPE[1:])).astype("f4")
    np.savez(tmp_path / "data.npz", x=data)
    return tmp_path


def said(
    place: Path,
    model: onnx.ModelProto,
    backend: str = "by-name",
    precisions: tuple[Precision, ...] | None = None,
    rewrite: bool = False,
    name: str = "model",
) -> list[str]:
    """What a run of one engine says about rewrites."""
    onnx.save(model, place / f"{name}.onnx")
    config = OptimizeConfig(
        *(place / f"{name}.onnx", place / "data.npz"),
        backend=backend,
        precisions=precisions,
        threads=1,
        max_builds=1,
        output=place / f"{name}.json",
        force=True,
        rewrite=rewrite,
    )
    events = [e.message for e in optimize_events(config) if isinstance(e, Warned)]
    return [m for m in events if "--rewrite" in m or "rewritten by" in m]


def nothing_masked() -> onnx.ModelProto:
    """Nothing is masked: 0 x -3.4e38, which is NaN in FP16."""
    m = Maker()
    zero = m.node("Floor", "zero", m.node("Sigmoid", "below", "x"))
    mask = m.node("Mul", "mask", zero, m.weight(float(np.finfo(np.float32).min)))
    weights = m.node("Softmax", "weights", m.node("Add", "masked", "x", mask), axis=-1)
    return m.model(m.linear("out", weights))


@pytest.mark.parametrize(("model", "rewrite"), [(overflowing(), NORM), (nothing_masked(), MASK)])
def test_the_rewrite_that_fits_is_named(place: Path, model: onnx.ModelProto, rewrite: str) -> None:
    (message,) = said(place, model)
    assert "--rewrite" in message
    assert f"(likely: {rewrite})" in message


def test_neither_a_hazard_without_a_rewrite_nor_a_harmless_mask_is_a_reason_to_rewrite(
    place: Path,
) -> None:
    assert said(place, underflowing(), name="underflowing") == []
    assert said(place, masked(), name="masked") == []


def test_rewrites_are_not_advised_where_pins_are_kept(place: Path) -> None:
    assert said(place, overflowing(), backend="half") == []
    assert said(place, overflowing(), precisions=(Precision.FP32, Precision.FP16)) == []


def test_rewrites_are_not_advised_where_they_are_tried_already(place: Path) -> None:
    (message,) = said(place, overflowing(), rewrite=True)
    assert message.startswith("rewritten by ")
