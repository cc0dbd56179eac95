"""Shared and exclusive use of a device by real processes."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import cast

import pytest

from precsearch.backends.onnxruntime.backend import OnnxRuntimeBackend
from precsearch.backends.tensorrt.backend import TensorRtBackend
from precsearch.core.backend import CPU_USE, GPU_USE, BackendOptions, DeclaresUse, DeviceUse
from precsearch.core.errors import WorkerCrashed, WorkerTimeout
from precsearch.executors.process import Worker
from precsearch.measurement.device_lock import DeviceLock, SerializedService


class Busy:
    """Does things on a device and writes down when."""

    def __init__(self, diary: str, announce: Callable[[str], None]) -> None:
        self._diary = Path(diary)
        self._announce = announce

    def do(self, *stages: str) -> None:
        for stage in stages:
            self._announce(stage)
            start = time.monotonic()
            time.sleep(2e-3)
            with self._diary.open("a") as file:
                file.write(f"{stage} {os.getpid()} {start!r} {time.monotonic()!r}\n")

    def fail(self) -> None:
        self._announce("time")
        raise ValueError("no")

    def die(self) -> None:
        self._announce("time")
        os.kill(os.getpid(), signal.SIGSEGV)

    def hang(self) -> None:
        self._announce("time")
        time.sleep(600)

    def meet(self, stage: str, mine: str, other: str) -> bool:
        """Be at a stage until somebody else is at another one at the same time."""
        self._announce(stage)
        (self._diary.parent / mine).touch()
        deadline = time.monotonic() + 60
        while not (met := (self._diary.parent / other).exists()) and time.monotonic() < deadline:
            time.sleep(2e-3)
        return met


def busy_in_turns(diary: str, path: str, use: DeviceUse, announce: Callable[[str], None]) -> Busy:
    made = SerializedService(lambda enter: Busy(diary, enter), path, use, announce)
    return cast(Busy, made)


@pytest.fixture
def lock(tmp_path: Path) -> str:
    return str(tmp_path / "device.lock")


@pytest.fixture
def use() -> DeviceUse:
    return CPU_USE


@pytest.fixture
def workers(tmp_path: Path, lock: str, use: DeviceUse) -> Iterator[list[Worker[Busy]]]:
    given = (str(tmp_path / "diary"), lock, use)
    with ExitStack() as stack:
        yield [
            stack.enter_context(Worker(busy_in_turns, given, limit_s=10, preload=()))
            for _ in range(3)
        ]


@pytest.mark.parametrize("use", [CPU_USE, GPU_USE])
def test_either_many_share_the_device_or_one_has_it_alone(
    workers: list[Worker[Busy]], use: DeviceUse, tmp_path: Path
) -> None:
    def one(worker: Worker[Busy]) -> None:
        for _ in range(8):
            worker.call(Busy.do, "build", "run", "time", "time", "build")

    with ThreadPoolExecutor(3) as threads:
        list(threads.map(one, workers))
    rows = [line.split() for line in (tmp_path / "diary").read_text().splitlines()]
    assert len(rows) == 3 * 8 * 5
    spans = [(what, pid, float(start), float(end)) for what, pid, start, end in rows]
    for what, pid, start, end in spans:
        others = [s for s in spans if s[1] != pid and s[2] < end and start < s[3]]
        assert what not in use.alone or not others


@pytest.mark.parametrize(
    ("use", "one", "other"),
    [
        (CPU_USE, "build", "build"),
        (CPU_USE, "build", "proxy"),
        (GPU_USE, "run", "run"),
        (GPU_USE, "build", "proxy"),
        (GPU_USE, "time", "proxy"),
        (GPU_USE, "time", "reference"),
    ],
)
def test_calls_that_share_the_device_run_at_the_same_time(
    workers: list[Worker[Busy]], one: str, other: str
) -> None:
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(workers[0].within, 90, Busy.meet, one, "a", "b")
        second = threads.submit(workers[1].within, 90, Busy.meet, other, "b", "a")
        assert first.result()
        assert second.result()


def test_tensorrt_builds_alone_and_onnx_runtime_does_not() -> None:
    tensorrt = TensorRtBackend(BackendOptions())
    assert isinstance(tensorrt, DeclaresUse)
    assert tensorrt.use.alone == {"build", "time"}
    assert not isinstance(OnnxRuntimeBackend(BackendOptions()), DeclaresUse)


@pytest.mark.parametrize(("how", "error"), [("die", WorkerCrashed), ("fail", Exception)])
def test_every_end_of_a_turn_releases_the_lock(
    workers: list[Worker[Busy]], how: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        workers[0].call(getattr(Busy, how))
    workers[1].call(Busy.do, "time")
    workers[0].call(Busy.do, "time", "run")


def test_a_hanging_worker_is_killed_and_those_that_waited_for_it_are_not(
    workers: list[Worker[Busy]],
) -> None:
    for worker in workers:
        worker.prepare()
    with ThreadPoolExecutor(3) as threads:
        hung = threads.submit(workers[0].within, 3.0, Busy.hang)
        while workers[0]._child.stage != "time":
            time.sleep(0.01)
        patient = [threads.submit(w.within, 1.0, Busy.do, "time") for w in workers[1:]]
        with pytest.raises(WorkerTimeout, match="at stage 'time'"):
            hung.result()
        for future in patient:
            future.result()


def test_shared_use_waits_behind_exclusive_use(lock: str) -> None:
    first, alone, late = (DeviceLock(lock) for _ in range(3))
    first.take(alone=False)
    order: list[str] = []

    def wait(name: str, which: DeviceLock, is_alone: bool) -> None:
        which.take(alone=is_alone)
        order.append(name)
        which.release()

    threads = [threading.Thread(target=wait, args=("alone", alone, True))]
    threads[0].start()
    probe = os.open(f"{lock}.queue", os.O_RDWR)
    _until_locked(probe)
    threads.append(threading.Thread(target=wait, args=("late", late, False)))
    threads[1].start()
    time.sleep(0.05)
    assert order == [], "someone shares while another waits to be alone"
    first.release()
    for thread in threads:
        thread.join()
    assert order == ["alone", "late"]
    for each in (first, alone, late):
        each.close()
    os.close(probe)


def _until_locked(probe: int) -> None:
    import fcntl

    while True:
        try:
            fcntl.flock(probe, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        fcntl.flock(probe, fcntl.LOCK_UN)
        time.sleep(0.005)


def test_the_parent_shares_too_and_nothing_is_opened_where_nobody_else_is(lock: str) -> None:
    import fcntl

    with DeviceLock.shared():
        assert not Path(lock).exists()
    with DeviceLock.shared(lock):
        probe = os.open(lock, os.O_RDWR)
        with pytest.raises(BlockingIOError):
            fcntl.flock(probe, fcntl.LOCK_EX | fcntl.LOCK_NB)
    fcntl.flock(probe, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(probe)
