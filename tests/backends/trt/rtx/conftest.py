"""Tests on a real strongly typed builder; .ci/strongly-typed runs them: pytest -m rtx."""

from __future__ import annotations

from pathlib import Path

import pytest

from precsearch.backends.tensorrt.rtx.bindings import installed

_HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    left = pytest.mark.skip(
        reason="NO typed model was built: TensorRT-RTX is not installed, see .ci/strongly-typed"
    )
    for item in items:
        if item.get_closest_marker("rtx") is not None and not installed():
            item.add_marker(left)
