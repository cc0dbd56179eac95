"""Tests that fetch TensorRT's bindings run only when they are asked for: pytest -m network."""

from __future__ import annotations

import pytest


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
