"""Killed and interrupted searches on ONNX Runtime: nothing that was finished is lost.

A search that has to be met at a certain moment stops there (`tests.e2e.plugins.clocked_backend`),
so that it is neither too early nor over on any machine.
"""

from __future__ import annotations

import json
import random
import signal
import subprocess
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from precsearch.plan.plan import read_plan
from tests.e2e.command import DATA, LIMIT_S, MODEL, few_samples, processes, read_until, run, start
from tests.e2e.plugins.clocked_backend import install

pytestmark = pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks into /proc")

SEARCH = ("--tol", "0.02", "--threads", "1", "--max-builds", "4")


def arguments(folder: Path) -> tuple[str | Path, ...]:
    data = few_samples(folder / "few.npz")
    return ("optimize", MODEL, "--data", data, *SEARCH, "-o", folder / "p.json")


def journal(folder: Path) -> Path:
    return folder / "p.precsearch/journal.jsonl"


def lines(folder: Path) -> list[bytes]:
    """Whole lines of the journal."""
    path = journal(folder)
    data = path.read_bytes() if path.exists() else b""
    return data[: data.rfind(b"\n") + 1].splitlines()


def trials(rows: Sequence[bytes]) -> list[Any]:
    found = [json.loads(row) for row in rows]
    return [row["trial"] for row in found if row["type"] == "TrialFinished"]


def proposals(rows: Sequence[bytes]) -> list[str]:
    made = (t["proposal"] for t in trials(rows))
    return [json.dumps([p["fidelity"], p["assignment"]], sort_keys=True) for p in made]


def workers_of(pid: int) -> list[int]:
    """The living children of a process."""
    found = []
    for child in processes():
        try:
            stat = Path(f"/proc/{child}/stat").read_text()
        except OSError:
            continue
        if int(stat.rpartition(")")[2].split()[1]) == pid:
            found.append(child)
    return found


def still_there(pids: Iterable[int], wait_s: float = 30.0) -> list[int]:
    deadline = time.monotonic() + wait_s
    while (left := [p for p in pids if p in processes()]) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


def test_kill_at_random_moments_then_resume(tmp_path: Path) -> None:
    """Two of them; `benchmarks.drill` has a thousand."""
    rng = random.Random(1)
    (tmp_path / "backend").mkdir()
    env = install(tmp_path / "backend")
    args = (*arguments(tmp_path), "--backend", "clocked")
    kept: list[bytes] = []
    for _ in range(2):
        process = start(*args, *(["--resume"] if journal(tmp_path).exists() else []), env=env)
        seen = after_some_lines(process, rng.randrange(1, 14))
        time.sleep(rng.uniform(0, 0.4))
        seen |= set(workers_of(process.pid))
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=LIMIT_S)
        assert still_there(seen) == [], "a worker outlived its parent"
        after = lines(tmp_path)
        assert after[: len(kept)] == kept, "what was on disk has changed"
        kept = after
        whole_or_none = {p.name for p in tmp_path.iterdir() if ".unfinished-" not in p.name}
        # a reservation that nobody holds any more blocks nobody, and the next run removes it
        known = {"backend", "few.npz", "p.json", "p.evidence.json", "p.precsearch"}
        known |= {".p.json.lock", ".p.evidence.json.lock"}
        assert whole_or_none <= known
    done = run(*args, "--resume", env=env)
    assert done.returncode == 0, done.stderr
    assert not [p.name for p in tmp_path.iterdir() if p.name.startswith(".")]
    whole = lines(tmp_path)
    assert whole[: len(kept)] == kept
    assert journal(tmp_path).read_bytes().endswith(b"\n")
    asked = proposals(whole)
    assert len(set(asked)) == len(asked), "a finished trial was evaluated again"
    plan = read_plan(tmp_path / "p.json")
    assert len(plan.evidence.trials) == len(asked)
    assert sum('"engine"' in a for a in asked) <= 4
    assert plan.evidence.accuracy.loss <= 0.02


def after_some_lines(process: subprocess.Popen[str], count: int) -> set[int]:
    """Wait for so many lines; the workers that were seen at each."""
    assert process.stdout is not None
    seen: set[int] = set()
    for _ in range(count):
        process.stdout.readline()
        seen |= set(workers_of(process.pid))
    return seen


def test_ctrl_c_leaves_a_plan_and_resume_goes_on(tmp_path: Path) -> None:
    args = (*arguments(tmp_path), "--backend", "clocked")
    process = start(*args, env=install(tmp_path, hold="search"))
    read_until(process, "engine 1:")
    children = workers_of(process.pid)
    assert children
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 130, rest
    assert "plan written" in rest
    assert "Traceback" not in rest
    assert still_there(children) == []
    first = read_plan(tmp_path / "p.json")
    assert first.evidence.stopped == "interrupted"
    assert any("not confirmed" in w for w in first.evidence.warnings)
    before = lines(tmp_path)
    assert len(trials(before)) >= 2
    done = run(*args, "--resume", env=install(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "taken from the journal" in done.stderr
    after = lines(tmp_path)
    assert after[: len(before)] == before
    asked = proposals(after)
    assert len(set(asked)) == len(asked)
    plan = read_plan(tmp_path / "p.json")
    assert plan.evidence.stopped != "interrupted"
    assert len(plan.evidence.trials) == len(asked) > len(first.evidence.trials)


@pytest.mark.parametrize(
    ("line", "hold"),
    [("reference:", "baseline"), ("baseline:", "baseline"), ("confirm:", "confirm")],
)
def test_ctrl_c_is_answered_quickly_outside_of_the_search_too(
    line: str, hold: str, tmp_path: Path
) -> None:
    data = few_samples(tmp_path / "few.npz")
    args = ("optimize", MODEL, "--data", data, "--tol", "0.1", "--strategy", "uniform")
    given = ("-o", tmp_path / "p.json", "--threads", "1", "--backend", "clocked")
    process = start(*args, *given, env=install(tmp_path, hold=hold))
    read_until(process, line)
    children = workers_of(process.pid)
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=60)
    assert process.returncode == 130, rest
    assert "Traceback" not in rest
    assert still_there(children) == []
    assert (tmp_path / "p.json").exists() == (line == "confirm:")


def test_two_searches_do_not_share_a_journal(tmp_path: Path) -> None:
    args = (*arguments(tmp_path), "--backend", "clocked")
    env = install(tmp_path, hold="search")
    process = start(*args, env=env)
    try:
        read_until(process, "search:")
        run_dir = tmp_path / "p.precsearch"
        shared = ("-o", tmp_path / "q.json", "--run-dir", run_dir)
        done = run("optimize", MODEL, "--data", DATA, *shared)
        assert done.returncode == 2
        other = ("-o", tmp_path / "q.json", "--run-dir", run_dir, "--resume")
        done = run(*args, *other, env=env)
        assert done.returncode == 2
        assert "another process is using" in done.stderr
    finally:
        process.kill()
        process.communicate(timeout=LIMIT_S)
