"""Which engines have their speed written beside them, so that no label hides another."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from precsearch.formatting import speedup
from precsearch.report.trial_facts import TrialFact

__all__ = ["front_labels"]

_APART = (0.2, 0.07)
"""Least distance of two labels, as shares of width and height; a phone shows 9 letters in 0.2."""


def front_labels(trials: Sequence[TrialFact], span: tuple[float, float]) -> dict[int, str]:
    """Labels by trial number.

    The order is what ships, FP32 and uniform engines, then the front from the fastest on. An engine
    too close to one that has a label gets none.

    Args:
        trials: Of a run.
        span: Lowest and highest loss that is drawn, on a logarithmic axis.
    """
    known = [t for t in trials if t.engine and t.ratio is not None and t.loss is not None]
    known = [t for t in known if math.isfinite(t.ratio or 0.0) and (t.ratio or 0.0) > 0]
    if not known:
        return {}
    ratios = [t.ratio or 0.0 for t in known]
    width = max(max(ratios) - min(ratios), 1e-9)
    height = math.log(span[1] / span[0])

    def spot(trial: TrialFact) -> tuple[float, float]:
        loss = min(max(trial.loss or 0.0, span[0]), span[1])
        return (trial.ratio or 0.0) / width, math.log(loss) / height

    taken: list[tuple[float, float]] = []
    labels: dict[int, str] = {}
    for trial in _ranked(known):
        at = spot(trial)
        if all(_apart(at, other) for other in taken):
            taken.append(at)
            labels[trial.number] = _label(trial)
    return labels


def _ranked(trials: Iterable[TrialFact]) -> list[TrialFact]:
    shown = [t for t in trials if t.chosen or t.front or not t.counts or t.is_uniform]
    return sorted(shown, key=lambda t: (not t.chosen, bool(t.counts), not t.is_uniform, t.ratio))


def _apart(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return any(abs(a - b) >= least for a, b, least in zip(one, other, _APART, strict=True))


def _label(trial: TrialFact) -> str:
    name = "FP32" if not trial.counts else speedup(trial.ratio or 0.0)
    if trial.is_uniform:
        name += f" {' '.join(p.upper() for p in trial.counts)}"
    return name
