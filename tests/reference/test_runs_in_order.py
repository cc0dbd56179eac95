"""Several feeds at a time in one session: the same bytes, in the same order, within memory."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import pytest

from precsearch.core.backend import Feed
from precsearch.reference import side_by_side
from precsearch.reference.session import open_reference, reference_outputs
from precsearch.reference.side_by_side import run_in_order
from tests.graph.small_layers import GraphBuilder, layer_norm, linear

CORES = 8
AT_ONCE = 4


@pytest.fixture
def cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(CORES)))


class Counting:
    """A session that tells how many runs there are at a time."""

    def __init__(self, refuses: int = -1) -> None:
        self.most = 0
        self.ran: list[int] = []
        self._refuses = refuses
        self._now = 0
        self._lock = threading.Lock()

    def run(self, names: Sequence[str] | None, feed: Feed) -> list[Any]:
        number = int(feed["x"])
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
            self.ran.append(number)
        time.sleep(0.02)
        with self._lock:
            self._now -= 1
        if number == self._refuses:
            raise RuntimeError(f"refused {number}")
        return [number]


def numbered(count: int) -> list[Feed]:
    return [{"x": np.asarray(i)} for i in range(count)]


def ran(session: Counting, model: bytes | str = b"", count: int = 12) -> list[int]:
    found = run_in_order(cast(Any, session), model, numbered(count))
    return [int(values[0]) for values in found]


@pytest.mark.usefixtures("cores")
def test_outputs_come_in_the_order_of_the_feeds_a_few_at_a_time() -> None:
    session = Counting()
    assert ran(session) == list(range(12))
    assert 1 < session.most <= AT_ONCE
    assert ran(Counting(), count=0) == []
    assert ran(Counting(), count=1) == [0]


@pytest.mark.usefixtures("cores")
def test_the_bytes_are_those_of_one_run_after_the_other() -> None:
    b = GraphBuilder()
    x = layer_norm(b, linear(b, b.input([3, 64], name="x"), 64, 64), 64)
    b.output(b.op("Softmax", linear(b, x, 64, 64)))
    model = b.model().SerializeToString()
    rng = np.random.default_rng(0)
    feeds = [{"x": rng.standard_normal((3, 64)).astype(np.float32)} for _ in range(17)]
    session = open_reference(model)
    alone = [session.run(None, feed)[0].tobytes() for feed in feeds]
    together = [next(iter(o.values())).tobytes() for o in reference_outputs(model, feeds)]
    assert together == alone


@pytest.mark.usefixtures("cores")
def test_one_at_a_time_where_memory_is_short_or_order_matters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    b = GraphBuilder()
    b.output(b.op("Add", b.input([4], name="x"), b.op("RandomNormal", shape=[4], seed=1.0)))
    random = b.model()
    onnx.save(random, tmp_path / "random.onnx")
    for model in (random.SerializeToString(), str(tmp_path / "random.onnx")):
        session = Counting()
        assert ran(session, model) == list(range(12))
        assert session.most == 1
    monkeypatch.setattr(side_by_side, "available_memory", lambda: 5.0 * (1 << 20))
    monkeypatch.setattr(side_by_side, "peak_growth", lambda run: (run(), 2 << 20)[1])
    session = Counting()
    assert ran(session) == list(range(12))
    assert session.most == 1


@pytest.mark.usefixtures("cores")
def test_what_is_refused_comes_in_its_place_and_ends_the_runs() -> None:
    session = Counting(refuses=5)
    seen: list[int] = []
    with pytest.raises(RuntimeError, match="refused 5"):
        seen.extend(int(v[0]) for v in run_in_order(cast(Any, session), b"", numbered(40)))
    assert seen == [0, 1, 2, 3, 4]
    assert max(session.ran) <= 5 + AT_ONCE
