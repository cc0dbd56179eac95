"""Predicts an engine's use of the error bound from what single groups cost."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from precsearch.space import Assignment
from precsearch_strategies.encoding import Encoding, Floats, Labels
from precsearch_strategies.known import Known

__all__ = ["ErrorModel", "proxy_error"]

_FLOOR = 1e-6  # squared slack that every lowered group is taken to cost at least


@dataclass(frozen=True)
class ErrorModel:
    """Squared slacks add; a factor kappa and the neighbouring measured sets correct the sum.

    Attributes:
        squares: (n, p) squared slack of single groups, see `single_squares`.
        base: Squared slack of the FP32 engine.
        kappa: Measured over predicted, log-mean over measured sets, those near the bound foremost.
        spread: Standard deviation of the logarithm of what kappa leaves.
        proxy_bias: Mean logarithm of an engine's slack over its proxy's.
        proxy_spread: Standard deviation of the same.
        sets: (k, n) the measured sets.
        residuals: (k,) logarithm of measured over predicted with kappa.
    """

    squares: Floats
    base: float
    kappa: float
    spread: float
    proxy_bias: float
    proxy_spread: float
    sets: Labels
    residuals: Floats

    @classmethod
    def fit(cls, known: Known, encoding: Encoding, squares: Floats) -> ErrorModel:
        """Fit to every engine, and to every proxy of several groups without one."""
        squares = squares.copy()
        squares[:, 1:] = np.maximum(squares[:, 1:], _FLOOR)
        base = (known.slack(known.engines.get(Assignment())) or 0.0) ** 2
        bias, spread = proxy_error(known)
        rows = _observations(known, bias)
        sets = np.array([encoding.encode(a) for a, _ in rows], dtype=np.intp)
        sets = sets.reshape(-1, encoding.size[0])
        measured = np.array([s for _, s in rows])
        raw = _total(squares, sets)
        usable = np.isfinite(raw)
        sets, measured, raw = sets[usable], measured[usable], raw[usable]
        logs = np.clip(np.log(measured / np.sqrt(base + raw)), -2.0, 2.0)
        weights = 0.05 + np.exp(-0.5 * np.log(measured) ** 2)
        mean = float((weights * logs).sum() / (weights.sum() + 0.5))
        left = logs - mean
        variance = (2 * 0.2**2 + float((weights * left**2).sum())) / (2 + float(weights.sum()))
        return cls(squares, base, math.exp(mean), math.sqrt(variance), bias, spread, sets, left)

    def predict(self, many: Labels) -> Floats:
        """(c,) slack of (c, n) labels; ``inf`` where a single group's error is not finite."""
        parts = np.asarray(self.squares[np.arange(many.shape[1]), many])
        slack = self.kappa * np.sqrt(self.base + parts.sum(axis=1))
        return np.asarray(slack * np.exp(self._local(parts)))

    def _local(self, parts: Floats) -> Floats:
        """Log correction from measured sets, by the share of the error that they have in common."""
        if not len(self.sets):
            return np.zeros(len(parts))
        known = self.squares[np.arange(self.sets.shape[1]), self.sets]
        finite = np.where(np.isfinite(parts), parts, 0.0)
        total = finite.sum(axis=1)[:, None] + known.sum(axis=1)[None]
        apart = np.stack([np.abs(finite - row).sum(axis=1) for row in known], axis=1)
        like = np.clip(1 - apart / np.maximum(total, 1e-30), 0.0, 1.0) ** 6
        return np.asarray((like @ self.residuals) / (like.sum(axis=1) + 0.25))

    def chance(self, slack: Floats) -> Floats:
        """(c,) probability that an engine of predicted ``slack`` is within the bound."""
        return _chance(slack, self.spread)

    def chance_after_proxy(self, slack: float) -> float:
        """The same where the proxy of that very engine measured ``slack``."""
        biased = np.array([slack * math.exp(self.proxy_bias)])
        return float(_chance(biased, self.proxy_spread)[0])


def _chance(slack: Floats, spread: float) -> Floats:
    safe = np.log(np.clip(slack, 1e-9, 1e9)) / (spread * math.sqrt(2))
    return np.array([0.5 * math.erfc(v) for v in safe.tolist()])


def _total(squares: Floats, sets: Labels) -> Floats:
    return np.asarray(squares[np.arange(sets.shape[1]), sets].sum(axis=1))


def proxy_error(known: Known) -> tuple[float, float]:
    """Mean and standard deviation of the logarithm of an engine's slack over its proxy's."""
    logs = [
        max(-3.0, min(3.0, math.log(slack / proxy)))
        for a in sorted(known.proxies, key=lambda a: a.entries)
        if (slack := known.slack(known.engines.get(a))) is not None
        and (proxy := known.slack(known.proxies[a])) is not None
        and 0 < slack < math.inf
        and 0 < proxy < math.inf
    ]
    bias = sum(logs) / (len(logs) + 1)
    variance = (0.03**2 + sum((v - bias) ** 2 for v in logs)) / (1 + len(logs))
    return bias, math.sqrt(variance)


def _observations(known: Known, bias: float) -> list[tuple[Assignment, float]]:
    """Measured slacks of sets of several groups, in a fixed order."""
    found: dict[Assignment, float] = {}
    for trials, factor in ((known.proxies, math.exp(bias)), (known.engines, 1.0)):
        for assignment, trial in trials.items():
            slack = known.slack(trial)
            if slack is not None and len(assignment) > 1:
                found[assignment] = min(max(slack * factor, 1e-6), 1e6)
    return sorted(found.items(), key=lambda row: row[0].entries)
