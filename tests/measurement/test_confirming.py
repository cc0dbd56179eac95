"""Finalists are open at the same time as far as the memory goes, and each is timed once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from precsearch.backends.fake import FakeBackend, FakeSession
from precsearch.core.errors import BuildError
from precsearch.core.trial import Fidelity, Latency
from precsearch.measurement.place import Place
from precsearch.measurement.service import MeasurementService
from precsearch.measurement.timing.confirming import timed_together
from precsearch.system import memory
from tests.executors.test_pool import LANDSCAPE, config_of


class Machine:
    """So much memory, of which each engine takes its size while it is open."""

    def __init__(self, room: float) -> None:
        self.room = room
        self.open: list[float] = []
        self.together: list[list[float]] = []

    def left(self) -> float:
        return self.room - sum(self.open)

    def opener(self, size: float) -> Any:
        machine = self

        class Engine:
            def close(self) -> None:
                machine.open.remove(size)

        def opened() -> Engine:
            machine.open.append(size)
            return Engine()

        return opened

    def time(self, sessions: Sequence[Any]) -> tuple[Latency, ...]:
        self.together.append(list(self.open))
        assert len(sessions) == len(self.open)
        return tuple(Latency(s, s, s, s, s, s) for s in self.open)


@pytest.mark.parametrize(
    ("room", "parts"),
    [
        (100, [[1, 2, 3, 4]]),
        (11, [[1, 2, 3], [4]]),
        (3, [[1], [2], [3], [4]]),
    ],
)
def test_engines_that_fit_are_timed_together(room: float, parts: list[list[float]]) -> None:
    machine = Machine(room)
    engines = [machine.opener(s) for s in (1, 2, 3, 4)]
    said: list[str] = []
    found = timed_together(engines, machine.time, said.append, machine.left)
    assert said == ["build", "time"] * len(parts)
    assert [latency.seconds for latency in found] == [1, 2, 3, 4]
    assert machine.together == parts
    assert machine.open == []


def test_engines_are_closed_if_one_does_not_open() -> None:
    machine, said = Machine(100), list[str]()

    def refused() -> Any:
        raise BuildError("no kernel")

    with pytest.raises(BuildError):
        timed_together([machine.opener(1), refused], machine.time, said.append, machine.left)
    assert machine.open == []


def test_memory_is_what_machine_and_group_leave(tmp_path: Any, monkeypatch: Any) -> None:
    info, group = tmp_path / "meminfo", tmp_path
    monkeypatch.setattr(memory, "_MEMINFO", info)
    monkeypatch.setattr(memory, "_GROUP", group)
    assert memory.available_memory() == float("inf")
    info.write_text("MemTotal: 9 kB\nMemAvailable: 4 kB\n")
    assert memory.available_memory() == 4096
    (group / "memory.max").write_text("5000\n")
    (group / "memory.current").write_text("2000\n")
    assert memory.available_memory() == 3000
    (group / "memory.max").write_text("max\n")
    assert memory.available_memory() == 4096


class Counting(FakeBackend):
    """Knows how many of its sessions are open."""

    now = 0
    most = 0

    def open(self, artifact: bytes, *, profiled: bool = False) -> FakeSession:
        session = super().open(artifact, profiled=profiled)
        close = session.close

        def closed() -> None:
            Counting.now -= 1
            close()

        session.close = closed  # type: ignore[method-assign]
        Counting.now += 1
        Counting.most = max(Counting.most, Counting.now)
        return session


def test_no_more_than_two_engines_of_the_model_are_open_while_fp32_is_measured() -> None:
    """Of a large model, each takes as much memory as its weights."""
    config = config_of()
    service = MeasurementService(
        Place(),
        replace(config, backend=partial(Counting, landscape=LANDSCAPE.to_json())),
        lambda _: None,
    )
    service.measure(config.baseline, Fidelity.ENGINE)
    assert Counting.most == 2
