"""What every test needs, whoever started the suite and however busy its machine is."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# A job that a script starts in the background, as some CI systems do, ignores Ctrl-C, and so would
# every process that the tests start in order to interrupt it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes, or is drawn, says how busy the machine is, not whether we are right.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")

_HERE = Path(__file__).parent
_SEARCHES = (
    *(
        "diagnose",
        "e2e",
        "first_hour",
        "hostile",
        "loop",
        "odd",
        "proxy",
        "report",
        "screen",
        "trt",
        "trust",
    ),
    *("cli/test_process.py", "cli/test_render.py", "cli/test_stopping.py"),
    *("lowering/test_random_models.py", "measure/test_slow_noise.py"),
    *(f"strategies/test_{name}.py" for name in ("anytime", "estimate", "isolation", "locating")),
    *(f"strategies/test_{name}.py" for name in ("quality", "recorded", "strategies", "wider")),
)
"""Tests that search, start processes or draw many models: what ``./check --fast`` leaves out."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = [_HERE / name for name in _SEARCHES]
    for item in items:
        if any(item.path.is_relative_to(place) for place in places):
            item.add_marker(pytest.mark.slow)
