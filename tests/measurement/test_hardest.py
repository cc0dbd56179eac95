"""Which samples a proxy sees: the hardest of a rough engine, the same in a search that goes on."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from precsearch.core.precision import Precision
from precsearch.core.space import Assignment
from precsearch.core.trial import Accuracy, Failed, Fidelity, Measured, Measurement, Proposal, Trial
from precsearch.core.trial import hardness as of_trials
from precsearch.data import Dataset
from precsearch.measurement.probes import SMOOTH, FirstLook, by_hardness


def trial(number: int, losses: tuple[float, ...], proxy: bool = False, low: bool = True) -> Trial:
    assignment = Assignment.of({"a": Precision.INT8} if low else {})
    fidelity = Fidelity.PROXY if proxy else Fidelity.ENGINE
    found = Measurement(Accuracy(0.1, 0.1, per_sample=losses))
    return Trial(number, Proposal(assignment, fidelity), Measured(found))


def test_the_feed_with_the_worst_sample_comes_first() -> None:
    assert by_hardness([1, 1, 1], [0.1, 0.3, 0.2]) == [1, 2, 0]
    assert by_hardness([2, 1, 2], [0.1, 0.2, 0.3, 0.0, 0.9]) == [2, 1, 0]


def test_without_losses_feeds_from_all_over_the_data_come_first() -> None:
    assert by_hardness([1] * 8, []) == [0, 4, 2, 6, 1, 3, 5, 7]
    assert by_hardness([1] * 3, [0.5]) == by_hardness([1] * 3, []), "losses of other data"


@given(st.lists(st.integers(1, 3), min_size=1, max_size=40), st.booleans(), st.randoms())
def test_every_feed_comes_once(sizes: list[int], known: bool, draw: random.Random) -> None:
    losses = [draw.random() for _ in range(sum(sizes))] if known else []
    assert sorted(by_hardness(sizes, losses)) == list(range(len(sizes)))


def test_the_first_engine_below_fp32_determines_the_hard_samples() -> None:
    plain, rough, later = trial(0, (0.0, 0.0), low=False), trial(1, (0.3, 0.1)), trial(2, (0.9, 1))
    assert of_trials([later, plain, rough]) == (0.3, 0.1)
    assert of_trials([plain]) == ()


def test_losses_after_the_first_proxy_change_nothing() -> None:
    """A search that is resumed knows more; its proxies must see the same samples all the same."""
    proxy = trial(1, (0.5, 0.5), proxy=True)
    assert of_trials([proxy, trial(2, (0.9, 0.1))]) == ()
    assert of_trials([trial(0, (0.3, 0.1)), proxy, trial(2, (0.9, 0.1))]) == (0.3, 0.1)


def test_a_failed_engine_determines_no_hard_samples() -> None:
    proposal = Proposal(Assignment.of({"a": Precision.INT8}))
    failed = Trial(0, proposal, Failed("build", "error", "refused"))
    assert of_trials([failed, trial(1, (0.3,))]) == (0.3,)


@pytest.mark.parametrize(("share", "feeds"), [(1.0, 64), (SMOOTH, 32)])
def test_a_metric_of_distances_needs_half_of_the_samples(share: float, feeds: int) -> None:
    data = Dataset(tuple({"x": np.full((1,), i)} for i in range(100)), (1,) * 100)
    seen, outputs = FirstLook(share).run(lambda feed: feed, data, ())
    assert len(seen) == len(outputs) == feeds
