"""Names of devices."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from precsearch.core.device import DeviceSpec


@pytest.mark.parametrize(
    ("device", "name"),
    [
        (DeviceSpec(), "cpu"),
        (DeviceSpec(cores=(0, 1, 2, 3)), "cpu:0-3"),
        (DeviceSpec(cores=(0, 2, 3, 7)), "cpu:0+2-3+7"),
        (DeviceSpec(kind="gpu", index=1), "gpu:1"),
        (DeviceSpec("node7", "gpu", 0), "node7/gpu:0"),
    ],
)
def test_a_device_is_named_in_a_word(device: DeviceSpec, name: str) -> None:
    assert device.name == name
    assert "/" not in device.file_stem
    assert ":" not in device.file_stem


@given(
    st.sets(st.integers(0, 40), min_size=1),
    st.sets(st.integers(0, 40), min_size=1),
)
def test_different_cores_have_different_names(one: set[int], other: set[int]) -> None:
    names = {DeviceSpec(cores=tuple(sorted(c))).name for c in (one, other)}
    assert len(names) == len({frozenset(one), frozenset(other)})
