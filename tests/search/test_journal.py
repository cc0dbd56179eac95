"""A journal: what is read back, what is refused, and what damage costs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from precsearch.codec import dumps, unstructure
from precsearch.core.errors import InputError, OutputError
from precsearch.core.events import (
    BatchProposed,
    Event,
    RunStarted,
    SearchStarted,
    TrialFinished,
    Warned,
)
from precsearch.core.problem import Bound, Budget
from precsearch.core.space import Assignment
from precsearch.core.trial import Accuracy, Fidelity, Measured, Measurement, Proposal, Trial
from precsearch.search.journal import NAME, Journal, read, read_from
from tests.search.loop_toys import FP16, IDENTITY

STARTED = RunStarted(IDENTITY, "toy.onnx", "0")


def trial(number: int, fidelity: Fidelity = Fidelity.ENGINE, digest: str = "") -> Trial:
    assignment = Assignment.of({f"g{number}": FP16})
    outcome = Measured(Measurement(Accuracy(0.1 * number, 0.2)))
    return Trial(number, Proposal(assignment, fidelity), outcome, digest, 1.5)


def write(run_dir: Path, *events: Event, resume: bool = False) -> Path:
    with Journal.open(run_dir, IDENTITY, resume=resume) as journal:
        for event in events:
            journal.append(event)
    return journal.path


def test_appended_events_are_read(run_dir: Path) -> None:
    events = (STARTED, Warned("ünïcode\nand a line break"), TrialFinished(trial(0), 1, 2.0))
    path = write(run_dir, *events)
    assert tuple(read(path)) == events
    assert tuple(read(run_dir)) == events
    assert tuple(read(path)[1:]) == events[1:]
    assert all(isinstance(json.loads(line), dict) for line in path.read_bytes().splitlines())


def test_a_journal_can_be_followed_while_it_is_written(run_dir: Path) -> None:
    with Journal.open(run_dir, IDENTITY) as journal:
        journal.append(STARTED)
        events, offset = read_from(run_dir, 0)
        assert list(events) == [STARTED]
        assert list(read_from(run_dir, offset)[0]) == []
        journal.append(Warned("more"))
        assert list(read_from(run_dir, offset)[0]) == [Warned("more")]


def test_a_resumed_journal_knows_what_was_finished(run_dir: Path) -> None:
    engine, proxy = trial(0, digest="abc"), trial(1, Fidelity.PROXY, "def")
    bound, budget = Bound(0.1), Budget()
    write(
        run_dir,
        STARTED,
        SearchStarted("cpu", "auto", 1, 1, bound, budget, noise=0.031),
        TrialFinished(engine, 1, 2.0),
        TrialFinished(proxy, 1, 5.5),
        BatchProposed((proxy.proposal,)),
    )
    with Journal.open(run_dir, IDENTITY, resume=True) as journal:
        memo = journal.memo
        assert dict(memo) == {engine.proposal: engine, proxy.proposal: proxy}
        assert memo.get(replace(proxy.proposal, fidelity=Fidelity.ENGINE)) is None
        assert memo[replace(engine.proposal, reason="another one")] == engine
        assert memo.engines == {"abc": engine.outcome}
        assert (memo.seconds, memo.noise) == (5.5, 0.031)


def test_a_replayed_trial_is_not_written_twice(run_dir: Path) -> None:
    write(run_dir, STARTED, TrialFinished(trial(0), 1, 2.0))
    path = write(run_dir, STARTED, TrialFinished(trial(0), 1, 2.0, replayed=True), resume=True)
    assert path.read_bytes().count(b"TrialFinished") == 1


def test_an_earlier_journal_is_not_touched_by_accident(run_dir: Path) -> None:
    path = write(run_dir, STARTED, TrialFinished(trial(0), 1, 1.0))
    before = path.read_bytes()
    with pytest.raises(OutputError, match=r"--resume .* --force"):
        Journal.open(run_dir, IDENTITY)
    assert path.read_bytes() == before
    with Journal.open(run_dir, {"model": "another"}, force=True) as journal:
        assert len(journal.memo) == 0
        journal.append(STARTED)
    assert list(read(run_dir)) == [STARTED]


def test_a_journal_without_trials_holds_nothing_to_lose(run_dir: Path) -> None:
    write(run_dir, STARTED, Warned("the model was refused"))
    with Journal.open(run_dir, IDENTITY) as journal:
        journal.append(STARTED)
    assert list(read(run_dir)) == [STARTED]


def test_resuming_nothing_begins(run_dir: Path) -> None:
    with Journal.open(run_dir, IDENTITY, resume=True) as journal:
        assert len(journal.memo) == 0
    with Journal.open(run_dir, IDENTITY):
        pass  # an empty journal holds nothing to lose


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": "1"}, "seed was 0 and is now 1"),
        ({"model": "b" * 64}, "model was aaaaaaaaaaaa… and is now bbbbbbbbbbbb…"),
        ({"batch": "8"}, "batch was not there and is now 8"),
    ],
)
def test_another_run_is_refused_by_what_differs(
    run_dir: Path, change: dict[str, str], message: str
) -> None:
    write(run_dir, STARTED)
    with pytest.raises(InputError, match=message) as caught:
        Journal.open(run_dir, {**IDENTITY, **change}, resume=True)
    assert "--force" in str(caught.value)


def test_a_file_that_is_not_a_journal_is_refused(run_dir: Path) -> None:
    run_dir.mkdir()
    path = run_dir / NAME
    for text in ('{"some": "thing"}\n', "hello\n", dumps(unstructure(Warned("x"), Event)) + "\n"):
        path.write_text(text)
        with pytest.raises(InputError, match="--force"):
            Journal.open(run_dir, IDENTITY, resume=True)
        assert path.read_text() == text


def test_a_torn_line_is_cut_off(run_dir: Path) -> None:
    path = write(run_dir, STARTED, TrialFinished(trial(0), 1, 2.0))
    whole = path.read_bytes()
    for torn in (b'{"builds":2,"el', b"\0" * 100, b"\0\0\n", b'{"type":\n'):
        path.write_bytes(whole + torn)
        if not torn.endswith(b"\n"):
            assert len(read(path)) == 2
        with Journal.open(run_dir, IDENTITY, resume=True) as journal:
            assert len(journal.memo) == 1
            journal.append(Warned("next"))
        assert [type(e).__name__ for e in read(path)] == ["RunStarted", "TrialFinished", "Warned"]


def test_damage_before_a_finished_trial_is_not_cut_off(run_dir: Path) -> None:
    path = write(run_dir, STARTED, TrialFinished(trial(0), 1, 2.0), TrialFinished(trial(1), 2, 3.0))
    lines = path.read_bytes().splitlines(keepends=True)
    lines[1] = lines[1][:40] + b"\n"
    path.write_bytes(b"".join(lines))
    with pytest.raises(InputError, match=r"line 2 .* is damaged"):
        Journal.open(run_dir, IDENTITY, resume=True)
    with pytest.raises(InputError, match="damaged event"):
        list(read(path))
    assert path.read_bytes() == b"".join(lines)


def test_a_missing_journal_cannot_be_read(run_dir: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read(run_dir / NAME)


def test_a_run_directory_has_one_user_at_a_time(run_dir: Path) -> None:
    script = (
        "import sys; from precsearch.search.journal import Journal; from precsearch.core.errors "
        "import *\n"
        f"try: Journal.open({str(run_dir)!r}, {IDENTITY!r}, force=True)\n"
        "except OutputError as error: print(error)"
    )
    command = [sys.executable, "-c", script]
    with Journal.open(run_dir, IDENTITY) as journal:
        journal.append(STARTED)
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert "another process is using" in said
        assert list(read(run_dir)) == [STARTED]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == ""


def test_a_closed_journal_says_so(run_dir: Path) -> None:
    journal = Journal.open(run_dir, IDENTITY)
    journal.close()
    journal.close()
    with pytest.raises(OutputError, match="closed"):
        journal.append(STARTED)


def test_a_run_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="--run-dir"):
        Journal.open(tmp_path / "file" / "run", IDENTITY)


def test_a_full_disk_leaves_a_journal_that_can_be_resumed(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_for_real = os.write

    def half(descriptor: int, data: bytes) -> int:
        monkeypatch.setattr(os, "write", full)
        return write_for_real(descriptor, bytes(data)[: len(data) // 2])

    def full(descriptor: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    with Journal.open(run_dir, IDENTITY) as journal:
        journal.append(STARTED)
        monkeypatch.setattr(os, "write", half)
        with pytest.raises(OutputError, match="No space left"):
            journal.append(TrialFinished(trial(0), 1, 1.0))
        monkeypatch.undo()
        journal.append(Warned("after"))
    assert list(read(run_dir)) == [STARTED, Warned("after")]


def test_a_journal_of_ten_thousand_trials_opens_quickly(run_dir: Path) -> None:
    path = write(run_dir, STARTED)
    assignment = Assignment.of({f"layer{i}/output": FP16 for i in range(40)})
    accuracy = Accuracy(0.01, 0.02, {"y": 0.01}, tuple(i / 7 for i in range(32)), (1 / 3,) * 32)
    first = Trial(0, Proposal(assignment), Measured(Measurement(accuracy)), "d" * 64, 1.0)
    line = dumps(unstructure(TrialFinished(first, 1, 1.0), Event)).encode()
    rows = (line.replace(b"layer0/", b"layer%d/" % (1000 + i)) + b"\n" for i in range(10_000))
    with path.open("ab") as file:
        file.writelines(rows)

    def opened() -> None:
        with Journal.open(run_dir, IDENTITY, resume=True) as journal:
            assert len(journal.memo) == 10_000

    def parsed() -> None:
        assert len([json.loads(row) for row in path.read_bytes().splitlines()]) == 10_001

    # Seconds would say how fast the machine is; the lines alone take as long to parse.
    assert seconds_of(opened) < 2 * seconds_of(parsed)


def seconds_of(act: Callable[[], None]) -> float:
    """Processor time of the faster one of two."""
    found = []
    for _ in range(2):
        start = time.process_time()
        act()
        found.append(time.process_time() - start)
    return min(found)
