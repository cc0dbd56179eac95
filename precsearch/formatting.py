"""Numbers, names and symbols as people read them, on a terminal and in a report."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from precsearch.core.backend import fp32_words
from precsearch.core.errors import OptionError
from precsearch.core.precision import Precision
from precsearch.system.printable import ASCII, UNICODE, Glyphs, clean

if TYPE_CHECKING:
    from precsearch.core.strategy import PredictionErrors
    from precsearch.metrics import Metric
    from precsearch.plan.plan import Evidence

__all__ = [
    "ASCII",
    "UNICODE",
    "Glyphs",
    "Scale",
    "clean",
    "counts",
    "duration",
    "fp32_told",
    "loss_bound",
    "magnitude",
    "many",
    "milliseconds",
    "number",
    "prediction_summary",
    "speedup",
    "speedup_interval",
]


@dataclass(frozen=True, slots=True)
class Scale:
    """How losses of one metric are written: in the terms in which the user gave the tolerance.

    Attributes:
        metric: Name of the metric. One that is not built in is written as it is.
        glyphs: Symbols.
    """

    metric: str
    glyphs: Glyphs = UNICODE

    def __call__(self, loss: float, digits: int = 3) -> str:
        """A loss with its unit."""
        known = _known(self.metric)
        if known is None:
            return number(loss, digits)
        shown = number(known.display(loss), digits)
        return f"{shown} {known.unit}" if known.unit else shown

    def bound(self, loss: float) -> str:
        """A bound, such as ``rel-l2 ≤ 0.01`` or ``sqnr ≥ 40 dB``."""
        known = _known(self.metric)
        floor = known is not None and known.unit == "dB"
        sign = self.glyphs.at_least if floor else self.glyphs.at_most
        return f"{clean(self.metric)} {sign} {self(loss)}"

    def share(self, loss: float, bound: float) -> str:
        """How much of the bound a loss uses, such as ``79 %``; empty where that says nothing."""
        if not (math.isfinite(loss) and bound > 0):
            return ""
        share = loss / bound
        if share >= 10:
            return f"{number(min(share, 1e6), 2)}x"
        return f"{share * 100:.0f} %"

    def of_bound(self, loss: float, bound: float) -> str:
        """`share` in words: ``79 % of the bound``, ``18x the bound``; empty where `share` is."""
        share = self.share(loss, bound)
        return f"{share} {'of ' if share.endswith('%') else ''}the bound" if share else ""


def _known(metric: str) -> Metric | None:
    """A metric by the name in a plan or journal, which may be of a plug-in that is not here."""
    from precsearch.metrics import named  # late: `inspect` shows no loss

    try:
        return named(metric)
    except OptionError:
        return None


def loss_bound(metric: str, tolerance: float) -> float:
    """The tolerance as a bound on the loss (they differ where the metric is in dB)."""
    known = _known(metric)
    return known.bound(tolerance) if known is not None else tolerance


def number(value: float, digits: int = 3) -> str:
    """A number with some significant digits: ``0.00798``, ``1.2e-5``, ``inf``."""
    text = f"{value:.{digits}g}"
    mantissa, e, exponent = text.partition("e")
    return f"{mantissa}e{int(exponent)}" if e else text


def speedup(ratio: float) -> str:
    """A ratio of latencies (candidate over FP32) as a speed-up: ``2.31x``."""
    if not (math.isfinite(ratio) and ratio > 0):
        return "?"
    return f"{_factor(1 / ratio)}x"


def _factor(value: float) -> str:
    return f"{value:.2f}" if value < 100 else number(value)


def speedup_interval(low: float, high: float) -> str:
    """The interval of a ratio as one of speed-ups: ``2.26 to 2.37``; empty if it is none."""
    if not (math.isfinite(low) and math.isfinite(high) and 0 < low <= high):
        return ""
    return f"{_factor(1 / high)} to {_factor(1 / low)}"


def prediction_summary(errors: PredictionErrors) -> str:
    """How right a search's models were: ``latency off by 1.2 %, loss by 9 % …``."""
    loss = f", loss by {100 * errors.usage:.0f} %" if math.isfinite(errors.usage) else ""
    return (
        f"latency off by {100 * errors.ratio:.1f} %{loss} (medians of "
        f"{many(errors.engines, 'engine')}); {errors.verdicts} of {errors.engines} pass or miss as "
        "predicted"
    )


def duration(seconds: float) -> str:
    """``0.4s``, ``12s``, ``2m05s``, ``1h03m``."""
    if not math.isfinite(seconds) or seconds < 0:
        return "?"
    if seconds < 9.95:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


def milliseconds(seconds: float) -> str:
    """A latency: ``2.84 ms``, ``91.2 us``."""
    if seconds < 1e-3:
        return f"{number(seconds * 1e6)} us"
    return f"{number(seconds * 1e3)} ms" if seconds < 1 else f"{number(seconds)} s"


def magnitude(value: float) -> str:
    """``950``, ``12.3k``, ``4.09M``, ``1.2G``."""
    for limit, divisor, suffix in ((1e3, 1, ""), (1e6, 1e3, "k"), (1e9, 1e6, "M")):
        if value < limit:
            return f"{number(value / divisor)}{suffix}"
    return f"{number(value / 1e9, 4)}G"


def counts(per_precision: Mapping[str, int], glyphs: Glyphs = UNICODE) -> str:
    """Groups per precision, lowest first: ``41 int8 · 12 fp32``; zeros are left out."""
    order = {p.value: -p.rank for p in Precision.ordered()}
    rows = sorted(per_precision.items(), key=lambda row: (order.get(row[0], 1), row[0]))
    shown = [f"{count} {clean(name)}" for name, count in rows if count]
    return f" {glyphs.dot} ".join(shown)


def many(count: int, one: str, more: str = "") -> str:
    """``1 engine``, ``2 engines``, ``2 proxies``."""
    return f"{count} {one if count == 1 else more or one + 's'}"


def fp32_told(evidence: Evidence, scale: Scale) -> str:
    """The ways to compute FP32 that were measured, the one that speeds are relative to first."""
    rows = sorted(evidence.fp32, key=lambda e: not e.baseline)
    return "; ".join(
        f"{fp32_words(e.mode)}: {milliseconds(e.seconds)}, off by {scale(e.loss)}"
        f"{', which speeds are relative to' if e.baseline else ''}"
        f"{'' if e.passed else ', over the bound'}"
        for e in rows
    )
