"""Whether and how a search goes on when faster finalists miss the bound on the holdout.

The search samples said that an engine is within the bound, and the holdout says otherwise. What is
off by that much is known now, so the search goes on with a tighter bound, and with everything that
was measured. Every look at the holdout chooses a little by the holdout, so the
number of continuations is limited.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from statistics import median

from precsearch.core.problem import Bound, Goal
from precsearch.core.trial import Fidelity, Measured, Trial
from precsearch.plan.plan import Finalist

__all__ = ["MOST", "as_seen", "gained", "tightened"]

MOST = 3
"""Times that a search goes on."""
_MARGIN = 0.9
"""Share of the scaled bound that is searched: another engine's losses differ by another factor."""
_CLOSE = 1.2
"""Tolerances nearer to each other than that are not told apart by another search."""
_UNKNOWN = 0.5
"""The factor where losses give none: no loss at all, or one that is not finite."""


def gained(goal: Goal, looks: Sequence[Finalist], ratio: float) -> bool:
    """Whether a faster engine than the one that passed may exist, as far as the looks tell.

    Args:
        goal: With the bound that was asked for.
        looks: Finalists so far.
        ratio: Latency of the engine that passed, over FP32's.

    Returns:
        Whether one that missed is faster beyond the noise.
    """
    missed = [look.ratio for look in looks if not look.passed]
    return bool(missed) and min(missed) < ratio * (1 - goal.noise)


def tightened(bound: Bound, looks: Sequence[Finalist], tried: Sequence[float]) -> float | None:
    """The tolerance of the next search, ``None`` where there is none worth a search.

    Engines that lose as much as the finalists that missed are within the bound on the holdout at
    the tolerance scaled by search loss over holdout loss. Often one group is to blame, and others
    lose nothing, so the tolerance is bisected (in logarithms) between that and the one that was
    missed at. The last search takes the scaled tolerance where none has done without a miss.

    Args:
        bound: As asked for.
        looks: Finalists so far, at least one of which missed.
        tried: Tolerances of the searches that have gone on so far.
    """
    missed = [look for look in looks if not look.passed]
    low = _MARGIN * bound.tolerance * median(map(_factor, missed))
    high, held = bound.tolerance, 0.0
    for number, tolerance in enumerate(tried, 1):
        if any(look.round == number for look in missed):
            high = min(high, tolerance)
        else:
            held = max(held, tolerance)
    low = min(max(low, held), _MARGIN * high)
    if not held and len(tried) == MOST - 1:
        return low
    return None if held and high < _CLOSE * held else math.sqrt(low * high)


def _factor(look: Finalist) -> float:
    """Loss on the search part over that on the holdout, which is less than 1 for a miss."""
    held_out = math.inf if look.holdout_loss is None else look.holdout_loss
    if not (look.search_loss > 0 and math.isfinite(held_out)):
        return _UNKNOWN
    return min(look.search_loss / held_out, 1.0)


def as_seen(trials: Sequence[Trial], looks: Sequence[Finalist]) -> tuple[Trial, ...]:
    """The trials with the worse of their two losses, where an engine missed on the holdout.

    So it passes under no bound that its holdout loss does not meet.
    """
    worse = {look.trial: look.holdout_loss for look in looks if not look.passed}

    def seen(trial: Trial) -> Trial:
        loss, outcome = worse.get(trial.number), trial.outcome
        engine = trial.proposal.fidelity is Fidelity.ENGINE
        if loss is None or not engine or not isinstance(outcome, Measured):
            return trial
        measurement = outcome.measurement
        accuracy = replace(
            measurement.accuracy,
            loss=max(measurement.accuracy.loss, loss),
            upper=max(measurement.accuracy.upper, loss),
        )
        return replace(trial, outcome=Measured(replace(measurement, accuracy=accuracy)))

    return tuple(map(seen, trials))
