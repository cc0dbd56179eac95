from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from precsearch.backends.fake import Fault, Landscape
from precsearch.errors import (
    BuildError,
    EngineError,
    OptionError,
    PrecsearchError,
    WorkerCrashed,
    WorkerError,
    WorkerTimeout,
)
from precsearch.evaluate import Evaluate, pooled
from precsearch.goal import Problem
from precsearch.search import search
from precsearch.space import Assignment
from precsearch.strategy import Proposals
from precsearch.trial import Failed, Proposal
from precsearch.workers import Worker
from tests.loop.loop_toys import (
    FP16,
    INT8,
    Oddities,
    ToyBench,
    finish,
    in_process,
    in_workers,
    toy_landscape,
    toy_problem,
    toy_space,
)
from tests.loop.test_crash_drill import HERE, wait_for_end


@pytest.fixture(scope="module")
def shared() -> Iterator[Worker]:
    with Worker(Oddities, ("shared",), limit_s=60, preload=()) as worker:
        yield worker


def stage_of(error: BaseException) -> object:
    return error.__dict__["stage"]


def test_state_stays_between_calls(shared: Worker) -> None:
    first = shared.call("count")
    assert shared.call("count") == first + 1
    assert shared.call("pid") == shared.pid != os.getpid()


def test_large_payloads_arrive_unchanged(shared: Worker) -> None:
    model = os.urandom(1 << 20) * 32
    array = np.arange(4_000_000, dtype=np.float32).reshape(2000, 2000)
    answer = shared.call("echo", {"model": model, "feeds": (array, array.T, np.array(3))})
    assert answer["model"] == model
    assert all(
        np.array_equal(a, b) for a, b in zip(answer["feeds"], (array, array.T, 3), strict=True)
    )


def test_our_errors_come_as_they_are_and_others_in_one_line(shared: Worker) -> None:
    pid = shared.call("pid")
    with pytest.raises(BuildError, match=r"^refused$"):
        shared.call("fail", "build")
    with pytest.raises(MemoryError, match="Unable to allocate"):
        shared.call("fail", "memory")
    with pytest.raises(EngineError, match=r"^KeyError: ") as caught:
        shared.call("fail", "other")
    assert "\n" not in str(caught.value)
    assert stage_of(caught.value) == "start"
    with pytest.raises(EngineError, match=r"pickle|local object"):
        shared.call("unpicklable")
    with pytest.raises(EngineError, match="AttributeError"):
        shared.call("no_such_method")
    assert shared.call("pid") == pid


@pytest.mark.parametrize(
    ("number", "name"), [(signal.SIGSEGV, "SIGSEGV"), (signal.SIGABRT, "SIGABRT")]
)
def test_a_crash_is_told_with_its_stage_and_survived(
    shared: Worker, number: int, name: str
) -> None:
    shared.call("count")
    with pytest.raises(WorkerCrashed, match=f"died of {name} at stage 'build'") as caught:
        shared.call("crash", "build", number)
    assert stage_of(caught.value) == "build"
    log = shared.log_tail()
    assert "last words" in log
    assert "from native code" in log
    assert shared.call("count") == 1


def test_a_kill_hints_at_memory_and_an_exit_has_a_code(shared: Worker) -> None:
    with pytest.raises(WorkerCrashed, match=r"SIGKILL \(the system may be out of memory\)"):
        shared.call("crash", "run", signal.SIGKILL)
    with pytest.raises(WorkerCrashed, match="exited with code 7 at stage 'start'"):
        shared.call("leave", 7)


def test_a_hang_is_killed_with_all_that_it_started(shared: Worker) -> None:
    shared.call("count")
    start = time.monotonic()
    with pytest.raises(WorkerTimeout, match=r"limit of 0.5 s at stage 'forked \d+'") as caught:
        shared.call("hang_with_child", limit_s=0.5)
    assert time.monotonic() - start < 5
    assert wait_for_end(int(str(stage_of(caught.value)).split()[1]), 5)
    assert shared.call("count") == 1


def test_a_stage_does_not_outlast_its_call(shared: Worker) -> None:
    with pytest.raises(WorkerTimeout):
        shared.call("hang", "time", limit_s=0.2)
    shared.call("count")
    with pytest.raises(EngineError) as caught:
        shared.call("fail", "other")
    assert stage_of(caught.value) == "start"


def test_a_child_that_dies_between_calls_is_replaced(shared: Worker) -> None:
    pid = shared.call("pid")
    os.kill(pid, signal.SIGKILL)
    assert wait_for_end(pid, 5)
    time.sleep(0.1)  # its threads end after it
    assert shared.call("pid") != pid


def test_an_interrupt_does_not_reach_the_child(shared: Worker) -> None:
    assert shared.call("interrupt_yourself") == "still here"
    os.killpg(shared.pid, signal.SIGINT)
    assert shared.call("echo", 1) == 1


def test_an_interrupted_call_leaves_no_reply_for_the_next(shared: Worker) -> None:
    shared.call("count")
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        shared.call("hang")
    assert shared.call("echo", "mine") == "mine"


def test_stop_ends_a_call_in_another_thread(shared: Worker) -> None:
    shared.call("count")
    timer = threading.Timer(0.3, shared.stop)
    timer.start()
    with pytest.raises(WorkerError) as caught:
        shared.call("hang")
    assert type(caught.value) is WorkerError
    assert shared.call("count") == 1


def test_new_arguments_make_a_new_object(shared: Worker) -> None:
    shared.restart_with("renewed")
    assert shared.call("tag") == "renewed"
    with pytest.raises(WorkerCrashed):
        shared.call("crash", "run", signal.SIGSEGV)
    assert shared.call("tag") == "renewed"


def test_what_cannot_be_made_says_why_each_time() -> None:
    with Worker(Oddities, ("unmakable",), limit_s=30, preload=()) as worker:
        for _ in range(2):
            with pytest.raises(OptionError, match="not like this"):
                worker.call("count")


def test_a_process_that_cannot_be_started_is_no_engines_fault(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("precsearch.workers.process.get_executable", lambda: "/no/such/python")
    with pytest.raises(WorkerError, match="No such file"):
        Worker(Oddities, ("x",), limit_s=30)


def test_a_closed_worker_leaves_no_process() -> None:
    worker = Worker(Oddities, ("x",), limit_s=30, preload=("no_such_module",))
    assert worker.call("echo", 1) == 1
    pid = worker.pid
    worker.close()
    worker.close()
    assert wait_for_end(pid, 0)
    with pytest.raises(WorkerError, match="closed"):
        worker.call("echo", 1)


def test_close_does_not_wait_for_a_call_in_another_thread() -> None:
    worker = Worker(Oddities, ("x",), limit_s=60, preload=())
    worker.call("echo", 1)
    errors: list[BaseException] = []

    def call() -> None:
        try:
            worker.call("hang")
        except PrecsearchError as error:
            errors.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    time.sleep(0.2)
    start = time.monotonic()
    worker.close()
    thread.join(5)
    assert time.monotonic() - start < 5
    assert [type(e) for e in errors] == [WorkerError]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not enforce RLIMIT_AS")
def test_a_memory_limit_is_kept() -> None:
    limit = 4 << 30
    with Worker(Oddities, ("x",), limit_s=60, preload=(), memory_limit=limit) as worker:
        assert worker.call("grab", 1 << 20) == 1 << 20
        with pytest.raises(MemoryError):
            worker.call("grab", limit)
        assert worker.call("echo", 1) == 1


SCRIPT = """
    import sys
    from loop_toys import Oddities
    from precsearch.workers import Worker
    print("script runs")
    with Worker(Oddities, ("x",), limit_s=60, preload=()) as worker:
        print(worker.call("echo", "reply"), worker.call("count"))
"""


@pytest.mark.parametrize("how", ["file", "stdin"])
def test_users_scripts_need_no_guard(tmp_path: Path, how: str) -> None:
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
    from loop_toys import Oddities
    from precsearch.workers import Worker
    worker = Worker(Oddities, ("x",), limit_s=float(sys.argv[2]), preload=())
    worker.call("count")
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


FAULTS = {
    ("run", "crash"): Fault("segv", "run", {"g0": INT8}),
    ("build", "crash"): Fault("exit", "build", {"g0": FP16}),
    ("time", "timeout"): Fault("hang", "time", {"g1": INT8}),
    ("run", "memory"): Fault("memory", "run", {"g1": FP16}),
    ("build", "error"): Fault("error", "build", {"g3": INT8}),
}


class FaultsAndHealthy:
    def propose(self, problem: Problem, /) -> Proposals:
        yield [
            Proposal(Assignment.of({**changes, **fault.when}))
            for fault in FAULTS.values()
            for changes in ({}, {"g4": INT8})
            if changes or fault.kind in ("segv", "hang")
        ]
        yield [Proposal(Assignment()), Proposal(Assignment.of({"g4": INT8}))]


def test_a_search_survives_everything_that_an_engine_can_do() -> None:
    space = toy_space()
    landscape = replace(toy_landscape(space, 5), faults=tuple(FAULTS.values()))
    with ExitStack() as stack:
        arguments = (landscape.to_json(), 0.0)
        pool = [
            stack.enter_context(Worker(ToyBench, arguments, limit_s=2.0, preload=()))
            for _ in range(2)
        ]
        evaluate = pooled(in_workers(space, pool))
        _, trials = finish(search(toy_problem(space), FaultsAndHealthy(), evaluate))
    failures = [
        (t.outcome.stage, t.outcome.kind) if isinstance(t.outcome, Failed) else None for t in trials
    ]
    crash, exit_, hang, memory, error = FAULTS
    assert failures == [crash, crash, exit_, hang, hang, memory, error, None, None]
    _, expected = finish(search(toy_problem(space), FaultsAndHealthy(), _healthy(landscape)))
    assert [t.outcome for t in trials[-2:]] == [t.outcome for t in expected[-2:]]


def _healthy(landscape: Landscape) -> Evaluate:
    return in_process(toy_space(), replace(landscape, faults=()))
