"""How many engines a search has built and timed, which is what a budget of engines limits."""

from __future__ import annotations

from collections.abc import Iterable

from precsearch.core.trial import Failed, Fidelity, Trial

__all__ = ["FREE_FAILURES", "LONG_S", "built"]

FREE_FAILURES = 40
"""Failures in a row that are not counted. Each further one is, so a search ends where all fail."""

LONG_S = 60.0
"""Seconds from which on a failure is counted, because it cost as much as an engine."""


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
