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
    WorkerKilled,
    WorkerTimeout,
)
from precsearch.executors.process import Worker
from precsearch.executors.process.start import command
from tests.drills.test_crash_drill import wait_for_end
from tests.executors.at_work import while_at_work
from tests.search.loop_toys import Oddities


class Nowhere:
    """Has a method that the served object lacks."""

    def no_such_method(self) -> None:
        raise AssertionError("never called here")


@pytest.fixture(scope="module")
def shared() -> Iterator[Worker[Oddities]]:
    with Worker(Oddities, ("shared",), limit_s=60, preload=()) as worker:
        yield worker


def stage_of(error: BaseException) -> object:
    assert isinstance(error, PrecsearchError)
    return error.stage


def test_state_stays_between_calls(shared: Worker[Oddities]) -> None:
    first = shared.call(Oddities.count)
    assert shared.call(Oddities.count) == first + 1
    assert shared.call(Oddities.pid) == shared.pid != os.getpid()


class Other:
    """What a worker becomes."""

    def __init__(self, number: int, announce: object) -> None:
        self._number = number

    def twice(self, plus: int = 0) -> int:
        return 2 * self._number + plus


def test_a_worker_becomes_another_service_in_the_same_process() -> None:
    with Worker(Oddities, ("first",), limit_s=60, preload=()) as worker:
        pid = worker.call(Oddities.pid)
        other = worker.become(Other, 21)
        assert other.call(Other.twice) == 42
        assert other.call(Other.twice, plus=1) == 43
        assert worker.pid == pid


def test_large_payloads_arrive_unchanged(shared: Worker[Oddities]) -> None:
    model = os.urandom(1 << 20) * 32
    array = np.arange(4_000_000, dtype=np.float32).reshape(2000, 2000)
    answer = shared.call(Oddities.echo, {"model": model, "feeds": (array, array.T, np.array(3))})
    assert isinstance(answer, dict)
    assert answer["model"] == model
    assert all(
        np.array_equal(a, b)
        for a, b in zip(answer["feeds"], (array, array.T, np.asarray(3)), strict=True)
    )


def test_our_errors_arrive_unchanged_and_others_in_one_line(shared: Worker[Oddities]) -> None:
    pid = shared.call(Oddities.pid)
    with pytest.raises(BuildError, match=r"^refused$"):
        shared.call(Oddities.fail, "build")
    with pytest.raises(MemoryError, match="Unable to allocate"):
        shared.call(Oddities.fail, "memory")
    with pytest.raises(EngineError, match=r"^KeyError: ") as caught:
        shared.call(Oddities.fail, "other")
    assert "\n" not in str(caught.value)
    assert stage_of(caught.value) == "start"
    with pytest.raises(EngineError, match=r"pickle|local object"):
        shared.call(Oddities.unpicklable)
    with pytest.raises(EngineError, match="AttributeError"):
        shared.call(Nowhere.no_such_method)  # type: ignore[arg-type]
    assert shared.call(Oddities.pid) == pid


@pytest.mark.parametrize(
    ("number", "name"), [(signal.SIGSEGV, "SIGSEGV"), (signal.SIGABRT, "SIGABRT")]
)
def test_a_crash_is_reported_with_its_stage_and_survived(
    shared: Worker[Oddities], number: int, name: str
) -> None:
    shared.call(Oddities.count)
    with pytest.raises(WorkerCrashed, match=f"died of {name} at stage 'build'") as caught:
        shared.call(Oddities.crash, "build", number)
    assert stage_of(caught.value) == "build"
    log = shared.log_tail()
    assert "last words" in log
    assert "from native code" in log
    assert shared.call(Oddities.count) == 1


def test_a_worker_that_lost_its_device_is_replaced(shared: Worker[Oddities]) -> None:
    """CUDA refuses every call after some errors: the next engines would fail for this one."""
    shared.call(Oddities.count)
    with pytest.raises(WorkerCrashed, match=r"left the device unusable to it, at stage 'run'"):
        shared.call(Oddities.lose_device)
    assert "CUDA failure 700" in shared.log_tail()
    assert shared.call(Oddities.count) == 1


def test_a_kill_hints_at_memory_and_an_exit_has_a_code(shared: Worker[Oddities]) -> None:
    with pytest.raises(WorkerCrashed, match=r"outside killed .*\(SIGKILL\).*if memory"):
        shared.call(Oddities.crash, "run", signal.SIGKILL)
    with pytest.raises(WorkerCrashed, match="exited with code 7 at stage 'start'"):
        shared.call(Oddities.leave, 7)


@pytest.mark.parametrize(
    ("rest", "said"),
    [("sleep 0.3; exit 3", "exited with code 3"), ("exec sleep 600", "hung up without ending")],
)
def test_a_child_that_ends_later_than_its_streams_was_not_killed(rest: str, said: str) -> None:
    def launch(options: dict[str, object]) -> list[str]:
        # As ssh: the worker's streams end first, and the child that stands for it afterwards.
        return ["sh", "-c", f'"$@"; exec 0<&- 1>&- 2>&-; {rest}', "sh", *command(options)]

    with (
        Worker(Oddities, ("far",), limit_s=60, preload=(), launch=launch) as worker,
        pytest.raises(WorkerCrashed, match=f"{said} at stage 'run'") as caught,
    ):
        worker.call(Oddities.crash, "run", signal.SIGSEGV)
    assert not isinstance(caught.value, WorkerKilled)


def test_a_hang_is_killed_with_all_that_it_started(shared: Worker[Oddities]) -> None:
    shared.call(Oddities.count)
    start = time.monotonic()
    # Long enough to fork in on a busy machine, and far from the 600 s that it would hang.
    with pytest.raises(WorkerTimeout, match=r"limit of 1.5 s at stage 'forked \d+'") as caught:
        shared.within(1.5, Oddities.hang_with_child)
    assert time.monotonic() - start < 60
    assert wait_for_end(int(str(stage_of(caught.value)).split()[1]), 10)
    assert shared.call(Oddities.count) == 1


def test_a_stage_does_not_outlast_its_call(shared: Worker[Oddities]) -> None:
    with pytest.raises(WorkerTimeout):
        shared.within(0.2, Oddities.hang, "time")
    shared.call(Oddities.count)
    with pytest.raises(EngineError) as caught:
        shared.call(Oddities.fail, "other")
    assert stage_of(caught.value) == "start"


def test_a_child_that_dies_between_calls_is_replaced(shared: Worker[Oddities]) -> None:
    pid = shared.call(Oddities.pid)
    os.kill(pid, signal.SIGKILL)
    assert wait_for_end(pid, 10)
    deadline = time.monotonic() + 10
    while shared.ready and time.monotonic() < deadline:  # its threads end after it
        time.sleep(0.01)
    assert shared.call(Oddities.pid) != pid


def test_an_interrupt_does_not_reach_the_child(shared: Worker[Oddities]) -> None:
    assert shared.call(Oddities.interrupt_yourself) == "still here"
    os.killpg(shared.pid, signal.SIGINT)
    assert shared.call(Oddities.echo, 1) == 1


def test_an_interrupted_call_leaves_no_reply_for_the_next(shared: Worker[Oddities]) -> None:
    shared.call(Oddities.count)
    with (
        pytest.raises(KeyboardInterrupt),
        while_at_work(shared, lambda: os.kill(os.getpid(), signal.SIGINT)),
    ):
        shared.call(Oddities.hang)
    assert shared.call(Oddities.echo, "mine") == "mine"


def test_stop_ends_a_call_in_another_thread(shared: Worker[Oddities]) -> None:
    shared.call(Oddities.count)
    with pytest.raises(WorkerError) as caught, while_at_work(shared, shared.stop):
        shared.call(Oddities.hang)
    assert type(caught.value) is WorkerError
    assert shared.call(Oddities.count) == 1


def test_new_arguments_make_a_new_object(shared: Worker[Oddities]) -> None:
    shared.serve("renewed")
    assert shared.call(Oddities.tag) == "renewed"
    with pytest.raises(WorkerCrashed):
        shared.call(Oddities.crash, "run", signal.SIGSEGV)
    assert shared.call(Oddities.tag) == "renewed"


def test_a_failed_construction_gives_the_reason_each_time() -> None:
    with Worker(Oddities, ("unmakable",), limit_s=30, preload=()) as worker:
        for _ in range(2):
            with pytest.raises(OptionError, match="not like this"):
                worker.call(Oddities.count)


def test_a_process_that_cannot_be_started_is_not_blamed_on_an_engine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "precsearch.executors.process.start.get_executable", lambda: "/no/such/python"
    )
    with pytest.raises(WorkerError, match="No such file"):
        Worker(Oddities, ("x",), limit_s=30)


def test_a_closed_worker_leaves_no_process() -> None:
    worker = Worker(Oddities, ("x",), limit_s=30, preload=("no_such_module",))
    assert worker.call(Oddities.echo, 1) == 1
    pid = worker.pid
    worker.close()
    worker.close()
    assert wait_for_end(pid, 0)
    with pytest.raises(WorkerError, match="closed"):
        worker.call(Oddities.echo, 1)


def test_close_does_not_wait_for_a_call_in_another_thread() -> None:
    worker = Worker(Oddities, ("x",), limit_s=60, preload=())
    worker.call(Oddities.echo, 1)
    errors: list[BaseException] = []

    def call() -> None:
        try:
            worker.call(Oddities.hang)
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
        assert worker.call(Oddities.grab, 1 << 20) == 1 << 20
        with pytest.raises(MemoryError):
            worker.call(Oddities.grab, limit)
        assert worker.call(Oddities.echo, 1) == 1
