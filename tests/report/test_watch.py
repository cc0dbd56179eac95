"""`watch`: a run from its journal, while it is written and after."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from precsearch.cli.main import run
from precsearch.cli.progress.watch import ENDED, Tail, follow, watch
from precsearch.core.errors import InputError
from precsearch.core.events import Event, PlanWritten, RunStarted, SearchFinished, TrialFinished
from precsearch.search.journal import Journal, read
from tests.cli.runs import synthetic_run
from tests.e2e.command import command, environment
from tests.report.runs import Run

EVENTS = list(synthetic_run(builds=6, proxies=3))


def written(run_dir: Path, events: list[Event], *, resume: bool = False) -> Path:
    with Journal.open(run_dir, {"model": "ab" * 32}, resume=resume) as journal:
        for event in events:
            journal.append(event)
    return run_dir


def terminal(width: int) -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=width, height=30)


def text_of(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_finished_run_through_a_pipe_is_plain_lines(finished: Run) -> None:
    done = subprocess.run(
        command("watch", finished.run_dir),
        env=environment(),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    assert "engine 0: all fp32" in done.stdout
    (ended,) = (e for e in read(finished.run_dir) if isinstance(e, SearchFinished))
    assert f"search ended after {ended.builds} engines" in done.stdout
    assert done.stdout.splitlines()[-1].endswith("plan written: digits.plan.json")


@pytest.mark.parametrize("width", [80, 140])
def test_a_finished_run_stays_on_a_terminal(tmp_path: Path, width: int) -> None:
    console = terminal(width)
    watch(written(tmp_path / "run", EVENTS), console)
    shown = text_of(console)
    assert "plan written: resnet20_cifar10.plan.json" in shown
    assert "FP32's speed" in shown


def test_events_are_shown_as_they_are_written(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path / "run", {"model": "ab" * 32})
    coming = iter(EVENTS)
    journal.append(next(coming))

    def sleep(_: float) -> None:
        """Time passes: the search goes on by one event, and ends with the last."""
        event = next(coming)
        journal.append(event)
        if isinstance(event, PlanWritten):
            journal.close()

    assert list(follow(Tail(tmp_path / "run"), sleep)) == EVENTS


def test_a_line_that_is_half_written_is_waited_for(tmp_path: Path) -> None:
    run_dir = written(tmp_path / "run", EVENTS[:3])
    path = run_dir / "journal.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    tail = Tail(run_dir)
    assert len(list(tail.events())) == 2
    path.write_bytes(whole)
    assert list(tail.events()) == EVENTS[2:3]


def test_a_run_that_died_is_not_waited_for(tmp_path: Path) -> None:
    run_dir = written(tmp_path / "run", EVENTS[:12])
    console = Console(file=io.StringIO(), width=80)
    watch(run_dir, console, _never)
    assert ENDED in text_of(console)
    drawn = terminal(80)
    watch(run_dir, drawn, _never)
    assert "ended  without a plan" in text_of(drawn)


def _never(_: float) -> None:
    raise AssertionError("waited")


def test_a_resumed_run_keeps_its_trials_and_is_not_over_at_its_first_plan(tmp_path: Path) -> None:
    half = next(i for i, e in enumerate(EVENTS) if isinstance(e, TrialFinished)) + 1
    stopped = [*EVENTS[:half], PlanWritten("early.plan.json", 1.0, 0.0)]
    run_dir = written(tmp_path / "run", stopped)
    journal = Journal.open(run_dir, {"model": "ab" * 32}, resume=True)
    coming: Iterator[Event] = iter([RunStarted({}, "m.onnx", "0"), *EVENTS[half:]])
    journal.append(next(coming))

    def sleep(_: float) -> None:
        event = next(coming)
        journal.append(event)
        if isinstance(event, PlanWritten):
            journal.close()

    console = terminal(100)
    watch(run_dir, console, sleep)
    shown = text_of(console)
    assert "resnet20_cifar10.plan.json" in shown
    assert "6 of 6 engines" in shown


def test_a_journal_that_is_begun_anew_is_read_anew(tmp_path: Path) -> None:
    run_dir = written(tmp_path / "run", EVENTS)
    tail = Tail(run_dir)
    assert len(list(tail.events())) == len(EVENTS)
    (run_dir / "journal.jsonl").write_bytes(b"")
    written(run_dir, EVENTS[:2], resume=True)
    assert list(tail.events()) == EVENTS[:2]


def test_showing_does_not_disturb_a_run(tmp_path: Path) -> None:
    run_dir = written(tmp_path / "run", EVENTS)
    list(Tail(run_dir).events())
    with Journal.open(run_dir, {"model": "ab" * 32}, resume=True) as journal:
        assert len(journal.memo) == len([e for e in EVENTS if isinstance(e, TrialFinished)])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read: No such file or directory; check the path"),
        (b"", "holds no run; name a run's own folder"),
        (b'{"message":"hm","type":"Warned"}\n', "does not begin with a run"),
        (b"\x00\xff not JSON\n", "holds a damaged event"),
    ],
)
def test_a_file_that_is_not_a_journal_is_reported(
    content: bytes | None, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    if content is not None:
        (folder / "journal.jsonl").write_bytes(content)
    assert run(["watch", str(folder)]) == 2
    assert said in capsys.readouterr().err
    with pytest.raises(InputError):
        watch(folder, terminal(80))


def test_ctrl_c_ends_the_showing(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path / "run", {"model": "ab" * 32})
    for event in EVENTS[:8]:
        journal.append(event)
    with subprocess.Popen(
        [sys.executable, "-c", _WATCHED, str(tmp_path / "run")],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as shown:
        assert shown.stdout is not None
        assert "precsearch" in shown.stdout.readline()
        os.kill(shown.pid, signal.SIGINT)
        assert shown.wait(60) == 130
    journal.append(EVENTS[8])
    journal.close()


_WATCHED = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from precsearch.cli.main import main
main(["watch", sys.argv[1]])
"""
