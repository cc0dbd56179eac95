"""The first engines where FP16 and INT8 are both offered: enough, often, to know the answer.

An engine takes minutes there, and most models end in one of three ways: FP16 is right once a few
groups stay in FP32, and INT8 is slower; INT8 everywhere is right and faster; or INT8 is faster and
too far off, which alone needs a search.
"""

from __future__ import annotations

from collections.abc import Iterable

from precsearch.goal import Problem
from precsearch.space import Assignment, LayerGroup, Precision
from precsearch.trial import Trial
from precsearch_strategies.known import Asking, Known

__all__ = ["opening", "tolerated"]


def tolerated(problem: Problem, precision: Precision) -> Assignment:
    """Every group at the lowest choice from ``precision`` upward that no prior advises against."""

    def lowest(group: LayerGroup) -> Precision:
        fits = (c for c in reversed(group.choices) if c.bits >= precision.bits)
        return next((c for c in fits if group.key not in problem.avoided(c)), Precision.FP32)

    return problem.space.canonical(Assignment.of({g.key: lowest(g) for g in problem.space.free}))


def opening(known: Known) -> Asking[bool]:
    """Build FP16 less its hazards, then INT8 and its placements as long as they pay.

    Returns:
        Whether the search is over: INT8 is no faster than an FP16 engine that passes.
    """
    problem = known.problem
    if not {Precision.FP16, Precision.INT8} <= set(problem.space.precisions):
        return False
    half = tolerated(problem, Precision.FP16)
    (first,) = yield from known.build([half], "FP16 wherever no rule forbids it")
    int8 = tolerated(problem, Precision.INT8)
    (second,) = yield from known.build([int8], "INT8 wherever no rule forbids it")
    best = _ratio(known, [first, second])
    for other, reason in _placements(problem, int8):
        found = yield from known.build([other], reason)
        ratio = _ratio(known, found)
        # One placement that is slower says that the others are not worth an engine each.
        if ratio > best:
            break
        best = ratio
    within = known.passes(first)
    lowest = _ratio(known, [t for a, t in known.engines.items() if a.keys_at(Precision.INT8)])
    return bool(within) and lowest > _ratio(known, [first]) * (1 - problem.goal.noise)


def _ratio(known: Known, trials: Iterable[Trial]) -> float:
    return min((r for t in trials if (r := known.ratio(t)) is not None), default=float("inf"))


def _placements(problem: Problem, int8: Assignment) -> list[tuple[Assignment, str]]:
    """The same products in INT8 with Q/DQ elsewhere, the likelier gains first."""
    space = problem.space
    branches = {
        g.key: Precision.INT8
        for g in space.free
        if g.kind == "add-branch" and Precision.INT8 in g.choices
    }
    attention = {
        g.key: Precision.FP16
        for g in space.free
        if g.kind == "attention" and int8[g.key] is Precision.INT8 and Precision.FP16 in g.choices
    }
    found = []
    if branches:
        found.append((int8.with_(branches), "INT8, both inputs of each Add quantised"))
    if attention:
        found.append((int8.with_(attention), "INT8, products of two activations in FP16"))
    made = [(space.canonical(a), reason) for a, reason in found]
    return [(a, reason) for a, reason in made if a != int8]
