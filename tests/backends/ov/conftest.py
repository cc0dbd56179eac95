"""These tests run on the CPU device of the OpenVINO that is installed."""

from __future__ import annotations

import pytest

from precsearch.backends.openvino.runtime import import_openvino
from precsearch.core.errors import OptionError


def pytest_runtest_setup() -> None:
    try:
        import_openvino()
    except OptionError as error:
        pytest.skip(str(error))
