"""What failed engines say: which choices make engines unusable, and what a budget counts.

An engine is unusable if it failed (it did not build, crashed, hung, ran out of memory) or if its
output was not finite. A culprit is a set of choices; an engine that has all of them is unusable.
What one engine with a set shows is therefore true of every engine with more choices: a usable
engine clears every set of its choices, and an unusable engine has a culprit among them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from precsearch.core.precision import Precision
from precsearch.core.space import Assignment
from precsearch.core.trial import Failed, Fidelity, Trial

__all__ = [
    "FREE_FAILURES",
    "LONG_S",
    "Exclusion",
    "built",
    "exclusion_reasons",
    "exclusions",
    "half_located",
    "unusable",
]

FREE_FAILURES = 40
"""Failures in a row that are not counted. Each further one is, so a search ends where all fail."""

LONG_S = 60.0
"""Seconds from which on a failure is counted, because it cost as much as an engine."""

_MOST = 3  # choices of a culprit; more of them name no cause
_SHORT = 120  # characters of a message that a reason quotes
# One failure may be chance (memory, a crash of the driver), two with one culprit are not.
_TWICE = 2

Choice = tuple[str, Precision]
Choices = frozenset[Choice]


@dataclass(frozen=True, slots=True)
class Exclusion:
    """A set of choices that no usable engine has, and that engines became unusable by.

    Attributes:
        choices: One to three choices; the group keys are sorted.
        how: What engines with all of them do: ``does not build``, ``crashes``, …
        message: What the first of these engines failed with, "" where its output was not finite.
        engines: How many engines with all of them were unusable.
    """

    choices: Assignment
    how: str
    message: str
    engines: int

    def within(self, assignment: Assignment) -> bool:
        """Whether ``assignment`` has all of the choices."""
        return all(assignment[key] is precision for key, precision in self.choices.entries)


def unusable(trial: Trial) -> bool:
    """Whether a trial failed or gave output that was not finite."""
    measurement = trial.measurement
    return measurement is None or not math.isfinite(measurement.accuracy.loss)


def exclusions(trials: Iterable[Trial]) -> tuple[Exclusion, ...]:
    """The culprits that the engines among ``trials`` prove.

    A choice is necessary in an unusable engine if a usable engine has all of its other choices.
    The necessary choices of an engine are a culprit if no usable engine has them all, if two
    unusable engines have them (or one engine that lowers nothing else), and if no further choice of
    their precision is in all of these: it might be a part of the culprit that was not located
    (`half_located`). Proxies take no part.

    Args:
        trials: Of one search space, in any order.

    Returns:
        The smallest culprits, in the order of the first engine that has each.
    """
    excluded: dict[Choices, Exclusion] = {}
    for bad, good in _kinds(trials):
        rows, cleared = [(_choices(t), t) for t in bad], [_choices(t) for t in good]
        for choices, _ in rows:
            culprit = _necessary(choices, cleared)
            if not 0 < len(culprit) <= _MOST or any(culprit <= other for other in cleared):
                continue
            having = [trial for other, trial in rows if culprit <= other]
            if (len(having) >= _TWICE or culprit == choices) and not _partners(culprit, having):
                excluded.setdefault(culprit, _exclusion(culprit, having))
    return tuple(e for choices, e in excluded.items() if not any(o < choices for o in excluded))


def half_located(trials: Iterable[Trial]) -> tuple[Exclusion, ...]:
    """Choices that an unusable engine needs for its failure, and that are usable in other engines.

    Beside which other choice they are not is unknown. So is whether there is one for a choice that
    no usable engine has, as long as all unusable engines with it share other choices of its
    precision. What `exclusions` explains is left out.

    Args:
        trials: Of one search space, in any order.

    Returns:
        An exclusion of one choice each, in the order of the first engine that has each. It does
        not hold of every engine with that choice.
    """
    trials = tuple(trials)
    proven = exclusions(trials)
    excluded: dict[Choices, Exclusion] = {}
    for bad, good in _kinds(trials):
        cleared = [_choices(t) for t in good]
        for trial in bad:
            culprit = _necessary(_choices(trial), cleared)
            explained = any(e.within(trial.assignment) for e in proven)
            if len(culprit) != 1 or explained:
                continue
            having = [t for t in bad if culprit <= _choices(t)]
            seen = len(having) >= _TWICE and _partners(culprit, having)
            if seen or any(culprit <= other for other in cleared):
                excluded.setdefault(culprit, _exclusion(culprit, [trial]))
    return tuple(excluded.values())


def _kinds(trials: Iterable[Trial]) -> tuple[tuple[list[Trial], list[Trial]], ...]:
    """(unusable, usable) engines by number: those that failed, and those that are not finite."""
    engines = sorted(
        (t for t in trials if t.proposal.fidelity is Fidelity.ENGINE), key=lambda t: t.number
    )
    ran = [t for t in engines if t.measurement is not None]
    failed = [t for t in engines if t.measurement is None]
    wrong, right = [t for t in ran if unusable(t)], [t for t in ran if not unusable(t)]
    return (failed, ran), (wrong, right)


def _choices(trial: Trial) -> Choices:
    return frozenset(trial.assignment.entries)


def _necessary(choices: Choices, cleared: Sequence[Choices]) -> Choices:
    """Those of an unusable engine's choices without which it would be usable."""
    left = [choices - other for other in cleared]
    return frozenset(next(iter(rest)) for rest in left if len(rest) == 1)


def _partners(culprit: Choices, having: Sequence[Trial]) -> Choices:
    """Other choices of the culprit's precisions that every one of these engines has."""
    shared = frozenset.intersection(*(_choices(t) for t in having)) - culprit
    low = {precision for _, precision in culprit}
    return frozenset(c for c in shared if c[1] in low)


def _exclusion(culprit: Choices, having: Sequence[Trial]) -> Exclusion:
    first = having[0]
    message = first.outcome.message if isinstance(first.outcome, Failed) else ""
    return Exclusion(Assignment.of(dict(culprit)), _how(first), message, len(having))


def _how(trial: Trial) -> str:
    """What an unusable engine does, as a verb for "an engine that …"."""
    outcome = trial.outcome
    if not isinstance(outcome, Failed):
        return "gives output that is not finite"
    by_kind = {"crash": "crashes", "timeout": "hangs", "memory": "runs out of memory"}
    by_stage = {"lower": "cannot be written", "build": "does not build"}
    return by_kind.get(outcome.kind) or by_stage.get(outcome.stage, "does not run")


def exclusion_reasons(trials: Iterable[Trial]) -> Mapping[str, tuple[str, ...]]:
    """What the trials exclude each group's choices for, by group key.

    For example ``INT8 excluded: does not build beside INT8 of 'conv_3' (3 engines: mergeScales)``.

    Args:
        trials: Of one search space, in any order.

    Returns:
        Group key → one clause for each exclusion that the group takes part in.
    """
    trials = tuple(trials)
    reasons: dict[str, tuple[str, ...]] = {}
    for exclusion in exclusions(trials):
        for key, precision in exclusion.choices.entries:
            others = [f"{p.upper()} of {k!r}" for k, p in exclusion.choices.entries if k != key]
            beside = f" beside {' and '.join(others)}" if others else ""
            clause = f"{precision.upper()} excluded: {exclusion.how}{beside} ({_seen(exclusion)})"
            reasons[key] = (*reasons.get(key, ()), clause)
    for exclusion in half_located(trials):
        ((key, precision),) = exclusion.choices.entries
        clause = (
            f"{precision.upper()} left out: {exclusion.how} beside another choice, which was not "
            f"located ({_seen(exclusion)})"
        )
        reasons[key] = (*reasons.get(key, ()), clause)
    return reasons


def _seen(exclusion: Exclusion) -> str:
    """How many engines show it, and what the first of them said."""
    count = f"{exclusion.engines} engine{'s' if exclusion.engines > 1 else ''}"
    short = exclusion.message[:_SHORT] + ("…" if len(exclusion.message) > _SHORT else "")
    return f"{count}: {short}" if short else count


def built(trials: Iterable[Trial]) -> int:
    """The engines among ``trials`` that a budget of engines counts.

    These are the engines that ran, those that hung or failed after a minute or more, and failures
    beyond 40 in a row. The time of every failure counts towards a time budget.

    Args:
        trials: Of one search, in any order; proxies are left out.

    Returns:
        Their number.
    """
    count, row = 0, 0
    engines = (t for t in trials if t.proposal.fidelity is Fidelity.ENGINE)
    for trial in sorted(engines, key=lambda t: t.number):
        failed = isinstance(trial.outcome, Failed)
        row = row + 1 if failed else 0
        count += not failed or _long(trial) or row > FREE_FAILURES
    return count


def _long(trial: Trial) -> bool:
    outcome = trial.outcome
    return isinstance(outcome, Failed) and (outcome.kind == "timeout" or trial.seconds >= LONG_S)
