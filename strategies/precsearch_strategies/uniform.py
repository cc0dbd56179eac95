"""The trivial engines: one precision everywhere, and the usual exceptions from it."""

from __future__ import annotations

from dataclasses import dataclass

from precsearch.core.precision import Encoding, Precision
from precsearch.core.problem import Problem
from precsearch.core.space import Assignment, GroupTrait, SearchSpace
from precsearch.core.strategy import ReasonedProposals
from precsearch_strategies.ending import ending
from precsearch_strategies.history import History

__all__ = ["Uniform", "casts", "leading_uniforms", "tolerated", "uniform_assignments"]


def casts(space: SearchSpace) -> tuple[Precision, ...]:
    """The float precisions below FP32 that a space offers, such as BF16 or FP16."""
    return tuple(p for p in space.precisions if p.spec.encoding is Encoding.CAST)


def uniform_assignments(problem: Problem) -> tuple[Assignment, ...]:
    """FP32 first, then every trivial rival, lowest precision first, each canonical form once.

    For each lower precision: everywhere; everywhere but where a prior advises against it (there
    the next precision that no prior advises against); and for INT8 both again with the passive
    groups (Add, Concat, pooling) left in float, and then with the products of two activations
    (attention) in float too. NVIDIA's and ONNX Runtime's quantizers differ from each other mostly
    in these points, and which of them is faster depends on the backend.
    """
    space = problem.space
    assignments = [problem.all_fp32()]
    for precision in reversed(space.precisions[1:]):
        everywhere = {g.key: g.nearest(precision) for g in space.free}
        for asked in (everywhere, problem.lowest_choices(precision)):
            assignments.append(Assignment.of(asked))
            if precision is Precision.INT8:
                assignments.extend(_passive_float(problem, asked))
    return tuple(dict.fromkeys(space.canonical(a) for a in assignments))


def leading_uniforms(problem: Problem) -> tuple[Assignment, ...]:
    """For each lower precision, highest first: everywhere but where a prior advises against it.

    There the next precision that no prior advises against stands in, so INT8 falls back to FP16 or
    BF16, whichever is offered.
    """
    assignments = [tolerated(problem, p) for p in problem.space.precisions[1:]]
    return tuple(a for a in dict.fromkeys(assignments) if len(a))


def tolerated(problem: Problem, precision: Precision) -> Assignment:
    """Every group at the lowest choice from ``precision`` upward that no prior advises against."""
    return problem.space.canonical(Assignment.of(problem.lowest_choices(precision)))


def _passive_float(problem: Problem, asked: dict[str, Precision]) -> list[Assignment]:
    """``asked`` with the passive INT8 groups in FP32, and in each cast precision on offer."""
    passive = [g for g in problem.space.free if g.passive and asked[g.key] is Precision.INT8]
    lower = [problem.lowest_choices(p) for p in casts(problem.space)]
    above = [{g.key: precisions[g.key] for g in passive} for precisions in lower]
    full = {g.key: Precision.FP32 for g in passive}
    float_too = {
        g.key: Precision.FP32
        for g in problem.space.free
        if GroupTrait.ACTIVATION_PRODUCTS in g.traits and asked[g.key] is Precision.INT8
    }
    changes = (*above, full, {**full, **float_too})
    return [Assignment.of({**asked, **change}) for change in changes]


@dataclass(frozen=True)
class Uniform:
    """Builds the trivial engines and stops: the rivals that every search must beat.

    NVIDIA's ``trtexec --best``, AutoCast and ONNX Runtime's static quantizer each amount to one
    of them.
    """

    def propose(self, problem: Problem, /) -> ReasonedProposals:
        """FP32 as the gate, then all others as one batch."""
        known = History(problem)
        first, *rest = uniform_assignments(problem)
        (gate,) = yield from known.build([first], "FP32 is the baseline")
        if gate.measurement is None or not problem.goal.admits(gate.measurement):
            return "baseline"
        yield from known.build(rest, "uniform")
        return ending(known) or None
