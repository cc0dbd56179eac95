"""A run that is disturbed: it replaces nothing of others, and its plan stays its plan."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from precsearch.api import OptimizeConfig, OptimizeResult, optimize_events
from precsearch.core.errors import OutputError
from precsearch.core.events import Event, SearchStarted, TrialFinished
from precsearch.plan.plan import read_plan
from tests.e2e.plugins.clocked_backend import here
from tests.hostile.situations.world import write_world

MINE = "not precsearch's"


def ended(
    config: OptimizeConfig, act: Callable[[], None] = lambda: None
) -> tuple[list[Event], OptimizeResult]:
    """All events of a run; something is done as its search begins."""
    result: list[OptimizeResult] = []

    def returned() -> Iterator[Event]:
        result.append((yield from optimize_events(config)))

    seen: list[Event] = []
    for event in returned():
        seen.append(event)
        if isinstance(event, SearchStarted):
            act()
    return seen, result[0]


def children() -> set[int]:
    """Processes that this one has started."""
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        with suppress(OSError):  # a thread that has ended
            found |= set(map(int, (task / "children").read_text().split()))
    return found


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> OptimizeConfig:
    folder = write_world(tmp_path_factory.mktemp("outputs"))
    return OptimizeConfig(
        folder / "model.onnx",
        folder / "data.npz",
        tol=0.9,
        threads=1,
        max_builds=3,
        backend="clocked",
        strategy="uniform",
        corrections=(),
        output=folder / "p.json",
        artifact=folder / "a.onnx",
    )


def test_a_run_and_what_becomes_of_its_outputs(
    config: OptimizeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here(tmp_path, monkeypatch)
    assert config.output is not None
    assert config.artifact is not None
    folder = config.output.parent
    plan, artifact = config.output, config.artifact

    def disturb() -> None:
        with pytest.raises(OutputError, match="another run is going to write"):
            next(optimize_events(replace(config, run_dir=folder / "other")))
        plan.write_text(MINE)
        artifact.write_text(MINE)

    with pytest.raises(OutputError, match="has appeared during the search and is kept"):
        ended(config, disturb)
    assert (plan.read_text(), artifact.read_text()) == (MINE, MINE)
    assert not list(folder.glob(".*"))

    # What was measured is on record: another place, and nothing is measured again.
    journal = (config.run_path / "journal.jsonl").read_bytes()
    again = replace(config, output=folder / "q.json", artifact=folder / "b.onnx", resume=True)
    again = replace(again, run_dir=config.run_path)
    seen, _ = ended(again)
    assert not any(isinstance(e, TrialFinished) for e in seen)
    written = (folder / "q.json").read_bytes()
    assert read_plan(folder / "q.json").evidence.finalists
    assert (folder / "b.onnx").stat().st_size > 0

    # Once more: nothing changes. With one's own file in the way: refused, not replaced.
    ended(again)
    assert (folder / "q.json").read_bytes() == written
    with pytest.raises(OutputError, match="is not what this run wrote"):
        ended(replace(again, output=plan))
    assert plan.read_text() == MINE
    assert (config.run_path / "journal.jsonl").read_bytes() == journal

    # A larger budget is another question: the search goes on, and replaces its own plan.
    seen, _ = ended(replace(again, max_builds=4))
    assert any(isinstance(e, TrialFinished) and e.replayed for e in seen)
    assert read_plan(folder / "q.json").evidence.stopped in ("done", "builds")


def test_a_worker_that_is_killed_at_any_step_costs_nothing(
    config: OptimizeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here(tmp_path, monkeypatch)
    run = replace(config, output=tmp_path / "p.json", artifact=None)
    before, killed = children(), set[int]()
    events = optimize_events(run)
    with suppress(StopIteration):
        while next(events):
            for pid in children() - before - killed:
                os.kill(pid, signal.SIGKILL)
                killed.add(pid)
    assert len(killed) > 4
    plan = read_plan(tmp_path / "p.json")
    assert plan.evidence.finalists
    assert [t.failed for t in plan.evidence.trials if t.failed] == []
