"""Parts of an output that are lost while its norm looks fine."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from precsearch.core.backend import Feed
from precsearch.core.trial import Accuracy
from precsearch.metrics import metric, with_lost_parts, worst_of
from precsearch.metrics.parts import lost_parts

Rows = npt.NDArray[np.float32]


def head(seed: int = 0, samples: int = 8) -> Rows:
    """Four boxes in pixels and eight scores in one tensor, ``[samples, 12, 32]``."""
    rng = np.random.default_rng(seed)
    pixels = 250 + 80 * rng.standard_normal((samples, 4, 32))
    scores = -3 + 1.5 * rng.standard_normal((samples, 8, 32))
    return np.concatenate([pixels, scores], axis=1).astype(np.float32)


def feeds(rows: Rows) -> list[Feed]:
    return [{"y": rows[i : i + 1]} for i in range(len(rows))]


def rounded(rows: Rows, step: float) -> Rows:
    return np.asarray(np.round(rows / step) * step, np.float32)


def test_scores_that_one_scale_flattens_are_reported_though_the_norm_hides_it() -> None:
    rows = head()
    flat = rounded(rows, 4.0)
    assert metric("rel-l2").score(feeds(flat), feeds(rows)).loss < 1e-2
    (part,) = lost_parts(feeds(flat), feeds(rows))
    assert (part.output, part.axis, part.entries) == ("y", 1, tuple(range(4, 12)))
    assert "entries 4 to 11 on axis 1 of output 'y' are lost" in str(part)


def test_a_head_whose_parts_lie_on_the_last_axis_is_seen_there() -> None:
    rows = head().transpose(0, 2, 1)
    (part,) = lost_parts(feeds(rounded(rows, 4.0)), feeds(rows))
    assert (part.axis, part.entries[0]) == (2, 4)


@given(seed=st.integers(0, 50), error=st.floats(0, 0.05), scale=st.sampled_from([1e-3, 1.0, 1e3]))
def test_errors_in_proportion_to_each_entry_lose_nothing(
    seed: int, error: float, scale: float
) -> None:
    rows = head(seed) * np.float32(scale)
    spread = rows.std(axis=(0, 2), keepdims=True)
    noise = np.random.default_rng(seed + 1).standard_normal(rows.shape)
    wrong = (rows + error * spread * noise).astype(np.float32)
    assert lost_parts(feeds(wrong), feeds(rows)) == ()


@given(st.sets(st.integers(4, 11), min_size=1))
def test_exactly_the_entries_that_were_flattened_are_named(lost: set[int]) -> None:
    rows = head()
    flat = rows.copy()
    flat[:, sorted(lost)] = flat[:, sorted(lost)].mean()
    (part,) = lost_parts(feeds(flat), feeds(rows))
    assert part.entries == tuple(sorted(lost))


def test_a_dead_channel_with_noise_is_not_a_part() -> None:
    rows = head()
    rows[:, 5] = 7.0
    wrong = rows.copy()
    wrong[:, 5] += np.random.default_rng(3).standard_normal(wrong[:, 5].shape).astype(np.float32)
    assert lost_parts(feeds(wrong), feeds(rows)) == ()
    rows[:, 5] = 1e-9 * np.random.default_rng(4).standard_normal(rows[:, 5].shape)
    wrong[:, 5] = 0
    assert lost_parts(feeds(wrong), feeds(rows)) == ()


def test_an_output_without_entries_is_left_alone() -> None:
    assert lost_parts([{"y": np.ones(3)}], [{"y": np.zeros(3)}]) == ()
    assert lost_parts([{"y": np.ones((2, 3))}], [{"y": np.zeros((1, 3))}]) == ()
    assert lost_parts([{"y": np.ones((2, 3), int)}], [{"y": np.zeros((2, 3), int)}]) == ()
    assert lost_parts([{"y": np.full((2, 3), np.nan)}], [{"y": np.zeros((2, 3))}]) == ()
    assert lost_parts([{"y": np.ones((2, 3))}], [{"y": np.zeros((2, 3))}]) == ()


@pytest.mark.parametrize(("name", "told"), [("rel-l2", True), ("sqnr", True), ("max-abs", False)])
def test_only_a_norm_hides_a_part(name: str, told: bool) -> None:
    rows = head()
    flat, wanted = feeds(rounded(rows, 4.0)), feeds(rows)
    found = metric(name).score(flat, wanted)
    assert bool(with_lost_parts(metric(name), found, flat, wanted).lost) == told


def test_of_several_shapes_the_worst_is_an_engines_loss() -> None:
    at_one, at_two = Accuracy(0.01, 0.012), Accuracy(0.4, 0.41, shapes="x:2x3")
    assert worst_of([at_one, at_two]) == at_two
    assert worst_of([at_two, at_one]) == at_two
    assert worst_of([at_one]) == at_one
    high = Accuracy(0.005, 0.02, shapes="x:2x3")
    assert (worst_of([at_one, high]).loss, worst_of([at_one, high]).upper) == (0.01, 0.02)
