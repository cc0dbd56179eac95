"""What every test needs, whoever started the suite and however busy its machine is."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.e2e.quick import time_quickly

# A job that a script starts in the background, as some CI systems do, ignores Ctrl-C, and so would
# every process that the tests start in order to interrupt it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The tests start hundreds of processes. Where an image sets this variable, as many do to keep their
# layers small, each of them would compile all of precsearch again: 0.4 s of CPU time each.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

time_quickly()

# How long an example takes, or is drawn, says how busy the machine is, not whether we are right.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")
settings.register_profile("inner-loop", settings.get_profile("unhurried"), max_examples=25)

_HERE = Path(__file__).parent
_SEARCHES = [
    "api",
    "backends",
    "diagnosis",
    "docs/test_commands.py",
    "drills",
    "e2e",
    "emulation",
    "executors",
    "exporters",
    "first_hour",
    "odd",
    "report",
    "replay",
    "cli/options/test_flags.py",
    "cli/progress/test_render.py",
    "cli/test_process.py",
    "cli/test_start.py",
    "grouping/test_control.py",
    "hazards/test_in_a_run.py",
    "lowering/test_random_models.py",
    "hostile/test_drill.py",
    "hostile/test_fuzz.py",
    "hostile/test_hostile.py",
    "hostile/test_messages.py",
    "hostile/test_spoken.py",
    "measurement/test_build_service.py",
    "measurement/test_device_lock.py",
    "measurement/test_slow_noise.py",
    "optimization/across",
    "optimization/stages",
    "optimization/test_fp32_time.py",
    "optimization/test_front.py",
    "optimization/test_several_metrics.py",
    "reference/test_telemetry.py",
    "rewrites/test_curable.py",
    "search/test_resume.py",
    "strategies/acquisition",
    "strategies/group_testing",
    "strategies/test_anytime.py",
    "strategies/test_device_batches.py",
    "strategies/test_quality.py",
    "strategies/test_recorded.py",
    "strategies/test_strategies.py",
    "strategies/test_wider.py",
    "system/test_regular_file.py",
]
"""Tests that search, start processes or draw many models: what ``./check --fast`` leaves out.

Files of over 3 s of CPU time by a run of 2026-11-30, and folders that are about whole runs.
"""


_PLACES = [_HERE / name for name in _SEARCHES]
assert all(place.exists() for place in _PLACES), "a place of slow tests was moved"


def pytest_configure(config: pytest.Config) -> None:
    """Where the fast tests alone run, properties are tried on fewer examples than elsewhere."""
    if _fast_alone(config):
        settings.load_profile("inner-loop")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Where the fast tests alone run, the others need not be imported."""
    return True if _fast_alone(config) and _is_slow(collection_path) else None


def _fast_alone(config: pytest.Config) -> bool:
    return "not slow" in config.option.markexpr


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _is_slow(item.path):
            item.add_marker(pytest.mark.slow)


def _is_slow(path: Path) -> bool:
    return any(path.is_relative_to(place) for place in _PLACES)
