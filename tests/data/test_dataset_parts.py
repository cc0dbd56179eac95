"""Parts of a dataset by the number of samples."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from precsearch.data.dataset import Dataset


def batches(sizes: list[int]) -> Dataset:
    feeds = tuple({"x": np.full((n, 2), i, np.float32)} for i, n in enumerate(sizes))
    return Dataset(feeds, tuple(sizes))


@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=12),
    samples=st.integers(1, 64),
    data=st.data(),
)
def test_the_fewest_feeds_that_hold_so_many_samples(
    sizes: list[int], samples: int, data: st.DataObject
) -> None:
    first = data.draw(st.integers(0, len(sizes) - 1))
    part = batches(sizes).holding(samples, first)
    held = list(part.sizes)
    assert held == sizes[first : first + len(held)]
    assert [int(feed["x"][0, 0]) for feed in part.feeds] == list(range(first, first + len(held)))
    assert sum(held) >= samples or first + len(held) == len(sizes)
    assert sum(held[:-1]) < samples, "the last one is needed"


def test_one_large_batch_is_enough() -> None:
    assert batches([32, 32]).holding(8).sizes == (32,)
    assert batches([1] * 20).holding(8).sizes == (1,) * 8
