"""Deprecated, for one release: use `precsearch.core.events`."""

from precsearch.core.events import (
    BatchProposed,
    Event,
    FinalistJudged,
    FinalistsTimed,
    FinalistTime,
    GroupOutline,
    PlanWritten,
    RunStarted,
    SearchContinued,
    SearchFinished,
    SearchStarted,
    StageStarted,
    TrialFinished,
    TrialStarted,
    Warned,
)

__all__ = [
    "BatchProposed",
    "Event",
    "FinalistJudged",
    "FinalistTime",
    "FinalistsTimed",
    "GroupOutline",
    "PlanWritten",
    "RunStarted",
    "SearchContinued",
    "SearchFinished",
    "SearchStarted",
    "StageStarted",
    "TrialFinished",
    "TrialStarted",
    "Warned",
]
