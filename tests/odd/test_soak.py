"""A long search takes no more memory, handles or processes at its end than early on."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.odd.soaking import on_onnx_runtime, on_the_fake

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")

GROWTH = 1.05


def check(used: Sequence[dict[str, int]], trials: int) -> None:
    """Compare the state at 20 % of the trials with the end."""
    assert len(used) == trials
    early, late = used[trials // 5], used[-1]
    for what, before in early.items():
        assert late[what] <= before * GROWTH, f"{what}: {before} after 20 %, {late[what]} at last"


def test_a_search_of_500_trials_on_the_fake_backend_stays_small(tmp_path: Path) -> None:
    check(on_the_fake(500, tmp_path), 500)


def test_a_search_of_100_trials_on_onnx_runtime_stays_small(tmp_path: Path) -> None:
    check(on_onnx_runtime(100, tmp_path), 100)
