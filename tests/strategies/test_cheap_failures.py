"""Where a failed build is cheap and one that runs is not, INT8 without the culprits comes early."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from benchmarks.unbuildable import Unbuildable
from precsearch.core.events import TrialFinished
from precsearch.core.exclusions import FREE_FAILURES, built
from precsearch.core.precision import Precision
from precsearch.core.problem import Bound, Budget, Goal, Prior, Problem
from precsearch.core.space import LayerGroup, SearchSpace
from precsearch.core.trial import Fidelity, Trial
from precsearch.search.loop import search
from precsearch_strategies import Auto

GOAL = Goal(Bound(1.0, guard=1.0), 0.005)
FP32, FP16, INT8 = Precision.FP32, Precision.FP16, Precision.INT8

# A UNet of four levels: pairs of convolutions, transposed ones with a Mul, Concats with the skips.
DOWN = ("Relu_2", "MaxPool_5", "Relu_7", "MaxPool_10", "Relu_12", "MaxPool_15", "Relu_17")
MIDDLE = ("MaxPool_20", "Relu_22", "Relu_24")
STEPS = ((26, "MaxPool_20"), (33, "MaxPool_15"), (40, "MaxPool_10"), (47, "MaxPool_5"))
UP = tuple(
    name
    for n, _ in STEPS
    for name in (f"Mul_{n}", f"Concat_{n + 1}", f"Relu_{n + 3}", f"Relu_{n + 5}")
)
KEYS = (*DOWN, *MIDDLE, *UP, "mask")
SKIPS = tuple((skip, f"Concat_{n + 1}") for n, skip in STEPS)
LINKS = (*pairwise(KEYS), *SKIPS)
CONCATS = tuple(k for k in KEYS if k.startswith("Concat"))


def beside(*keys: str) -> tuple[frozenset[str], ...]:
    """Each of these groups fails beside any of its neighbours in INT8."""
    return tuple(frozenset(link) for link in LINKS if set(link) & set(keys))


def unet(culprits: tuple[frozenset[str], ...]) -> Unbuildable:
    """Engines that run take 15 s and those that fail 0.2 s, as TensorRT 8.6 took on an H200."""
    groups = tuple(
        LayerGroup(
            k,
            "concat" if k in CONCATS else "conv",
            (k,) if k == "mask" or k in CONCATS else (f"Conv_{k}", k),
            (FP32, FP16, INT8),
            passive=k in CONCATS,
        )
        for k in KEYS
    )
    where = {k: i for i, k in enumerate(KEYS)}
    full = np.array([0.0 if k in CONCATS else 1.0 for k in KEYS])
    shares = np.tile([1.0, 0.57, 0.35], (len(KEYS), 1))
    losses = np.tile([0.0, 0.01, 0.1], (len(KEYS), 1))
    space = SearchSpace(groups, tuple((where[a], where[b]) for a, b in LINKS))
    return Unbuildable(space, losses, full[:, None] * shares, culprits, 0.05, 15.0, 0.2)


def engines(model: Unbuildable, most: int = 8) -> list[Trial]:
    priors = tuple(Prior(k, INT8, avoid=True, reason="an edge") for k in ("Relu_2", "mask"))
    problem = Problem(model.space, GOAL, Budget(most), priors)
    events = search(problem, Auto(), model.evaluate)
    trials = [e.trial for e in events if isinstance(e, TrialFinished)]
    return [t for t in trials if t.proposal.fidelity is Fidelity.ENGINE]


SITUATIONS = {
    "every Concat": (beside(*CONCATS), 4),
    "every Concat, and each layer that reads one": (
        (
            *beside(*CONCATS),
            *(frozenset({k}) for k in ("Relu_29", "Relu_36", "Relu_43", "Relu_50")),
        ),
        8,
    ),
    "every Mul with its Concat": (
        tuple(frozenset({f"Mul_{n}", f"Concat_{n + 1}"}) for n, _ in STEPS),
        4,
    ),
    "one Mul with its Concat": ((frozenset({"Mul_26", "Concat_27"}),), 1),
    "one Mul": ((frozenset({"Mul_33"}),), 1),
    "one layer of the common kind": ((frozenset({"Relu_12"}),), 1),
    "two of these": ((frozenset({"Relu_12"}), frozenset({"MaxPool_15"})), 2),
    "three groups at a Concat": ((frozenset({"Mul_26", "Concat_27", "MaxPool_20"}),), 1),
}


@pytest.mark.parametrize("name", SITUATIONS)
def test_int8_without_the_culprits_is_built_within_eight_engines_and_wins(name: str) -> None:
    culprits, least = SITUATIONS[name]
    found = engines(unet(culprits))
    assert built(found) <= 8
    best = GOAL.best(found)
    assert best is not None
    assert len(best.assignment.keys_at(INT8)) >= 25 - least, "INT8 was tolerated in 25"


def test_the_recorded_search_of_the_unet_continues_to_int8() -> None:
    """It ended with FP16 after six engines, four of which were locating and three had failed."""
    found = engines(unet(beside(*CONCATS)))
    failed = [t for t in found if t.measurement is None]
    assert len(failed) >= 6
    assert built(found) == len(found) - len(failed) <= 6
    ran = [t for t in found if t.measurement is not None]
    whole = next(t for t in ran if len(t.assignment.keys_at(INT8)) >= 21)
    assert ran.index(whole) <= 4, "FP32, FP16, at most two to locate, then INT8 less the Concats"
    half = next(t for t in ran if t.assignment.keys_at(FP16) and not t.assignment.keys_at(INT8))
    best = GOAL.best(found)
    assert best is not None
    assert best.assignment.keys_at(INT8)
    assert whole.measurement is not None
    assert half.measurement is not None
    assert GOAL.better(whole.measurement, half.measurement)


def test_fp16_is_the_answer_where_int8_without_the_culprits_is_slower() -> None:
    model = unet(beside(*CONCATS))
    slow = model.times.copy()
    slow[:, 2] = 1.2 * slow[:, 1]
    found = engines(replace(model, times=slow))
    best = GOAL.best(found)
    assert best is not None
    assert not best.assignment.keys_at(INT8)
    assert any(len(t.assignment.keys_at(INT8)) >= 21 for t in found if t.measurement is not None)


def test_a_backend_that_refuses_everything_ends_soon() -> None:
    found = engines(unet(tuple(frozenset({k}) for k in KEYS)))
    assert built(found) <= 8
    assert len(found) <= FREE_FAILURES + 8 + 16, "a row of failures, and what ran between two rows"
    assert GOAL.best(found) is not None
