"""The interface of a search strategy, and how right its models were.

A strategy is frozen options with one generator.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol, runtime_checkable

from precsearch.core.problem import Goal, Problem
from precsearch.core.trial import Proposal, Trial

__all__ = [
    "ENDINGS",
    "Ahead",
    "Ending",
    "Estimates",
    "PredictionErrors",
    "Proposals",
    "ReasonedProposals",
    "Strategy",
    "prediction_errors",
]


class Ahead(tuple[Proposal, ...]):
    """A batch whose trials a strategy does not wait for.

    It is sent one trial: the first one to be done of all that it has proposed so and has not been
    sent yet. It may propose nothing, and be sent the next one. So it can keep several devices busy
    (`Problem.devices`) and take answers as they come. On a resume they come in the same order.
    """

    __slots__ = ()


Proposals = Generator[Sequence[Proposal], Sequence[Trial], None]
"""Yields a batch, is sent the trials *in the order it proposed them*, ends by returning.

What is proposed as `Ahead` is answered one by one, in the order in which it is done.

The trials have canonical assignments (`SearchSpace.canonical`); a repeated proposal is answered
with the trial that is known. When the budget is spent the generator is closed.
"""


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a strategy ended, and what it still expected.

    Attributes:
        reason: A key of `ENDINGS`.
        expected_gain: The largest expected gain of all candidates that it knows and has not built,
            as a share of the latency of the fastest engine within the bound; ``None`` if it does
            not say.
    """

    reason: str
    expected_gain: float | None = None


ReasonedProposals = Generator[Sequence[Proposal], Sequence[Trial], Ending | str | None]
"""`Proposals` that also return why the strategy ended: an `Ending`, its reason, or ``None``."""

ENDINGS: Mapping[str, str] = MappingProxyType(
    {
        "baseline": "the FP32 engine did not run or is not within the bound",
        "complete": "every assignment was tried",
        "settled": "by the times of the engines so far, no other choice promises a gain",
        "converged": "no other candidate is expected to gain anything that matters",
        "patience": "several engines in a row brought no gain",
        "limit": "the strategy's own limit of engines was reached",
    }
)
"""Why a strategy ended, by code, with its meaning; a strategy may also return ``None``."""


@runtime_checkable
class Strategy(Protocol):
    """A frozen dataclass of options; all state lives in the generator."""

    def propose(self, problem: Problem, /) -> ReasonedProposals:
        """Search ``problem``; deterministic in the problem and the trials that are sent.

        Returns:
            When it ends: why, or ``None`` to give no reason (as `Proposals` do).
        """
        ...


@runtime_checkable
class Estimates(Strategy, Protocol):
    """A strategy that can say beforehand how many engines it will ask for."""

    def expected_builds(self, problem: Problem, /) -> tuple[int, int, int]:
        """The least, the likely and the most engines that count, FP32's own included."""
        ...


@dataclass(frozen=True, slots=True)
class PredictionErrors:
    """How far engines were from their predictions, as medians over the predicted engines.

    Relative errors are |measured / predicted - 1|.

    Attributes:
        engines: How many were predicted and ran.
        ratio: Relative error of the latency over FP32's.
        usage: Relative error of the share of the bound, of the engines whose output was finite.
        verdicts: How many ended on the predicted side of the bound.
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
        prediction, measurement = trial.proposal.predicted, trial.measurement
        if prediction is None or measurement is None or measurement.latency is None:
            continue
        usage = goal.usage(measurement)
        ratios.append(_relative(measurement.latency.ratio, prediction.ratio))
        right += (usage <= 1) == (prediction.usage <= 1)
        if math.isfinite(usage):
            usages.append(_relative(usage, prediction.usage))
    if not ratios:
        return None
    return PredictionErrors(
        len(ratios), statistics.median(ratios), statistics.median(usages or [math.inf]), right
    )


def _relative(measured: float, predicted: float) -> float:
    return abs(measured / predicted - 1) if predicted > 0 else math.inf
