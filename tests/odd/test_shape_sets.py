"""One plan over several sets of input shapes: the weighted latency decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest

import precsearch
from precsearch import ShapeSet
from precsearch.core.backend import Array, Feed, KernelTime
from precsearch.core.errors import OptionError
from precsearch.data import InputSpec, load, rebatched, resolve
from precsearch.measurement.timing.latency import Load, TimingOptions, compare, head_to_head
from tests.e2e.plugins.clocked_backend import here
from tests.graph.small_graphs import GraphBuilder, conv, linear
from tests.odd.models import batch_backend

QUICK = TimingOptions(rounds=5, max_rounds=5, round_seconds=0.0, warmup=0)


class Planned:
    """An engine whose time is known for each batch."""

    def __init__(self, seconds: Mapping[int, float]) -> None:
        self.seconds = seconds

    def run(self, feed: Feed) -> dict[str, Array]:
        return {}

    def time(self, feed: Feed, repeats: int) -> list[float]:
        return [self.seconds[feed["x"].shape[0]]] * repeats

    def profile(self, feed: Feed, runs: int) -> Sequence[KernelTime]:
        return ()

    def close(self) -> None:
        pass


def batches(*sizes: int, weights: Sequence[float]) -> list[Load]:
    return [
        Load([{"x": np.zeros((n, 3), np.float32)}], w, n)
        for n, w in zip(sizes, weights, strict=True)
    ]


def test_the_latency_is_the_weighted_mean_and_the_ratio_that_of_the_sums() -> None:
    fp32, int8 = Planned({1: 1e-3, 16: 8e-3}), Planned({1: 2e-3, 16: 2e-3})
    loads = batches(1, 16, weights=[3, 1])
    found = compare(int8, fp32, loads, 0.01, QUICK)  # type: ignore[arg-type]
    assert found.seconds == pytest.approx(2e-3)
    assert found.ratio == pytest.approx((0.75 * 2 + 0.25 * 2) / (0.75 * 1 + 0.25 * 8))
    small, large = found.by_shape
    assert (small.shapes, small.weight, small.samples) == ({"x": (1, 3)}, 0.75, 1)
    assert [small.ratio, large.ratio] == pytest.approx([2.0, 0.25])
    assert large.samples_per_second == pytest.approx(8000)


def test_the_weights_decide_which_engine_is_faster() -> None:
    fp32, int8 = Planned({1: 1e-3, 16: 8e-3}), Planned({1: 2e-3, 16: 2e-3})

    def ratio(*weights: float) -> float:
        loads = batches(1, 16, weights=weights)
        return head_to_head([int8], fp32, loads, QUICK)[0].ratio  # type: ignore[list-item,arg-type]

    assert ratio(1, 1) < 1
    assert ratio(100, 1) > 1


def model(folder: Path, batch: int | str = "n") -> Path:
    b = GraphBuilder()
    b.output(linear(b, b.op("Relu", linear(b, b.input([batch, 64], name="x"), 64, 64)), 64, 64))
    path = folder / "model.onnx"
    onnx.save(b.model(), path)
    return path


SETS = (ShapeSet({"x": (1, 64)}, 0.7), ShapeSet({"x": (16, 64)}, 0.3))


@pytest.mark.parametrize("stacked", [True, False])
def test_a_search_over_two_batches_and_its_verification(
    tmp_path: Path, stacked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    here(tmp_path, monkeypatch)
    path = model(tmp_path)
    samples = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)
    np.savez(tmp_path / "data.npz", x=samples if stacked else samples[:, None])
    plan = precsearch.optimize(
        path,
        data=tmp_path / "data.npz",
        shapes=SETS,
        tol=0.1,
        threads=1,
        max_builds=2,
        backend="clocked",
        output=tmp_path / "plan.json",
    ).plan
    latency = plan.evidence.latency
    assert [(s.shapes, s.samples) for s in latency.by_shape] == [
        ({"x": (1, 64)}, 1),
        ({"x": (16, 64)}, 16),
    ]
    assert latency.seconds == pytest.approx(sum(s.weight * s.seconds for s in latency.by_shape))
    assert plan.recipe.shapes[0] == {"x": (1, 64)}
    assert not [w for w in plan.evidence.warnings if "random numbers" in w], "batches are cut anew"
    report = precsearch.verify(tmp_path / "plan.json", path, tmp_path / "data.npz")
    assert [s.samples for s in report.latency.by_shape] == [1, 16]


def test_without_sets_samples_per_second_are_those_of_the_batch(tmp_path: Path) -> None:
    path = model(tmp_path)
    plan = precsearch.optimize(
        path, batch=4, threads=1, max_builds=1, tol=0.1, output=tmp_path / "plan.json"
    ).plan
    (only,) = plan.evidence.latency.by_shape
    assert only.samples == 4
    assert only.samples_per_second == pytest.approx(4 / only.seconds)


def test_impossible_requests_are_reported(tmp_path: Path) -> None:
    path = model(tmp_path, batch=2)
    with pytest.raises(OptionError, match="--shapes x:1x64 does not fit input"):
        precsearch.optimize(path, shapes=SETS, output=tmp_path / "plan.json")
    with pytest.raises(OptionError, match="drop --batch and --input-shape"):
        precsearch.optimize(path, shapes=SETS, batch=2, output=tmp_path / "plan.json")
    with pytest.raises(OptionError, match="must be above 0"):
        ShapeSet({}, 0)


def test_an_engine_that_is_wrong_at_another_batch_alone_does_not_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch_backend.here(tmp_path, monkeypatch)
    np.savez(tmp_path / "data.npz", x=_samples(32))

    def found(*sets: ShapeSet) -> precsearch.Plan:
        return precsearch.optimize(
            model(tmp_path),
            data=tmp_path / "data.npz",
            shapes=sets,
            tol=0.1,
            threads=1,
            strategy="uniform",
            backend="batched",
            output=tmp_path / "plan.json",
            force=True,
        ).plan

    alone = found(SETS[0])
    assert alone.recipe.assignment.entries, "right at batch 1, which is all that was asked for"
    both = found(*SETS)
    assert not both.recipe.assignment.entries
    losses = [t.loss for t in both.evidence.trials if t.fidelity == "engine"]
    assert losses[0] is not None
    assert losses[0] < 1e-5
    assert losses[1] == pytest.approx(2, rel=0.05), "of the wrong sign at batch 16"


def _samples(count: int) -> Array:
    return np.random.default_rng(0).standard_normal((count, 64)).astype(np.float32)


def test_samples_are_put_into_batches_of_another_size(tmp_path: Path) -> None:
    specs = (InputSpec("x", np.dtype(np.float32), ("n", 64)),)
    data = load(_npz(tmp_path, x=_samples(40), labels=np.arange(40)), specs)
    (at_16,) = resolve(specs, {"x": (16, 64)})
    made = rebatched(data, [at_16], 8)
    assert made is not None
    assert made.sizes == (16, 16)
    assert made.flat_labels is not None
    samples = np.concatenate([f["x"] for f in made.feeds])
    np.testing.assert_array_equal(samples, _samples(40)[made.flat_labels])
    (at_100,) = resolve(specs, {"x": (100, 64)})
    more = rebatched(data, [at_100], 8)
    assert more is not None, "fewer samples than a batch are repeated"
    assert more.sizes == (100,)
    (other,) = resolve((InputSpec("x", np.dtype(np.float32), ("n", "m")),), {"x": (16, 32)})
    assert rebatched(data, [other], 8) is None, "more than the batch would change"


def _npz(folder: Path, **arrays: Array) -> Path:
    np.savez(folder / "data.npz", **arrays)  # type: ignore[arg-type]
    return folder / "data.npz"


def test_open_dimensions_without_a_name_take_sizes_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here(tmp_path, monkeypatch)
    b = GraphBuilder()
    b.output(b.op("GlobalAveragePool", conv(b, b.input(["?", 3, "?", "?"], name="x"), 3, 8)))
    path = tmp_path / "model.onnx"
    onnx.save(b.model(), path)
    plan = precsearch.optimize(
        path,
        input_shapes={"x": (1, 3, 8, 24)},
        threads=1,
        max_builds=1,
        backend="clocked",
        output=tmp_path / "plan.json",
    ).plan
    assert plan.evidence.latency.by_shape[0].shapes == {"x": (1, 3, 8, 24)}
