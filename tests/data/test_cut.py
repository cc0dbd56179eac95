"""How feeds are shared out: disjoint, complete, deterministic, and blind to their order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from precsearch.core.backend import Feed
from precsearch.core.errors import DataError
from precsearch.data import Dataset, Parts


def dataset(n: int, *, offset: float = 0.0, size: int = 1) -> Dataset:
    feeds = tuple({"x": np.full((size, 2), offset + i, dtype=np.float32)} for i in range(n))
    return Dataset(feeds=feeds, sizes=(size,) * n)


def members(data: Dataset | None) -> list[float]:
    return [] if data is None else [float(feed["x"][0, 0]) for feed in data.feeds]


def all_parts(parts: Parts) -> list[list[float]]:
    return [members(parts.calibration), members(parts.search), members(parts.holdout)]


@given(st.integers(8, 300), st.integers(0, 2**40))
def test_without_a_holdout_the_parts_are_disjoint_and_complete(n: int, seed: int) -> None:
    calibration, search, holdout = all_parts(dataset(n).split(seed=seed))
    assert sorted(calibration + search + holdout) == list(range(n))
    assert len(calibration) == len(holdout) == n // 4


@given(st.integers(64, 200), st.integers(0, 99))
def test_with_a_holdout_calibration_and_search_get_half_each(n: int, seed: int) -> None:
    given_holdout = dataset(10, offset=1000)
    parts = dataset(n).split(given_holdout, seed=seed)
    calibration, search, _ = all_parts(parts)
    assert sorted(calibration + search) == list(range(n))
    assert abs(len(calibration) - len(search)) <= 1
    assert parts.holdout is given_holdout


@given(st.integers(1, 63))
def test_few_samples_are_shared_beside_a_holdout(n: int) -> None:
    data = dataset(n)
    parts = data.split(dataset(4, offset=1000))
    assert parts.calibration is parts.search is data
    assert "share" in parts.notes[0]


@given(st.integers(1, 7))
def test_very_few_samples_leave_no_holdout(n: int) -> None:
    data = dataset(n)
    parts = data.split()
    assert parts.calibration is parts.search is data
    assert parts.holdout is None
    assert "--holdout" in parts.notes[0]


def test_feeds_are_counted_where_one_feed_holds_many_samples() -> None:
    assert dataset(2, size=100).split().holdout is None
    assert dataset(1, size=100).split(dataset(1, offset=9, size=100)).notes


@given(st.integers(8, 100), st.integers(0, 99))
def test_a_given_calibration_set_leaves_its_share_to_the_search(n: int, seed: int) -> None:
    own = dataset(3, offset=500)
    parts = dataset(n).split(calibration=own, seed=seed)
    _, search, holdout = all_parts(parts)
    assert parts.calibration is own
    assert sorted(search + holdout) == list(range(n))


@given(st.integers(1, 200), st.integers(0, 99))
def test_the_split_is_deterministic(n: int, seed: int) -> None:
    first, second = dataset(n).split(seed=seed), dataset(n).split(seed=seed)
    assert all_parts(first) == all_parts(second)
    assert first.search.digest == second.search.digest


def test_the_split_is_the_same_for_ever() -> None:
    # A change here changes every plan's holdout: pin it.
    parts = dataset(12).split(seed=0)
    assert all_parts(parts) == [[4, 7, 9], [0, 2, 3, 6, 8, 10], [1, 5, 11]]


def test_ordered_data_does_not_bias_a_part() -> None:
    for part in all_parts(dataset(400).split()):
        assert abs(np.mean(part) - 199.5) < 40


def test_another_seed_is_another_split() -> None:
    assert all_parts(dataset(50).split(seed=0)) != all_parts(dataset(50).split(seed=1))


def test_a_holdout_that_repeats_the_data_is_reported() -> None:
    data = dataset(100)
    assert any("confirms" in note for note in data.split(data).notes)
    assert not data.split(dataset(100, offset=1000)).notes


def test_references_in_only_one_of_data_and_holdout_are_refused() -> None:
    data = dataset(10)
    references = tuple({"y": feed["x"]} for feed in data.feeds)
    with pytest.raises(DataError, match="__ref__"):
        data.split(Dataset(data.feeds, data.sizes, references=references))


def test_labels_and_references_go_with_their_feeds() -> None:
    feeds = dataset(40).feeds
    labels = tuple(np.array([i]) for i in range(40))
    references = tuple({"y": feed["x"]} for feed in feeds)
    parts = Dataset(feeds, (1,) * 40, labels, references).split()
    for part in (parts.calibration, parts.search, parts.holdout):
        assert part is not None
        assert part.flat_labels is not None
        assert part.references is not None
        assert members(part) == part.flat_labels.tolist()
        assert [float(r["y"][0, 0]) for r in part.references] == members(part)


@given(st.sampled_from(["feed", "name", "dtype", "shape", "labels", "references", "order"]))
def test_every_change_of_the_data_changes_the_digest(change: str) -> None:
    a, b = np.zeros((1, 4), np.float32), np.ones((1, 4), np.float32)
    base = Dataset(({"x": a}, {"x": b}), (1, 1), (np.array([0]),) * 2, ({"y": a}, {"y": b}))
    changed: dict[str, tuple[Feed, ...]] = {
        "feed": ({"x": a}, {"x": b + 1}),
        "name": ({"z": a}, {"z": b}),
        "dtype": ({"x": a.view(np.int32)}, {"x": b.view(np.int32)}),
        "shape": ({"x": a.reshape(4, 1)}, {"x": b.reshape(4, 1)}),
        "order": ({"x": b}, {"x": a}),
    }
    feeds = changed.get(change, base.feeds)
    labels = (np.array([1]),) * 2 if change == "labels" else base.labels
    references = ({"y": b}, {"y": b}) if change == "references" else base.references
    assert Dataset(feeds, (1, 1), labels, references).digest != base.digest
    assert Dataset(base.feeds, (1, 1), base.labels, base.references).digest == base.digest
