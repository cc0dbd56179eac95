"""Kill -9 at random moments: what was finished is in the journal, and no process is left."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from precsearch.core.events import TrialFinished
from precsearch.search.journal import read
from precsearch.search.loop import search
from tests.search.loop_toys import (
    Climb,
    finish,
    in_process,
    timeless,
    toy_landscape,
    toy_problem,
    toy_space,
)

HERE = Path(__file__).parent
SPACE = toy_space(4)


def start(run_dir: Path, seed: int, workers: int, seconds: float = 0.01) -> subprocess.Popen[str]:
    """Start a search whose trials take at least so long each."""
    landscape = toy_landscape(SPACE, seed).to_json()
    given = [str(run_dir), landscape, str(workers), str(seconds)]
    path = os.pathsep.join([str(HERE.parents[1]), str(HERE)])
    return subprocess.Popen(
        [sys.executable, str(HERE / "drill.py"), *given],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )


def running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not state.exists() or state.read_text().rpartition(")")[2].split()[0] != "Z"


def wait_for_end(pid: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while running(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not running(pid)


@pytest.mark.parametrize(("seed", "workers", "kills"), [(1, 1, 3), (2, 2, 2)])
def test_no_finished_trial_is_lost(tmp_path: Path, seed: int, workers: int, kills: int) -> None:
    rng = random.Random(seed)
    _, expected = finish(
        search(toy_problem(SPACE), Climb(), in_process(SPACE, toy_landscape(SPACE, seed)))
    )
    reported: set[int] = set()
    for attempt in range(kills + 1):
        process = start(tmp_path, seed, workers)
        assert process.stdout is not None
        pids = [int(p) for p in process.stdout.readline().split()[1:]]
        if attempt < kills:  # a moment after its so many-th new trial
            for _ in range(rng.randrange(1, 12)):
                line = process.stdout.readline().split()
                reported |= {int(line[1])} if line[:1] == ["trial"] else set()
            time.sleep(rng.uniform(0, 0.03))
            process.kill()
        rest = process.stdout.read().split()
        process.stdout.close()
        process.wait()
        reported |= {int(n) for n in rest if n.isdigit()}
        for pid in pids:
            assert wait_for_end(pid, 10), "a worker outlived its parent"
        found = {e.trial.number for e in read(tmp_path) if isinstance(e, TrialFinished)}
        assert reported <= found
    assert "done" in rest
    trials = [e.trial for e in read(tmp_path) if isinstance(e, TrialFinished)]
    assert timeless(sorted(trials, key=lambda t: t.number)) == timeless(expected)


def test_an_interrupted_run_ends_quickly_and_leaves_no_worker(tmp_path: Path) -> None:
    process = start(tmp_path, 3, 2, 0.5)  # long enough not to be over before it is interrupted
    assert process.stdout is not None
    pids = [int(p) for p in process.stdout.readline().split()[1:]]
    for _ in range(3):
        process.stdout.readline()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode != 0
    assert all(wait_for_end(pid, 10) for pid in pids)
    assert len([e for e in read(tmp_path) if isinstance(e, TrialFinished)]) >= 3
