"""Faulty models and data for them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.diagnosis.sick_models import SHAPE, masked, overflowing, split_scales, underflowing

MODELS = {"overflow": overflowing, "mask": masked, "log": underflowing, "split": split_scales}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("sick")
    for name, make in MODELS.items():
        onnx.save(make(), made / f"{name}.onnx")
    rng = np.random.default_rng(0)
    np.savez(made / "data.npz", x=rng.normal(0, 1, (8, *SHAPE[1:])).astype(np.float32))
    return made
