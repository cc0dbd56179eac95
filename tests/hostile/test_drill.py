"""A small part of the drill, which docs/reliability.md has in full: it counts nothing wrong."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable

import pytest

from benchmarks.drill.__main__ import MUST_BE_NONE
from benchmarks.drill.fake import fake_kills
from benchmarks.drill.inputs import hostile_inputs
from benchmarks.drill.runs import full_disks, interrupts

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


def wrong(found: Counter[str]) -> dict[str, int]:
    return {k: found[k] for k in MUST_BE_NONE if found[k]}


def test_hostile_files_are_refused_by_the_command_line() -> None:
    found = hostile_inputs(7, 80)
    assert wrong(found) == {}
    assert sum(n for k, n in found.items() if "refused" in k or "accepted" in k) == 80


@pytest.mark.parametrize("act", [fake_kills, interrupts, full_disks])
def test_disturbed_runs_lose_nothing(
    act: Callable[[int, int], Counter[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    few = ("--max-builds", "2", "-o", "out/p.json", "--artifact", "out/a.onnx")
    monkeypatch.setattr("benchmarks.drill.runs.OUTPUTS", few)
    found = act(11, 1)
    assert wrong(found) == {}
    assert found.total() > 0
