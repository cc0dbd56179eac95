"""Tests that fetch TensorRT's bindings run only when they are asked for: pytest -m network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from precsearch.optimization.run import optimize_events
from precsearch.plan.plan import Plan, read_plan
from precsearch.setup.config import OptimizeConfig
from tests.backends.trt.stand_in.choosing_backend import install
from tests.diagnosis.sick_models import SHAPE, overflowing

ROOT = Path(__file__).parents[3]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "network: fetches the real bindings of TensorRT; run with -m network"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "network" in config.option.markexpr:
        return
    left = [item for item in items if item.get_closest_marker("network") is None]
    config.hook.pytest_deselected(items=[item for item in items if item not in left])
    items[:] = left


@pytest.fixture
def chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """Made by a backend that never chooses the same kernel twice."""
    install(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.chdir(tmp_path)
    onnx.save(overflowing(), "model.onnx")
    np.savez("data.npz", x=np.random.default_rng(0).normal(0, 1, (12, *SHAPE[1:])).astype("f4"))
    config = OptimizeConfig(
        *(Path("model.onnx"), Path("data.npz"), 1e-1),
        backend="choosing",
        threads=1,
        max_builds=3,
        artifact=Path("first.engine"),
    )
    list(optimize_events(config))
    return read_plan("model.plan.json")
