"""What the table of `benchmarks.scaling` claims of searches that failed or were cut off."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.scaling.events import finished, table


def recorded(path: Path, wall: float, code: int, *, planned: bool) -> None:
    events = [{"at": 1.0, "type": "SearchStarted"}]
    if planned:
        events.append({"at": wall, "type": "PlanWritten", "ratio": 0.5, "loss": 0.01})
    events.append({"at": wall, "type": "Ended", "code": code, "killed": 0})
    path.write_text("".join(f"{json.dumps(e)}\n" for e in events))


@pytest.mark.parametrize(
    ("code", "planned", "speed", "again"),
    [(0, True, "5.00x", False), (2, False, "", True), (130, True, "", False)],
)
def test_only_a_search_that_came_to_its_end_has_a_speed(
    tmp_path: Path, code: int, planned: bool, speed: str, again: bool
) -> None:
    recorded(tmp_path / "m.1.jsonl", 10.0, 0, planned=True)
    recorded(tmp_path / "m.2.jsonl", 2.0, code, planned=planned)
    cells = [cell.strip() for cell in table(tmp_path).splitlines()[-1].split("|")]
    assert cells[4] == speed
    assert cells[10] == ("0.500" if planned else "-")
    assert finished(tmp_path / "m.2.jsonl") is not again
    assert not finished(tmp_path / "m.4.jsonl")
