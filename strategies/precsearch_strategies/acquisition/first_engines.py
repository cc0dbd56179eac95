"""The first engines where a cast precision and INT8 are offered: often enough to know the answer.

Most models end in one of three ways: FP16 (or BF16) is right once a few groups stay in FP32, and
INT8 is slower; INT8 everywhere is right and faster; or INT8 is faster and too far off, which alone
needs a search.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from precsearch.core.precision import Precision
from precsearch.core.problem import Problem
from precsearch.core.space import Assignment, GroupTrait
from precsearch.core.trial import Trial
from precsearch_strategies.encoding import Encoding
from precsearch_strategies.group_testing.locate import soundly
from precsearch_strategies.group_testing.speculate import ROOMY
from precsearch_strategies.history import History, Subroutine
from precsearch_strategies.uniform import casts, tolerated

__all__ = ["baseline", "opening"]

_TWO = 2  # engines that the budget must allow for one of them to be another uniform one


@dataclass(frozen=True)
class _Placement:
    """The same model with INT8 placed otherwise.

    Attributes:
        changes: Group key → its other precision.
        reason: Why an engine is built for it.
        reach: It is tried while INT8 is at most this much slower than the fastest engine so far.
            By what a placement gained on TensorRT 8.6 (docs/benchmarks/gpu.md): a narrow stem 21 %,
            float attention 15 %, both inputs of Adds 6 %.
        more: Whether it adds INT8, and so error.
    """

    changes: dict[str, Precision]
    reason: str
    reach: float
    more: bool


def baseline(known: History) -> dict[Assignment, str]:
    """FP32 and, with several devices, an engine for each that is likely wanted; with its reason.

    FP32 is rarely beyond the bound, and its engine is often there already: the others would wait.
    Uniform engines come first, and leave an engine of the budget for a mixed one. Where the budget
    is roomy, devices that are left take INT8 placed otherwise, as if each placement were faster.
    """
    problem, room = known.problem, known.engine_room()
    asked = {problem.all_fp32(): "FP32 is the baseline"}
    if problem.devices == 1:
        return asked
    most = min(problem.devices + 1, room - 1)
    likely = {tolerated(problem, p): _uniform_reason(p) for p in problem.space.precisions[1:]}
    both = casts(problem.space) and Precision.INT8 in problem.space.precisions
    if both and room >= ROOMY * problem.devices:
        base = tolerated(problem, Precision.INT8)
        for placement in _placements(problem, base):
            base = problem.space.canonical(base.with_(placement.changes))
            likely.setdefault(base, placement.reason)
    for assignment, reason in likely.items():
        if len(asked) < most:
            asked.setdefault(assignment, f"{reason}, beside FP32")
    return asked


def _uniform_reason(precision: Precision) -> str:
    return f"{precision.value.upper()} wherever no rule forbids it"


def opening(known: History, encoding: Encoding, limit: int) -> Subroutine[bool]:
    """Build each cast precision less its hazards, then INT8 and its placements while they may pay.

    An engine that fails is no measurement: what makes it fail is located, and the rest built.

    Args:
        known: The trials.
        encoding: Of their assignments.
        limit: Engines at most.

    Returns:
        Whether the search is over: INT8 ran, and is no faster than a cast engine that passes.
    """
    problem = known.problem
    offered = casts(problem.space)
    if not offered or Precision.INT8 not in problem.space.precisions:
        return False
    half: list[Trial] = []
    for precision in offered:
        assignment, reason = tolerated(problem, precision), _uniform_reason(precision)
        half.append((yield from soundly(known, encoding, assignment, reason, limit)))
        if known.engine_room() < _TWO:
            return False  # the last engine is to be a mixed one
    asked = tolerated(problem, Precision.INT8)
    first = min(half, key=lambda t: (not known.passes(t), _ratio(known, [t])))
    trial = yield from soundly(known, encoding, asked, _uniform_reason(Precision.INT8), limit)
    base = trial.assignment
    placements = _placements(problem, base)
    if problem.devices > 1:
        best = min(_ratio(known, [first]), _ratio(known, [trial]))
        yield from known.build_for(_foreseen(known, trial, placements, best))
    for placement in placements:
        if known.engine_room() < _TWO:
            return False
        best = min(_ratio(known, [first]), _ratio(known, [trial]))
        hopeless = placement.more and not known.passes(trial)
        far = _ratio(known, [trial]) > placement.reach * best
        other = problem.space.canonical(base.with_(placement.changes))
        if hopeless or far or other == base or known.excludes(other):
            continue
        (tried,) = yield from known.build([other], placement.reason)
        kept = known.passes(tried) or not known.passes(trial)
        if kept and _ratio(known, [tried]) < _ratio(known, [trial]):
            base, trial = other, tried
    if not known.passes(first) or known.engines[asked].measurement is None:
        return False
    lowest = _ratio(known, [t for a, t in known.engines.items() if a.keys_at(Precision.INT8)])
    # Where timings are noisy, INT8 must be slower by that noise: a gain that it hides is one.
    return lowest > _ratio(known, [first]) * (1 - 2 * known.worth + problem.goal.tie)


def _foreseen(
    known: History, trial: Trial, placements: Iterable[_Placement], best: float
) -> dict[Assignment, str]:
    """What is asked for next if each placement is faster than the one before; one a device."""
    room = min(known.problem.devices, known.engine_room() - 1)
    base, asked = trial.assignment, dict[Assignment, str]()
    for placement in placements:
        if placement.more and not known.passes(trial):
            continue
        other = known.problem.space.canonical(base.with_(placement.changes))
        near = _ratio(known, [trial]) <= placement.reach * best
        if near and other != base and not known.excludes(other) and len(asked) < room:
            base, asked[other] = other, placement.reason
    return asked


def _ratio(known: History, trials: Iterable[Trial]) -> float:
    return min((r for t in trials if (r := known.ratio(t)) is not None), default=float("inf"))


def _placements(problem: Problem, int8: Assignment) -> list[_Placement]:
    """Those that the model has, the likelier gains first."""
    above = casts(problem.space)
    lower = problem.avoided(Precision.INT8)
    half = frozenset[str]().union(*map(problem.avoided, above))
    offered = [g for g in problem.space.free if Precision.INT8 in g.choices]
    branches = [g.key for g in offered if GroupTrait.ADDS_INPUT in g.traits]
    # Not where a cast precision has a hazard, which around INT8 is INT8's, too, nor where it gains
    # nothing.
    slow = frozenset(key for key, p in problem.slow if p is Precision.INT8)
    hinted = [g.key for g in offered if g.key in lower - half - slow and g.key not in branches]
    lowest = above[-1]
    attention = [
        g.key
        for g in offered
        if GroupTrait.ACTIVATION_PRODUCTS in g.traits
        and int8[g.key] is Precision.INT8
        and lowest in g.choices
    ]
    rows = (
        (hinted, Precision.INT8, "INT8 also where a rule advises against it", 1.3),
        (branches, Precision.INT8, "INT8, both inputs of each Add quantized", 1.1),
        (attention, lowest, f"INT8, products of two activations in {lowest.value.upper()}", 1.2),
    )
    return [
        _Placement(dict.fromkeys(keys, p), reason, reach, more=p is Precision.INT8)
        for keys, p, reason, reach in rows
        if keys
    ]
