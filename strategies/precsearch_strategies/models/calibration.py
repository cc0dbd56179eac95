"""How far the models of this search were off so far, and how much their doubt is worth."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from precsearch_strategies.encoding import Floats
from precsearch_strategies.history import History

__all__ = ["Calibration", "calibration"]

_EXACT = 2.0  # engines that were predicted exactly, before the first one
_AS_STATED = 3.0  # engines that were as far off as the models had said, before the first one
_LATEST = 12  # engines
_MOST = 0.7  # logarithm of the use of the bound over its prediction, at most that counts
_MOST_RATIO = 0.1  # of FP32's latency, at most that counts
_SCATTER = 0.03  # standard deviation of the logarithm of a measured usage
_FARTHEST = 6.0  # deviations, at most that count
_RESOLUTION = 0.002  # of a predicted latency over FP32's
_STRETCH = (0.5, 4.0)  # the least and the most that a stated deviation is multiplied by


@dataclass(frozen=True, slots=True)
class Calibration:
    """What to make of predictions of candidates that are chosen for their predictions.

    Attributes:
        usage: What to add to the logarithm of a predicted use of the bound: the mean error.
        ratio: What to add to a predicted latency over FP32's: the mean error.
        doubt: Standard deviation of the latter, which all candidates share.
        stretch: Factor on the standard deviation that the latency model states.
        usage_stretch: The same of the error model.
    """

    usage: float
    ratio: float
    doubt: float
    stretch: float
    usage_stretch: float

    def corrected(self, mean: Floats, spread: Floats, least: Floats) -> tuple[Floats, Floats]:
        """(c,) means and standard deviations of latencies over FP32's, corrected.

        Args:
            mean: (c,) what the latency model predicts.
            spread: (c,) standard deviations that it states.
            least: (c,) latencies that are physically possible; nothing goes below them.
        """
        means = np.maximum(mean + self.ratio, least)
        spreads = np.hypot(self.stretch * spread, self.doubt)
        return means, np.minimum(spreads, means - least + _RESOLUTION)


def calibration(known: History, widening: float = 1.0) -> Calibration:
    """Compare what the models said of engines before they were built with what came out.

    Of several hundred candidates, the one that looks best is more often than not one that the
    models flatter (the optimizer's curse; Smith & Winkler, *Management Science* 52, 2006): the mean
    error, shrunk towards 0. A model that states a deviation is calibrated if its errors over that
    deviation have a mean square of 1; the root of that mean, shrunk towards 1, is the stretch.

    Args:
        known: The trials; engines count for which it remembers a forecast.
        widening: See `precsearch_strategies.models.latency.LatencyModel`; forecasts are in units of
            it, since it has changed with what was measured since.
    """
    usages, ratios, squares = list[float](), list[float](), list[float]()
    for assignment, forecast in list(known.forecasts.items())[-_LATEST:]:
        trial = known.engines.get(assignment)
        usage, timed = known.usage(trial), known.ratio(trial)
        if usage is None or timed is None:
            continue
        off = timed - forecast.ratio
        ratios.append(_within(off, _MOST_RATIO))
        squares.append(
            (off / math.hypot(widening * forecast.spread, known.timing_error(timed))) ** 2
        )
        if usage > 0 and forecast.usage > 0:  # forecasts are in units of the bound asked for
            more = math.log(min(usage, 1e6) * known.share / forecast.usage)
            usages.append(_within(more, _MOST))
    count = len(ratios)
    mean = sum(ratios) / (_EXACT + count)
    apart = sum((r - mean) ** 2 for r in ratios) / max(count, 1)
    stretch = math.sqrt((_AS_STATED + sum(squares)) / (_AS_STATED + count))
    return Calibration(
        sum(usages) / (_EXACT + len(usages)),
        mean,
        math.sqrt(apart / (_EXACT + count)),
        min(max(stretch, _STRETCH[0]), _STRETCH[1]),
        _usage_stretch(known),
    )


def _usage_stretch(known: History) -> float:
    """From the first forecast of each candidate that was measured since, by proxy or engine."""
    squares = list[float]()
    for assignment, forecast in known.foreseen.items():
        trial = known.engines.get(assignment) or known.proxies.get(assignment)
        usage = known.usage(trial)
        if usage is None or not 0 < usage < math.inf:
            continue
        off = math.log(usage * known.share / forecast.usage)
        squares.append(min(abs(off) / math.hypot(forecast.doubt, _SCATTER), _FARTHEST) ** 2)
    stretch = math.sqrt((_AS_STATED + sum(squares)) / (_AS_STATED + len(squares)))
    return min(max(stretch, 1.0), _STRETCH[1])


def _within(value: float, most: float) -> float:
    return min(max(value, -most), most)
