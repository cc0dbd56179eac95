"""Workers and the scripts that start them: no guard is needed, and none outlives its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.drills.test_crash_drill import HERE, wait_for_end

SCRIPT = """
    import sys
    from tests.search.loop_toys import Oddities
    from precsearch.executors.process import Worker
    print("script runs")
    with Worker(Oddities, ("x",), limit_s=60, preload=()) as worker:
        print(worker.call(Oddities.echo, "reply"), worker.call(Oddities.count))
"""


@pytest.mark.parametrize("how", ["file", "stdin"])
def test_scripts_of_users_need_no_main_guard(tmp_path: Path, how: str) -> None:
    text = textwrap.dedent(SCRIPT)
    script = tmp_path / "script.py"
    script.write_text(text)
    arguments = {"file": [str(script)], "stdin": ["-"]}[how]
    path = os.pathsep.join([str(HERE.parents[1]), str(HERE)])
    done = subprocess.run(
        [sys.executable, *arguments],
        input=text if how == "stdin" else None,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
        cwd=tmp_path,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout.split("\n")[:2] == ["script runs", "reply 1"]


ORPHAN = """
    import os, signal, sys, threading, time
    from tests.search.loop_toys import Oddities
    from precsearch.executors.process import Worker
    worker = Worker(Oddities, ("x",), limit_s=float(sys.argv[2]), preload=())
    worker.call(Oddities.count)
    print(worker.pid, flush=True)
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGKILL)).start()
    worker.call(sys.argv[1]) if sys.argv[1] else time.sleep(60)
"""


@pytest.mark.parametrize(
    ("busy_with", "limit_s"), [("", 60.0), ("hang", 60.0), ("hang_with_lock", 0.5)]
)
def test_a_killed_parent_leaves_no_child(busy_with: str, limit_s: float) -> None:
    path = os.pathsep.join([str(HERE.parents[1]), str(HERE)])
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(ORPHAN), busy_with, str(limit_s)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
        timeout=60,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert wait_for_end(int(done.stdout), 10)
