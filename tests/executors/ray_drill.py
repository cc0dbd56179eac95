"""Searches on a local Ray with two actors, one of which is killed on the way; run by `test_ray`.

With ``gpus`` it opens three services on two GPUs, which need not be there: Ray believes it.

It runs in a network namespace of its own, since Ray listens on every interface.
"""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import struct
import sys
import tempfile
import threading
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from precsearch.backends.fake import FakeBackend, fake_lower
from precsearch.core.backend import BackendFacts
from precsearch.core.problem import Bound, Budget, Goal, Problem
from precsearch.core.space import Assignment
from precsearch.core.strategy import Proposals
from precsearch.core.trial import Measured, Proposal, Trial
from precsearch.executors.candidates import rival
from precsearch.executors.connect import connect
from precsearch.executors.fleet import assembled
from precsearch.executors.pool import Pool
from precsearch.executors.protocol import Executor
from precsearch.executors.ray.channel import RayChannel
from precsearch.executors.ray.executor import LOCAL, RayExecutor
from precsearch.executors.request import Request
from precsearch.graph.reading.read import read_model
from precsearch.measurement.config import MeasurementConfig
from precsearch.search.loop import search
from tests.e2e.command import MODEL
from tests.executors.here import HereExecutor
from tests.executors.test_pool import LANDSCAPE, SPACE, config_of, slower
from tests.search.loop_toys import FP16, INT8, finish

_UP, _SET, _GET = 0x1, 0x8914, 0x8913


def loopback_up() -> None:
    """The namespace's only interface; a new one is down."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        asked = struct.pack("16sh", b"lo", 0)
        _, flags = struct.unpack("16sh", fcntl.ioctl(sock, _GET, asked)[:18])
        fcntl.ioctl(sock, _SET, struct.pack("16sh", b"lo", flags | _UP))


class Batch:
    """Many engines at once."""

    def propose(self, problem: Problem, /) -> Proposals:
        yield [
            Proposal(Assignment.of({g.key: p}))
            for g in problem.space.free
            if not g.passive
            for p in (FP16, INT8)
        ]


def searched(executor: Executor, config: MeasurementConfig, after: Any = None) -> list[Trial]:
    problem = Problem(SPACE, Goal(Bound(1e-2), 0.01), Budget())
    lower: Any = fake_lower(SPACE)
    trials: list[Trial] = []
    with connect(executor, executor.devices()[0], config) as first:
        where = first.fingerprint()
        with assembled(executor, first, config, where, 60.0) as fleet:
            if after is not None:
                after(fleet)
            pool = Pool(executor, fleet, config, 1, 60.0, lambda low: rival(problem, trials, low))
            with pool.evaluating(lower, {}) as evaluate:
                _, found = finish(search(problem, Batch(), evaluate))
    return list(found)


def killing(fleet: Any) -> None:
    """Kill the second actor as soon as it measures."""
    channel = fleet.clients[1]._service
    assert isinstance(channel, RayChannel)
    import ray

    pid = ray.get(channel.actor.pid.remote())

    def kill() -> None:
        time.sleep(0.7)
        os.kill(pid, signal.SIGKILL)
        print("killed an actor", flush=True)

    threading.Thread(target=kill).start()


def accuracy(trial: Trial) -> object:
    assert trial.measurement is not None
    return trial.number, trial.proposal, trial.measurement.accuracy, trial.model_digest


class Seen:
    """A service that tells which GPUs its process sees."""

    def __init__(self, *_: object) -> None:
        self.gpus = os.environ.get("CUDA_VISIBLE_DEVICES", "")

    def visible(self) -> str:
        return self.gpus


def shared() -> None:
    """As many services on a GPU as a search wants: one that searches, one that confirms."""
    from tests.executors.ray_drill import Seen as Imported  # as a child process knows it

    with tempfile.TemporaryDirectory() as folder:
        request = Request(
            read_model(MODEL), BackendFacts(device="gpu"), Path(folder), "0,1", 0, 1, LOCAL
        )
        executor = RayExecutor(request)
        try:
            devices = executor.devices()
            channels = [executor.open(d, Imported) for d in (*devices, devices[0])]
            seen = [c.call(Imported.visible) for c in channels]
        finally:
            executor.close()
    assert sorted(seen[:2]) == ["0", "1"], seen
    assert seen[2] == seen[0], seen
    print("shared", *seen)


def main() -> None:
    loopback_up()
    if sys.argv[1] == "gpus":
        shared()
        return
    slow = replace(slower(LANDSCAPE, 5.0), sleep=True)  # so that the kill meets a call
    config = replace(config_of(slow), backend=partial(FakeBackend, landscape=slow.to_json()))
    plain = searched(HereExecutor(), config_of(replace(slow, sleep=False)))
    with tempfile.TemporaryDirectory() as folder:
        request = Request(read_model(MODEL), BackendFacts(), Path(folder), sys.argv[1], 0, 1, LOCAL)
        executor = RayExecutor(request)
        try:
            found = searched(executor, config, killing)
        finally:
            executor.close()
    assert all(isinstance(t.outcome, Measured) for t in found), [t.outcome for t in found]
    assert [accuracy(t) for t in found] == [accuracy(t) for t in plain]
    print("devices:", " ".join(sorted({t.device for t in found})), flush=True)


if __name__ == "__main__":
    main()
