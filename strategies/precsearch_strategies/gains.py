"""Time that each group saves at each precision, from the profiles of the uniform engines."""

from __future__ import annotations

import numpy as np

from precsearch.space import Assignment
from precsearch.trial import Trial
from precsearch_strategies.encoding import Encoding, Floats
from precsearch_strategies.known import Known

__all__ = ["profile_gains"]


def profile_gains(known: Known, encoding: Encoding) -> Floats:
    """(n, p): how much of FP32's latency a group saves, negative where it is slower; FP32 0.

    The engine with the most groups at a precision stands for it: the group's time in the FP32
    engine's profile less its time there, over the whole FP32 profile, scaled so that the gains of
    the groups lowered there add up to the measured difference in latency (profiling slows an
    engine, so its seconds count only relative to each other). Groups without a profile get a
    share of the measured difference by multiply-accumulates, or equal shares. Latency differences
    of engines with *one* group lowered are not used: INT8 pays in runs, and they do not add up.
    """
    n, p = encoding.size
    gains = np.zeros((n, p))
    shares = _shares(encoding)
    for label in range(1, p):
        trial = _most_lowered(known, encoding, label)
        if trial is None:
            gains[:, label] = 0.4 * shares * encoding.allowed[:, label]
            continue
        lowered = encoding.encode(trial.assignment) == label
        target = 1.0 - (known.ratio(trial) or 1.0)
        column = _from_profiles(known, encoding, trial)
        if column is None:
            column = target * shares / max(float(shares[lowered].sum()), 1e-12)
        else:
            column = _scaled(column, lowered, target)
            rest = column[lowered].mean() if lowered.any() else 0.0
            column = np.where(lowered, column, min(rest, 0.0))
        gains[:, label] = column * encoding.allowed[:, label]
    return gains


def _shares(encoding: Encoding) -> Floats:
    macs = np.array([float(g.macs) for g in encoding.space.free])
    if macs.sum() > 0:
        macs = macs + 0.02 * macs.mean()
        return np.asarray(macs / macs.sum())
    return np.full(macs.shape, 1.0 / max(len(macs), 1))


def _most_lowered(known: Known, encoding: Encoding, label: int) -> Trial | None:
    precision = encoding.space.precisions[label]
    rows = [
        (-len(a.keys_at(precision)), len(a), a.entries, t)
        for a, t in known.engines.items()
        if known.ratio(t) is not None and a.keys_at(precision)
    ]
    return min(rows, key=lambda row: row[:3])[3] if rows else None


def _from_profiles(known: Known, encoding: Encoding, trial: Trial) -> Floats | None:
    """(n,): unscaled gains, or ``None`` without profiles."""
    full = known.engines.get(Assignment())
    before = full.measurement.group_seconds if full and full.measurement else {}
    after = trial.measurement.group_seconds if trial.measurement else {}
    total = sum(before[k] for k in sorted(before))
    if not before or not after or total <= 0:
        return None
    return np.array(
        [(before.get(g.key, 0.0) - after.get(g.key, 0.0)) / total for g in encoding.space.free]
    )


def _scaled(column: Floats, lowered: np.ndarray, target: float) -> Floats:
    """Fit the sum to what was measured, by scale where that is sane, else leave it to the fit."""
    total = float(column[lowered].sum())
    scale = target / total if abs(total) > 1e-9 else 1.0
    return np.asarray(column * scale) if 0.33 <= scale <= 3.0 else column
