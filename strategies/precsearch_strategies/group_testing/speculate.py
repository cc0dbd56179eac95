"""Asks at once for what a search for culprits may want to know next, where devices would wait."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from precsearch.core.space import Assignment
from precsearch.core.trial import (
    Accuracy,
    Fidelity,
    Latency,
    Measured,
    Measurement,
    Outcome,
)
from precsearch_strategies.history import History, Subroutine

__all__ = ["ROOMY", "speculated"]

ROOMY = 4
"""Times the number of devices that the budget has of engines: some will be of no use."""
_FORKS = 6  # for each device

_RUNS = Measured(Measurement(Accuracy(0.0, 0.0), Latency(1.0, 1.0, 1.0, 1.0, 1.0, 1.0)))
"""An engine that is usable, whatever it measures."""

T = TypeVar("T")


def speculated(
    known: History, fails: Outcome, search: Callable[[History], Subroutine[T]]
) -> Subroutine[T]:
    """Run a part of a strategy that goes by whether engines are usable, with all devices.

    What it asks for next depends on answers that are not there yet. So it is run on copies of what
    is known, with either answer assumed; what these copies ask for is a tree, and as many engines
    as there are devices are built from its root on.

    Args:
        known: The trials.
        fails: The outcome of an engine that is not usable.
        search: The part; it must decide by the trials alone.

    Returns:
        What ``search`` returns.
    """
    most = known.problem.devices
    while most > 1 and known.engine_room() >= ROOMY * most:
        questions = _questions(known, fails, search, most)
        if not questions:
            break
        yield from known.build(questions, "what makes an engine fail, asked ahead")
    return (yield from search(known))


def _questions(
    known: History, fails: Outcome, search: Callable[[History], Subroutine[T]], most: int
) -> list[Assignment]:
    """The first engines of the tree, level by level; none where the search ends, or wants others.

    Proxies are cheap, and are not assumed: a branch ends where they are asked for.
    """
    queue: list[Mapping[Assignment, Outcome]] = [{}]
    questions: dict[Assignment, None] = {}
    for _ in range(_FORKS * most):
        if not queue or len(questions) == most:
            break
        assumed = queue.pop(0)
        try:
            batch = next(search(known.supposing(assumed)))
        except StopIteration:
            continue
        if not batch or batch[0].fidelity is not Fidelity.ENGINE:
            continue
        asked = known.problem.space.canonical(batch[0].assignment)
        questions[asked] = None
        queue += [{**assumed, asked: _RUNS}, {**assumed, asked: fails}]
    return list(questions)
