"""Losses of an engine's outputs against the reference, by name.

``metric(name).score(outputs, reference, labels, sizes=...)`` gives a `trial.Accuracy`. A loss is
always lower-is-better; `Metric.bound` turns the user's tolerance into a bound on it (sqnr and psnr
are floors in dB), `Metric.display` turns a loss back.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

from precsearch.core.backend import Feed
from precsearch.core.errors import OptionError
from precsearch.core.trial import Accuracy
from precsearch.metrics.custom import Custom
from precsearch.metrics.elementwise import COSINE, PSNR, REL_L2, REL_L2_MAX, SQNR
from precsearch.metrics.parts import lost_parts
from precsearch.metrics.per_output import PerOutput, per_output_name, per_output_of
from precsearch.metrics.protocol import Metric, resolution
from precsearch.metrics.scales import scale_gaps
from precsearch.metrics.table import find, names, shipped

__all__ = [
    "METRICS",
    "Metric",
    "PerOutput",
    "code_digest",
    "metric",
    "metric_key",
    "named",
    "names",
    "per_output_name",
    "resolution",
    "scale_notes",
    "with_lost_parts",
    "worst_of",
]

METRICS: dict[str, Metric] = shipped()
"""The built-in metrics by name, the default first."""

_ONE_NORM = frozenset(m.name for m in (REL_L2, REL_L2_MAX, COSINE, SQNR, PSNR))


def with_lost_parts(
    measure: Metric, accuracy: Accuracy, outputs: Sequence[Feed], reference: Sequence[Feed]
) -> Accuracy:
    """A score with the parts that it hides, where the metric is one norm over an output."""
    if measure.name not in _ONE_NORM or not math.isfinite(accuracy.loss):
        return accuracy
    return replace(accuracy, lost=lost_parts(outputs, reference))


def worst_of(scores: Iterable[Accuracy]) -> Accuracy:
    """The score with the largest loss, the first of equals, with what is odd in any of them.

    Args:
        scores: At least one.
    """
    scored = list(scores)
    worst = max(scored, key=lambda a: a.loss)
    return replace(
        worst,
        upper=max(a.upper for a in scored),
        mismatches=tuple(m for a in scored for m in a.mismatches),
        lost=tuple(p for a in scored for p in a.lost),
    )


def code_digest(metric: Metric) -> str:
    """SHA-256 of the file of a user's metric, as hex; "" for a built-in one."""
    return metric.sha256 if isinstance(metric, Custom) else ""


def metric_key(metric: Metric) -> str:
    """What tells a metric from any other: its name, and the digest of a user's own code."""
    return f"{metric.name} {code_digest(metric)}".rstrip()


def metric(name: str, sha256: str = "") -> Metric:
    """The metric of this name.

    Args:
        name: One of `names`, with ``@PARAMETER`` where it takes one and ``[output=bound,…]`` for
            bounds of single outputs; or what the user gave as ``module:function`` or
            ``file.py:function``, whose code runs. Never a text from a file.
        sha256: Digest that the file of a user's metric must have; "" for any.

    Raises:
        OptionError: There is none, or the function cannot be imported.
        DataError: The user's metric has another digest.
    """
    named_metric = named(name)
    if named_metric is not None:
        return named_metric
    if ":" in name:
        return Custom.load(name, sha256)
    raise OptionError(
        f"there is no metric {name!r}; choose {', '.join(names())} or module:function"
    )


def named(name: str) -> Metric | None:
    """The metric of a name that runs no code of the user's file, ``None`` if there is none.

    Raises:
        OptionError: Its parameter or its bounds make no sense.
    """
    base, bracket, inner = name.partition("[")
    if bracket and inner.endswith("]") and ":" not in base:
        return per_output_of(name, find(base), inner[:-1])
    return find(name)


def scale_notes(metric: Metric, reference: Sequence[Feed]) -> tuple[str, ...]:
    """What one norm over an output does not see of it, if the metric is one."""
    return scale_gaps(reference) if metric.name in _ONE_NORM else ()
