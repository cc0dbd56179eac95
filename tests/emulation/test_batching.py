"""Samples that run as one feed of a proxy come out as each does alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from precsearch.core.precision import Precision
from precsearch.core.space import SearchSpace
from precsearch.emulation.batching import alike, same_outputs, stack, unstack
from precsearch.emulation.multiplexed import ProxyGraph
from precsearch.emulation.session import Proxy
from tests.emulation.by_hand import Arrays
from tests.emulation.written import written_half
from tests.graph.small_graphs import GraphBuilder, view

FP32, FP16 = Precision.FP32, Precision.FP16


@pytest.fixture(autouse=True)
def however_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("precsearch.emulation.session._STACK_SECONDS", 1e6)
    monkeypatch.setattr("precsearch.emulation.session._WORTH_IT", 1e6)


def dense(between: str = "Relu", batch: int | str = "n") -> GraphBuilder:
    """Two matrix products, what is between them not always by row."""
    b = GraphBuilder()
    x = b.input([batch, 3, 16])
    first = b.op("MatMul", x, b.weight(16, 24))
    if between == "Softmax":
        middle = b.op("Softmax", first, axis=0)  # over the batch: samples see one another
    elif between == "Reshape":
        middle = b.op("Reshape", first, b.ints(1, 3, 24))
    else:
        middle = b.op(between, first)
    b.output(b.op("MatMul", middle, b.weight(24, 8)))
    return b


def opened(b: GraphBuilder, lanes: int = 1) -> tuple[SearchSpace, ProxyGraph, Proxy]:
    on = written_half(view(b.model()), lanes)
    return on.made.space, on.made, on.proxy


def samples(count: int, rows: int = 1, seed: int = 0) -> list[Arrays]:
    rng = np.random.default_rng(seed)
    return [{"in0": rng.normal(0, 1 + i, (rows, 3, 16)).astype(np.float32)} for i in range(count)]


class Runs:
    """The rows of the feeds that a proxy's session saw."""

    def __init__(self, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rows: list[int] = []
        run = proxy._outputs_of

        def counted(binding: Any, feed: Arrays) -> Any:
            self.rows.append(len(feed["in0"]))
            return run(binding, feed)

        monkeypatch.setattr(proxy, "_outputs_of", counted)


@pytest.mark.parametrize("lanes", [1, 2])
@pytest.mark.parametrize("count", [1, 2, 7, 20])
def test_each_sample_gets_its_own_outputs(
    lanes: int, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    space, made, proxy = opened(dense(), lanes)
    _, _, alone = opened(dense())
    proxy.run(made.request(space.uniform(FP32)), samples(4))  # it has looked whether it may
    runs = Runs(proxy, monkeypatch)
    for precision in (FP32, FP16):
        request = made.request(space.uniform(precision))
        feeds = samples(count)
        found = proxy.run(request, feeds)
        wanted = [alone.run(request, [feed])[0] for feed in feeds]
        assert len(found) == count
        assert same_outputs(found, wanted)
    assert sum(runs.rows) == 2 * count
    assert max(runs.rows) == min(8, -(-count // min(lanes, count)))


@pytest.mark.parametrize("between", ["Softmax", "Reshape"])
def test_samples_that_interact_in_a_batch_are_not_stacked(
    between: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    space, made, proxy = opened(dense(between))
    request, feeds = made.request(space.uniform(FP16)), samples(5)
    first = proxy.run(request, feeds)
    runs = Runs(proxy, monkeypatch)
    second = proxy.run(request, feeds)
    assert runs.rows == [1] * 5
    for feed, a, b in zip(feeds, first, second, strict=True):
        (wanted,) = proxy.run(request, [feed])
        for name, value in wanted.items():
            np.testing.assert_array_equal(a[name], value)
            np.testing.assert_array_equal(b[name], value)


def test_a_fixed_batch_is_not_stacked(monkeypatch: pytest.MonkeyPatch) -> None:
    space, made, proxy = opened(dense(batch=1))
    runs = Runs(proxy, monkeypatch)
    proxy.run(made.request(space.uniform(FP16)), samples(5))
    assert runs.rows == [1] * 5


def test_only_neighbours_of_one_shape_are_stacked(monkeypatch: pytest.MonkeyPatch) -> None:
    space, made, proxy = opened(dense())
    request = made.request(space.uniform(FP16))
    feeds = [*samples(3), *samples(2, rows=2, seed=1), *samples(1, seed=2)]
    proxy.run(request, feeds)
    runs = Runs(proxy, monkeypatch)
    found = proxy.run(request, feeds)
    assert runs.rows == [3, 4, 1]
    assert [len(next(iter(o.values()))) for o in found] == [1, 1, 1, 2, 2, 1]


@pytest.mark.parametrize("limit", ["_STACK_SECONDS", "_WORTH_IT"])
def test_feeds_that_gain_nothing_together_are_not_stacked(
    limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"precsearch.emulation.session.{limit}", 0.0)
    space, made, proxy = opened(dense())
    request = made.request(space.uniform(FP16))
    proxy.run(request, samples(4))
    runs = Runs(proxy, monkeypatch)
    proxy.run(request, samples(4))
    assert runs.rows == [1] * 4


def test_stacking_is_undone_for_the_outputs() -> None:
    feeds = samples(3, rows=2)
    assert alike(feeds, 2) == [[0, 1], [2]]
    stacked = stack(feeds)
    assert stacked["in0"].shape == (6, 3, 16)
    for part, feed in zip(unstack(stacked, 3, 6), feeds, strict=True):
        np.testing.assert_array_equal(part["in0"], feed["in0"])
    with pytest.raises(ValueError, match="has 6 rows for 4 that went in"):
        unstack(stacked, 3, 4)


def test_outputs_differ_by_shape_by_value_and_by_what_is_not_finite() -> None:
    one = {"y": np.asarray([1.0, np.inf, np.nan], np.float32)}
    assert same_outputs([one], [one])
    assert same_outputs([{"y": one["y"] * np.float32(1 + 1e-6)}], [one])
    assert not same_outputs([{"y": one["y"][:2]}], [one])
    assert not same_outputs([{"y": np.asarray([1.1, np.inf, np.nan], np.float32)}], [one])
    assert not same_outputs([{"y": np.asarray([1.0, 1.0, np.nan], np.float32)}], [one])
    assert not same_outputs([{"y": np.asarray([1])}], [{"y": np.asarray([2])}])
