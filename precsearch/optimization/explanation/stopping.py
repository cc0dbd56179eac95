"""Why a search ended, in words, and whether its end allows a conclusion."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from precsearch.core.objective import Objective
from precsearch.core.strategy import ENDINGS
from precsearch.plan.plan import Plan

__all__ = ["CONCLUSIVE", "fp32_is_fastest", "limit_of", "why_stopped"]

CONCLUSIVE = frozenset({"complete", "converged"})
"""Codes of searches that ended since nothing was left that could be faster."""

_WORDS: Mapping[str, str] = MappingProxyType(
    {
        **ENDINGS,
        "done": "the strategy ended without saying why",
        "builds": "the budget of engines was spent",
        "time": "the time budget was spent",
        "interrupted": "interrupted",
    }
)

_LIMITS: Mapping[str, str] = MappingProxyType(
    {
        "builds": "--max-builds",
        "time": "--time-budget",
        "interrupted": "an interrupt",
        "limit": "the strategy's own limit of engines",
    }
)


def why_stopped(reason: str, objective: Objective = Objective.LATENCY) -> str:
    """The reason of a `precsearch.core.events.SearchFinished` in words; a foreign one as it is.

    Args:
        reason: Of the event.
        objective: What was minimised.
    """
    said = _WORDS.get(reason, reason)
    if objective is Objective.SIZE:
        said = said.replace("faster beyond the noise", "smaller").replace("faster", "smaller")
    return said


def limit_of(reason: str) -> str:
    """What cut a search short; "" if it ended by itself."""
    return _LIMITS.get(reason, "")


def fp32_is_fastest(plan: Plan) -> bool:
    """Whether the search of a plan that ships FP32 allows to call FP32 the fastest.

    It does not if the search was cut short or gave up, if a faster engine missed the bound on the
    holdout, or if no engine of lower precision ran although some group may have one.
    """
    evidence = plan.evidence
    if not evidence.groups:
        return True
    ran = any(t.counts and t.ratio is not None for t in evidence.trials)
    missed = any(not look.passed for look in evidence.finalists)
    return evidence.stopped in CONCLUSIVE and ran and not missed
