"""Calls into a child process: what comes back, and what happens when it does not."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from precsearch.core.errors import (
    BuildError,
    EngineError,
    OptionError,
    PrecsearchError,
    WorkerCrashed,
    WorkerError,
    WorkerTimeout,
)
from precsearch.executors.process import Worker
from tests.drills.test_crash_drill import wait_for_end
from tests.executors.at_work import while_at_work
from tests.search.loop_toys import Oddities


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


def test_another_worker_serves_the_same_in_a_process_of_its_own(shared: Worker) -> None:
    with shared.another("other") as other:
        assert (other.call("tag"), shared.call("tag")) == ("other", "shared")
        assert other.call("pid") != shared.call("pid")
    assert shared.call("tag") == "shared", "its end is not the end of the first"


def test_large_payloads_arrive_unchanged(shared: Worker) -> None:
    model = os.urandom(1 << 20) * 32
    array = np.arange(4_000_000, dtype=np.float32).reshape(2000, 2000)
    answer = shared.call("echo", {"model": model, "feeds": (array, array.T, np.array(3))})
    assert answer["model"] == model
    assert all(
        np.array_equal(a, b)
        for a, b in zip(answer["feeds"], (array, array.T, np.asarray(3)), strict=True)
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
    with pytest.raises(WorkerCrashed, match=r"outside killed .*\(SIGKILL\).*if memory"):
        shared.call("crash", "run", signal.SIGKILL)
    with pytest.raises(WorkerCrashed, match="exited with code 7 at stage 'start'"):
        shared.call("leave", 7)


def test_a_hang_is_killed_with_all_that_it_started(shared: Worker) -> None:
    shared.call("count")
    start = time.monotonic()
    # Long enough to fork in on a busy machine, and far from the 600 s that it would hang.
    with pytest.raises(WorkerTimeout, match=r"limit of 1.5 s at stage 'forked \d+'") as caught:
        shared.call("hang_with_child", limit_s=1.5)
    assert time.monotonic() - start < 60
    assert wait_for_end(int(str(stage_of(caught.value)).split()[1]), 10)
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
    assert wait_for_end(pid, 10)
    deadline = time.monotonic() + 10
    while shared.ready and time.monotonic() < deadline:  # its threads end after it
        time.sleep(0.01)
    assert shared.call("pid") != pid


def test_an_interrupt_does_not_reach_the_child(shared: Worker) -> None:
    assert shared.call("interrupt_yourself") == "still here"
    os.killpg(shared.pid, signal.SIGINT)
    assert shared.call("echo", 1) == 1


def test_an_interrupted_call_leaves_no_reply_for_the_next(shared: Worker) -> None:
    shared.call("count")
    with (
        pytest.raises(KeyboardInterrupt),
        while_at_work(shared, lambda: os.kill(os.getpid(), signal.SIGINT)),
    ):
        shared.call("hang")
    assert shared.call("echo", "mine") == "mine"


def test_stop_ends_a_call_in_another_thread(shared: Worker) -> None:
    shared.call("count")
    with pytest.raises(WorkerError) as caught, while_at_work(shared, shared.stop):
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
    monkeypatch.setattr(
        "precsearch.executors.process.start.get_executable", lambda: "/no/such/python"
    )
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
    start = time.monotonic()
    with while_at_work(worker, worker.close):
        thread.start()
    thread.join(40)
    assert time.monotonic() - start < 40, "the limit of the call is 60 s"
    assert [type(e) for e in errors] == [WorkerError]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not enforce RLIMIT_AS")
def test_a_memory_limit_is_kept() -> None:
    limit = 4 << 30
    with Worker(Oddities, ("x",), limit_s=60, preload=(), memory_limit=limit) as worker:
        assert worker.call("grab", 1 << 20) == 1 << 20
        with pytest.raises(MemoryError):
            worker.call("grab", limit)
        assert worker.call("echo", 1) == 1
