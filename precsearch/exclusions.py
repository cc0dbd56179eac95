"""Which choices of precision make engines unusable, as it follows from the trials alone.

An engine is unusable if it failed (it did not build, crashed, hung, ran out of memory) or if its
output was not finite. A culprit is a set of choices; an engine that has all of them is unusable.
What one engine with a set shows is therefore true of every engine with more choices: a usable
engine clears every set of its choices, and an unusable engine has a culprit among them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from precsearch.space import Assignment, Precision
from precsearch.trial import Failed, Fidelity, Trial

__all__ = ["Exclusion", "exclusion_reasons", "exclusions", "unusable"]

_MOST = 3  # choices of a culprit; more of them name no cause
_TWICE = (
    2  # one failure may be chance (memory, a crash of the driver), two with one culprit are not
)

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
    found = trial.measurement
    return found is None or not math.isfinite(found.accuracy.loss)


def exclusions(trials: Iterable[Trial]) -> tuple[Exclusion, ...]:
    """The culprits that the engines among ``trials`` prove.

    A choice is necessary in an unusable engine if a usable engine has all of its other choices.
    The necessary choices of an engine are a culprit if no usable engine has them all, and if two
    unusable engines have them (or one engine that lowers nothing else). Proxies take no part.

    Args:
        trials: Of one search space, in any order.

    Returns:
        The smallest culprits, in the order of the first engine that has each.
    """
    engines = sorted(
        (t for t in trials if t.proposal.fidelity is Fidelity.ENGINE), key=lambda t: t.number
    )
    ran = [t for t in engines if t.measurement is not None]
    failed = _culprits([t for t in engines if t.measurement is None], ran)
    wrong = _culprits([t for t in ran if unusable(t)], [t for t in ran if not unusable(t)])
    found: dict[Choices, Exclusion] = {}
    for exclusion in (*failed, *wrong):
        found.setdefault(frozenset(exclusion.choices.entries), exclusion)
    return tuple(e for choices, e in found.items() if not any(o < choices for o in found))


def _culprits(bad: Sequence[Trial], good: Sequence[Trial]) -> list[Exclusion]:
    """Those of one kind of failure."""
    cleared = [frozenset(t.assignment.entries) for t in good]
    rows = [(frozenset(t.assignment.entries), t) for t in bad]
    found: dict[Choices, Exclusion] = {}
    for choices, _ in rows:
        left = [choices - other for other in cleared]
        culprit = frozenset(next(iter(rest)) for rest in left if len(rest) == 1)
        if not 0 < len(culprit) <= _MOST or culprit in found:
            continue
        if any(culprit <= other for other in cleared):
            continue
        having = [trial for other, trial in rows if culprit <= other]
        if len(having) >= _TWICE or culprit == choices:
            first = having[0]
            message = first.outcome.message if isinstance(first.outcome, Failed) else ""
            lowered = Assignment.of(dict(culprit))
            found[culprit] = Exclusion(lowered, _how(first), message, len(having))
    return list(found.values())


def _how(trial: Trial) -> str:
    """What an unusable engine does, as a verb for "an engine that …"."""
    outcome = trial.outcome
    if not isinstance(outcome, Failed):
        return "gives output that is not finite"
    by_kind = {"crash": "crashes", "timeout": "hangs", "memory": "runs out of memory"}
    by_stage = {"lower": "cannot be written", "build": "does not build"}
    return by_kind.get(outcome.kind) or by_stage.get(outcome.stage, "does not run")


def exclusion_reasons(excluded: Iterable[Exclusion]) -> Mapping[str, tuple[str, ...]]:
    """What each group's excluded choices are excluded for, by group key.

    For example ``INT8 excluded: does not build beside INT8 of 'conv_3' (3 engines: mergeScales)``.

    Args:
        excluded: What `exclusions` found.

    Returns:
        Group key → one clause for each exclusion that the group takes part in.
    """
    found: dict[str, tuple[str, ...]] = {}
    for exclusion in excluded:
        count = f"{exclusion.engines} engine{'s' if exclusion.engines > 1 else ''}"
        detail = f"{count}: {exclusion.message}" if exclusion.message else count
        for key, precision in exclusion.choices.entries:
            others = [f"{p.upper()} of {k!r}" for k, p in exclusion.choices.entries if k != key]
            beside = f" beside {' and '.join(others)}" if others else ""
            clause = f"{precision.upper()} excluded: {exclusion.how}{beside} ({detail})"
            found[key] = (*found.get(key, ()), clause)
    return found
