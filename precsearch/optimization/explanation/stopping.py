"""Why a search ended, in words, and whether its end allows a conclusion."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

from precsearch.core.objective import Objective
from precsearch.core.strategy import ENDINGS, PredictionErrors
from precsearch.plan.plan import Plan

__all__ = ["CONCLUSIVE", "conclusive", "fp32_is_fastest", "limit_of", "why_stopped"]

CONCLUSIVE = frozenset({"complete", "converged"})
"""Codes of searches that ended since nothing was left that could be faster, or by their models."""

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


def why_stopped(
    reason: str,
    expected_gain: float | None = None,
    predictions: PredictionErrors | None = None,
    objective: Objective = Objective.LATENCY,
) -> str:
    """Why a search ended, in words.

    Args:
        reason: Of a `precsearch.core.events.SearchFinished`; a foreign one is told as it is.
        expected_gain: What the strategy still expected of other candidates.
        predictions: How far its models were off; ``None`` if they predicted no engine.
        objective: What was minimized.
    """
    if objective is Objective.SIZE:
        return _WORDS.get(reason, reason).replace("faster", "smaller")
    if reason != "converged" or expected_gain is None:
        return _WORDS.get(reason, reason)
    # A bound that is rounded up is true, a rounded number may be too small.
    bound = max(math.ceil(1000 * expected_gain), 1) / 10
    return (
        f"no other candidate is expected to gain {bound:g} % or more, by models that "
        f"{_tested(predictions)}"
    )


def _tested(predictions: PredictionErrors | None) -> str:
    """How far models were off."""
    if predictions is None:
        return "no engine has tested"
    count = predictions.engines
    by = "the one engine" if count == 1 else f"{count} engines, by their median"
    return f"were off by {100 * predictions.ratio:.2g} % in latency (of {by})"


def conclusive(reason: str, predictions: PredictionErrors | None) -> bool:
    """Whether an end allows to say that nothing is faster: by trying all, or by tested models.

    Args:
        reason: Of a `precsearch.core.events.SearchFinished`.
        predictions: How far the strategy's models were off; ``None`` if no engine tested them.
    """
    return reason == "complete" or (reason == "converged" and predictions is not None)


def limit_of(reason: str) -> str:
    """What cut a search short; "" if it ended by itself."""
    return _LIMITS.get(reason, "")


def fp32_is_fastest(plan: Plan) -> bool:
    """Whether the search of a plan that ships FP32 allows to call FP32 the fastest.

    It does not if the search was cut short or gave up, if it ended by models that no engine has
    tested (unless every group that was measured alone is over the bound), if a faster engine missed
    the bound on the holdout, or if no engine of lower precision ran although some group may have
    one.
    """
    evidence = plan.evidence
    if not evidence.groups:
        return True
    ran = any(t.counts and t.ratio is not None for t in evidence.trials)
    missed = any(not look.passed for look in evidence.finalists)
    alone = [t.loss for t in evidence.trials if sum(t.counts.values()) == 1 and t.loss is not None]
    over = bool(alone) and min(alone) > plan.criteria.tolerance
    sure = conclusive(evidence.stopped, evidence.predictions) or (
        over and evidence.stopped in CONCLUSIVE
    )
    return sure and ran and not missed
