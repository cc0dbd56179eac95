"""Screening while the FP32 engine is built: both at once, and neither outlives the other's end."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any, cast

import pytest

from precsearch.api import screening
from precsearch.api.screening import Screened, screened_beside
from precsearch.api.setup import Inputs, Target
from precsearch.errors import WorkerError
from precsearch.goal import Prior
from precsearch.reference.bench import Announce
from precsearch.space import Precision
from precsearch.workers import Worker

LONG_S = 600.0
NOBODY = cast(Target, None), cast(Inputs, None), Path()


class Sleeper:
    """Serves one call that does not come back in time."""

    def __init__(self, announce: Announce) -> None:
        announce("ready")

    def screen(self) -> None:
        time.sleep(LONG_S)


def test_it_goes_on_while_the_caller_does(monkeypatch: pytest.MonkeyPatch) -> None:
    built = threading.Event()
    prior = Prior("group", Precision.FP16, True, "absmax 1e10")

    def screened(*_: Any) -> Screened:
        assert built.wait(LONG_S), "it was waited for before the engine was built"
        return (prior,), ()

    monkeypatch.setattr(screening, "screened", screened)
    with screened_beside(*NOBODY) as found:
        built.set()
        assert found.result(LONG_S) == ((prior,), ())


def test_whoever_leaves_without_it_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    begun = threading.Event()
    ended: list[WorkerError] = []

    def screened(_: Target, __: Inputs, worker: Worker, ___: Path) -> Screened:
        worker.prepare()
        begun.set()
        try:
            worker.call("screen")
        except WorkerError as error:
            ended.append(error)
        return (), ()

    monkeypatch.setattr(screening, "screened", screened)
    monkeypatch.setattr(screening, "bench_worker", lambda: Worker(Sleeper, (), limit_s=LONG_S))
    start = time.monotonic()
    with screened_beside(*NOBODY) as found:
        assert begun.wait(LONG_S)
        assert not found.done()
    assert len(ended) == 1
    assert time.monotonic() - start < LONG_S / 2
