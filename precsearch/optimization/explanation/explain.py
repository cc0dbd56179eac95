"""Reasons: for each group's choice, and for the user when the answer is not what they hoped for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from precsearch.core.exclusions import exclusion_reasons
from precsearch.core.precision import Precision
from precsearch.core.problem import Problem
from precsearch.core.space import Assignment, LayerGroup
from precsearch.core.trial import Fidelity, Trial
from precsearch.plan.plan import GroupEvidence

__all__ = ["Ledger", "explain_groups", "ledger"]

_NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class Ledger:
    """What is known about single groups.

    Attributes:
        cost: (group, precision) → loss with that group alone lowered.
        saved: Group → seconds that its lowest precision saves in the profiles, where it was seen.
        excluded: Group → why its choices are left out: engines with them do not build, crash, or
            give output that is not finite.
    """

    cost: Mapping[tuple[str, Precision], float]
    saved: Mapping[str, float]
    excluded: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def ledger(trials: Sequence[Trial]) -> Ledger:
    """Collect single-group losses and profile times from the trials."""
    cost: dict[tuple[str, Precision], float] = {}
    plain: Mapping[str, float] = {}
    lowest: dict[str, float] = {}
    for trial in trials:
        measurement = trial.measurement
        if measurement is None:
            continue
        if len(trial.assignment) == 1:
            key, precision = trial.assignment.entries[0]
            # An engine's loss is over all samples, a proxy's over some: the engine's stands.
            if trial.proposal.fidelity is Fidelity.ENGINE or (key, precision) not in cost:
                cost[key, precision] = measurement.accuracy.loss
        if not trial.assignment and measurement.group_seconds:
            plain = measurement.group_seconds
        for key in trial.assignment:
            if key in measurement.group_seconds:
                seconds = measurement.group_seconds[key]
                lowest[key] = min(seconds, lowest.get(key, seconds))
    saved = {k: plain[k] - lowest[k] for k in lowest if k in plain}
    return Ledger(cost, saved, exclusion_reasons(trials))


def explain_groups(
    problem: Problem,
    chosen: Assignment,
    achieved: Mapping[str, Precision],
    book: Ledger,
    kept: Mapping[str, str] = _NOTHING,
) -> tuple[GroupEvidence, ...]:
    """One reason a group, in graph order; groups that cannot be decided are left out.

    Args:
        problem: What was searched.
        chosen: The precisions that ship.
        achieved: What groups ran in, by key.
        book: What is known about single groups.
        kept: Why the user's control leaves a group fewer choices, by key.
    """
    rows = []
    for group in problem.space.groups:
        free, settled = len(group.choices) > 1, kept.get(group.key)
        if free or settled:
            why = [_reason(problem, group, chosen, achieved, book)] if free else []
            plain = None if group.key in chosen else Precision.FP32
            ran = achieved.get(group.key, plain)
            rows.append(GroupEvidence(group.key, ran, "; ".join([*filter(None, [settled]), *why])))
    return tuple(rows)


def _reason(
    problem: Problem,
    group: LayerGroup,
    chosen: Assignment,
    achieved: Mapping[str, Precision],
    book: Ledger,
) -> str:
    precision = chosen[group.key]
    lowest = group.choices[-1]
    cost = book.cost.get((group.key, precision if precision in group.choices[1:] else lowest))
    parts = []
    if cost is not None:
        parts.append(
            f"alone in {lowest if precision is Precision.FP32 else precision} it costs {cost:.2e}"
        )
    saved = book.saved.get(group.key)
    if saved is not None:
        parts.append(f"{'saves' if saved >= 0 else 'loses'} {abs(saved) * 1e6:.1f} us in profiles")
    rules = [p for p in problem.priors if p.key == group.key and p.avoid]
    parts += [f"overrules a rule: {p.reason}" for p in rules if p.precision is precision]
    without = [p.reason for p in rules if p.precision.rank > precision.rank]
    excluded = list(book.excluded.get(group.key, ()))
    if precision is not Precision.FP32:
        ran = achieved.get(group.key)
        if ran is None:
            parts.append(f"asked {precision}; what it ran in, the engine does not tell")
        elif ran is not precision:
            parts.append(f"asked {precision}, ran {ran}")
        reasons = ["measured in the fastest engine within the bound", *parts, *excluded, *without]
        return "; ".join(reasons)
    ran = achieved.get(group.key, precision)
    if ran is not precision:
        parts.insert(0, f"asked {precision}, ran {ran}")
    wrong = cost is not None and cost > problem.goal.bound.tolerance
    return _reason_for_fp32(group, parts, excluded, without, known=cost is not None, wrong=wrong)


def _reason_for_fp32(
    group: LayerGroup,
    parts: Sequence[str],
    excluded: Sequence[str],
    without: Sequence[str],
    *,
    known: bool,
    wrong: bool,
) -> str:
    """Why a group is left in FP32.

    Args:
        group: The group.
        parts: What else is known of it.
        excluded: What was found to fail with it.
        without: Rules that advise against lower precisions.
        known: Whether its error alone was measured.
        wrong: Whether that is beyond the tolerance.
    """
    if excluded:
        return "; ".join([*excluded, *without, *parts])
    if without and (wrong or not known):
        return "; ".join([*without, *parts])
    if wrong:
        why = "too much error by itself"
    elif group.passive:
        why = "kept as its neighbours are, or measured no faster"
    else:
        why = "the fastest engine within the bound did without it"
    return "; ".join([why, *parts, *without])
