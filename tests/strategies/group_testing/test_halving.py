"""Sets of groups halved by proxy, where squares add and where an output is saturated."""

from __future__ import annotations

import numpy as np
import pytest

from precsearch.core.trial import Accuracy, Measured, Measurement, Proposal, Trial
from precsearch_strategies.encoding import Encoding
from precsearch_strategies.group_testing.halving import squared_usage_by_halves
from precsearch_strategies.history import History
from tests.strategies.landscapes import FP32, INT8, Recipe

KEYS = 8


def halved(squared_usage: list[float], most: float) -> tuple[list[int], list[float]]:
    """Sizes of the sets that were asked about, and what each group is taken to cost.

    The squares add up to ``most``, which an output has if nothing of it is right.
    """
    made = Recipe(groups=KEYS, precisions=(FP32, INT8)).draw(0)
    encoding, known = Encoding(made.space), History(made.problem)
    target = made.problem.goal.bound.target

    def answer(proposal: Proposal, number: int) -> Trial:
        total = sum(squared_usage[encoding.position[k]] for k, _ in proposal.assignment.entries)
        loss = target * min(total, most) ** 0.5
        return Trial(number, proposal, Measured(Measurement(Accuracy(loss, loss))))

    asked: list[int] = []
    asking = squared_usage_by_halves(known, encoding, np.array([[False, True]] * KEYS), 20)
    batch = next(asking)
    while True:
        asked += [len(p.assignment) for p in batch]
        try:
            batch = asking.send([answer(p, len(asked)) for p in batch])
        except StopIteration as end:
            return asked, end.value[0][:, 1].tolist()


def test_the_loss_of_the_second_half_is_the_difference_where_squared_losses_add() -> None:
    asked, found = halved([1.0, 2.0, 0.5, 0.5, 1.5, 1.0, 1.0, 0.5], 100.0)
    assert asked.count(4) == 1
    assert sum(found) == pytest.approx(8.0, rel=0.05)


def test_both_halves_are_probed_where_the_first_takes_the_whole_loss() -> None:
    asked, found = halved([9.0] * KEYS, 10.0)
    assert asked.count(4) == 2
    assert min(found) > 5, "no group is thought to be harmless beside the others"


def test_a_half_that_is_harmless_costs_one_proxy() -> None:
    asked, found = halved([9.0, 0, 0, 0, 0, 0, 0, 0], 10.0)
    assert found[0] > 5
    assert max(found[1:]) < 1.0
    assert len(asked) <= 8


def batches_of(costly: int) -> list[int]:
    """Proxies asked for at a time, of 64 groups of which the first ones saturate any output."""
    made = Recipe(groups=64, precisions=(FP32, INT8)).draw(0)
    encoding, known = Encoding(made.space), History(made.problem)
    target = made.problem.goal.bound.target

    def answer(proposal: Proposal, number: int) -> Trial:
        off = any(encoding.position[k] < costly for k, _ in proposal.assignment.entries)
        loss = (3 if off else 0.1) * target
        return Trial(number, proposal, Measured(Measurement(Accuracy(loss, loss))))

    asking = squared_usage_by_halves(known, encoding, np.array([[False, True]] * 64), 200)
    batches, batch = list[int](), next(asking)
    while batch:
        batches.append(len(batch))
        try:
            batch = asking.send([answer(p, len(batches)) for p in batch])
        except StopIteration:
            break
    return batches


def test_the_second_halves_of_all_sets_are_proposed_together() -> None:
    batches = batches_of(48)
    assert sum(batches) > 80
    assert batches.count(1) <= 5, "the whole and its halves; then there are several sets at a time"


def test_sets_that_are_all_beyond_the_bound_are_halved_no_further() -> None:
    assert sum(batches_of(64)) <= 8
