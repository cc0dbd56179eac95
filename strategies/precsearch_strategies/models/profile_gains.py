"""Time that each group saves at each precision, from the engines' profiles."""

from __future__ import annotations

import numpy as np

from precsearch.core.precision import Precision
from precsearch.core.space import Assignment, GroupTrait
from precsearch.core.trial import Trial
from precsearch_strategies.encoding import Bools, Encoding, Floats
from precsearch_strategies.history import History

__all__ = ["group_shares", "has_profiles", "profile_gains", "promising"]

_ENOUGH = 0.5  # share of the work from which on a precision counts as shown
_USUAL = 0.4  # share of its time that a group saves at a precision that no engine has shown yet


def profile_gains(known: History, encoding: Encoding) -> Floats:
    """(n, p): how much of FP32's latency a group saves, negative where it is slower; FP32 0.

    The fastest engine that has a group at a precision stands for it, since the search is for ones
    like it: the group's time in the FP32 engine's profile less its time there, over the whole of
    the former, scaled so that all gains of that engine add up to its measured difference in
    latency (profiling slows an engine, so its seconds count only relative to each other). What no
    engine has shown saves the same part of its time as what was shown did, and nothing where a rule
    says that a fused kernel is lost there (`Problem.slow`). Without profiles, an
    engine's measured difference is shared by FP32 time or multiply-accumulates. Latency
    differences of engines with *one* group lowered are not used on purpose: INT8 pays in runs, and
    they do not add up.
    """
    n, p = encoding.size
    shares, gains = group_shares(known, encoding), np.zeros((n, p))
    seen = np.zeros((n, p), dtype=bool)
    for trial in _timed(known):
        labels = encoding.encode(trial.assignment)
        new = np.flatnonzero((labels > 0) & ~seen[np.arange(n), labels])
        if not len(new):
            continue  # all that it has stands already
        target = 1.0 - (known.ratio(trial) or 1.0)
        column = _from_profiles(known, encoding, trial)
        if column is None:
            column = target * shares / max(float(shares[labels > 0].sum()), 1e-12)
        else:
            column = _scaled(column, labels > 0, target)
        gains[new, labels[new]] = column[new]
        seen[new, labels[new]] = True
    slow = _slow(known, encoding)
    for label in range(1, p):
        shown = seen[:, label]
        weight = float(shares[shown].sum())
        rate = float(gains[shown, label].sum()) / weight if weight > 0.2 else _USUAL
        expected = np.where(slow[:, label], 0.0, rate * shares)
        gains[:, label] = np.where(shown, gains[:, label], expected)
    # No group saves more than it takes, whatever a disturbed profile says.
    return np.minimum(gains, shares[:, None]) * encoding.allowed


def has_profiles(known: History) -> bool:
    """Whether the FP32 engine and another say where their time goes."""
    profiled = [a for a, t in known.engines.items() if known.parts(t)]
    return Assignment() in profiled and len(profiled) > 1


def promising(known: History, encoding: Encoding) -> Bools:
    """(n, p): the choices that could make the fastest passing engine faster by what matters.

    A precision counts if what it would gain over that engine, summed over the groups where it gains
    anything by the profiles, exceeds the noise; without profiles engines' totals stand for all
    their groups. A precision always counts while engines have shown it for less than half of the
    work: a few groups say nothing of the others, since INT8 pays in runs. Where INT8 stands at the
    inputs of several Adds always counts beside an INT8 engine (`_placed`).
    """
    gains = profile_gains(known, encoding)
    passing = known.passing()
    if not passing or not len(passing[0].assignment):
        return encoding.allowed  # no lowered engine has won yet: borders may hide what groups gain
    best = encoding.encode(passing[0].assignment)
    more = gains - gains[np.arange(len(best)), best][:, None]
    noise = known.worth * known.best_ratio()
    mask = np.zeros(encoding.size, dtype=bool)
    shown = _shown(known, encoding)
    for label in range(encoding.size[1]):
        possible = float(np.maximum(more[:, label], 0.0)[encoding.allowed[:, label]].sum())
        if possible > noise or (label > 0 and shown[label] < _ENOUGH):
            mask[:, label] = encoding.allowed[:, label]
    placed = _placed(encoding)
    if placed.sum() > 1 and passing[0].assignment.keys_at(Precision.INT8):
        mask[placed] = encoding.allowed[placed]
    return mask


def _placed(encoding: Encoding) -> Bools:
    """(n,): groups that are only a place of Q/DQ, an input of an Add.

    Such a group has no kernel, so no profile tells what its choice gains. Engines with all of them
    alike say nothing of mixtures: on TensorRT 8.6 one was 5 % faster (docs/benchmarks/gpu.md).
    """
    return np.array([GroupTrait.ADDS_INPUT in g.traits for g in encoding.space.free], dtype=bool)


def _shown(known: History, encoding: Encoding) -> Floats:
    """(p,): the share of the work that timed engines have had at each precision."""
    shares, allowed = group_shares(known, encoding)[:, None], encoding.allowed
    seen = np.zeros(encoding.size, dtype=bool)
    for trial in _timed(known):
        seen[np.arange(encoding.size[0]), encoding.encode(trial.assignment)] = True
    total = np.maximum((shares * allowed).sum(axis=0), 1e-12)
    return np.asarray((shares * (seen & allowed)).sum(axis=0) / total)


def _slow(known: History, encoding: Encoding) -> Bools:
    """(n, p): the choices that are expected to save nothing."""
    slow = np.zeros(encoding.size, dtype=bool)
    for key, precision in known.problem.slow:
        position = encoding.position.get(key)
        if position is not None and precision in encoding.space.precisions:
            slow[position, encoding.space.precisions.index(precision)] = True
    return slow


def _timed(known: History) -> list[Trial]:
    """Timed engines with something lowered, the fastest first."""
    rows = [
        (ratio, a.entries, t)
        for a, t in known.engines.items()
        if len(a) and (ratio := known.ratio(t)) is not None
    ]
    return [row[2] for row in sorted(rows, key=lambda row: row[:2])]


def group_shares(known: History, encoding: Encoding) -> Floats:
    """(n,): each free group's share of FP32's latency, as well as it is known."""
    full = known.engines.get(Assignment())
    profile = known.parts(full)
    total = sum(profile[k] for k in sorted(profile))
    if total > 0:
        return np.array([profile.get(g.key, 0.0) / total for g in encoding.space.free])
    macs = np.array([float(g.macs) for g in encoding.space.free])
    if macs.sum() > 0:
        macs = macs + 0.02 * macs.mean()
        return np.asarray(macs / macs.sum())
    return np.full(macs.shape, 1.0 / max(len(macs), 1))


def _from_profiles(known: History, encoding: Encoding, trial: Trial) -> Floats | None:
    """(n,): unscaled gains, or ``None`` without profiles."""
    full = known.engines.get(Assignment())
    before, after = known.parts(full), known.parts(trial)
    total = sum(before[k] for k in sorted(before))
    if not before or not after or total <= 0:
        return None
    return np.array(
        [(before.get(g.key, 0.0) - after.get(g.key, 0.0)) / total for g in encoding.space.free]
    )


def _scaled(column: Floats, lowered: Bools, target: float) -> Floats:
    """Fit the sum to what was measured, by scale where that is sane, else leave it to the fit."""
    total = float(column[lowered].sum())
    scale = target / total if abs(total) > 1e-9 else 1.0
    return np.asarray(column * scale) if 0.33 <= scale <= 3.0 else column
