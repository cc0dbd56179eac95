"""How right the models of a search were: what they predicted of engines against what came out."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass

from precsearch.core.problem import Goal
from precsearch.core.trial import Trial

__all__ = ["PredictionErrors", "prediction_errors"]


@dataclass(frozen=True, slots=True)
class PredictionErrors:
    """How far engines were from their predictions, as medians over the predicted engines.

    Relative errors are |measured / predicted - 1|.

    Attributes:
        engines: How many were predicted and ran.
        ratio: Relative error of the latency over FP32's.
        usage: Relative error of the share of the bound, of the engines whose output was finite.
        verdicts: For how many it was foreseen on which side of the bound they end.
    """

    engines: int
    ratio: float
    usage: float
    verdicts: int


def prediction_errors(goal: Goal, trials: Iterable[Trial]) -> PredictionErrors | None:
    """Compare the predictions of engines with their measurements.

    Args:
        goal: What the bound is.
        trials: Of one search.

    Returns:
        ``None`` where nothing was predicted, or nothing that ran.
    """
    ratios, usages, right = [], [], 0
    for trial in trials:
        said, found = trial.proposal.predicted, trial.measurement
        if said is None or found is None or found.latency is None:
            continue
        usage = goal.usage(found)
        ratios.append(_relative(found.latency.ratio, said.ratio))
        right += (usage <= 1) == (said.usage <= 1)
        if math.isfinite(usage):
            usages.append(_relative(usage, said.usage))
    if not ratios:
        return None
    return PredictionErrors(
        len(ratios), statistics.median(ratios), statistics.median(usages or [math.inf]), right
    )


def _relative(measured: float, predicted: float) -> float:
    return abs(measured / predicted - 1) if predicted > 0 else math.inf
