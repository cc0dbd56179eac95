"""Tests that fetch TensorRT's bindings run only when they are asked for: pytest -m network."""

from __future__ import annotations

import shutil
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


@pytest.fixture(scope="session")
def choosing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished search with a backend that never chooses the same kernel twice."""
    folder = tmp_path_factory.mktemp("choosing")
    install(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        patch.setenv("PYTHONPATH", str(ROOT))
        patch.chdir(folder)
        onnx.save(overflowing(), "model.onnx")
        samples = np.random.default_rng(0).normal(0, 1, (12, *SHAPE[1:])).astype("f4")
        np.savez("data.npz", x=samples)
        config = OptimizeConfig(
            *(Path("model.onnx"), Path("data.npz"), 1e-1),
            backend="choosing",
            corrections=(),
            threads=1,
            max_builds=3,
            artifact=Path("first.engine"),
        )
        list(optimize_events(config))
    return folder


@pytest.fixture
def chosen(choosing: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """The plan of that search, in a copy of its folder in which the test works."""
    shutil.copytree(choosing, tmp_path, dirs_exist_ok=True)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.chdir(tmp_path)
    return read_plan("model.plan.json")
