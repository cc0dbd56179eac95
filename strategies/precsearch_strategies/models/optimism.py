"""How much better the best of many candidates looks than it is, by the candidates built so far."""

from __future__ import annotations

import math
from dataclasses import dataclass

from precsearch_strategies.history import History

__all__ = ["Optimism", "optimism"]

_EXACT = 2.0  # engines that were predicted exactly, before the first one
_LATEST = 12  # engines
_MOST = 0.7  # logarithm of the use of the bound over its prediction, at most that counts
_MOST_RATIO = 0.1  # of FP32's latency, likewise


@dataclass(frozen=True, slots=True)
class Optimism:
    """What to add to predictions of candidates that are chosen for their predictions.

    Attributes:
        usage: Mean logarithm of the measured use of the bound over the predicted one.
        ratio: Mean of the measured latency less the predicted one, over FP32's.
    """

    usage: float
    ratio: float


def optimism(known: History) -> Optimism:
    """The mean error of the predictions that engines were chosen by, shrunk towards 0.

    Of several hundred candidates, the one that looks best is more often than not one that the
    models flatter (the optimizer's curse; Smith & Winkler, *Management Science* 52, 2006).

    Args:
        known: The trials; engines count for which it remembers an uncorrected prediction.
    """
    usages, ratios = list[float](), list[float]()
    for assignment, said in list(known.uncorrected.items())[-_LATEST:]:
        trial = known.engines.get(assignment)
        found, timed = known.usage(trial), known.ratio(trial)
        if found is None or timed is None:
            continue
        ratios.append(_within(timed - said.ratio, _MOST_RATIO))
        if found > 0 and said.usage > 0:  # predictions are in units of the bound asked for
            off = math.log(min(found, 1e6) * known.share / said.usage)
            usages.append(_within(off, _MOST))
    return Optimism(sum(usages) / (_EXACT + len(usages)), sum(ratios) / (_EXACT + len(ratios)))


def _within(value: float, most: float) -> float:
    return min(max(value, -most), most)
