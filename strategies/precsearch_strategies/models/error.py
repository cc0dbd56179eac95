"""Predicts an engine's use of the error bound from what single groups cost, and how surely."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from precsearch.core.space import Assignment
from precsearch_strategies.encoding import Bools, Encoding, Floats, Labels
from precsearch_strategies.history import History
from precsearch_strategies.models.log_sums import Fit, LogSums

__all__ = ["BELIEVED", "ErrorModel", "proxy_error"]

BELIEVED = 0.15
"""Standard deviation of the logarithm of an engine's usage over its proxy's, up to which proxies of
whole assignments are worth asking for; beyond it, they serve to rank groups alone."""

_FLOOR = 1e-6  # squared usage that every lowered group is taken to cost at least
_SURE = 0.3  # standard deviation of the logarithm of a single square that a proxy measured
_WIDENINGS = (0.5, 1.0, 2.0, 4.0, 7.0, 12.0)
_ROUGHNESS = (0.1, 0.25, 0.6)
_ENGINE = 0.08  # standard deviation of the logarithm of an engine's squared usage
_SURE_SIDE = 8.0  # deviations from the bound, at most that count
_LEAST = 0.04  # standard deviation of the logarithm of a predicted squared usage
_MOST = 48  # multi-group proxies that the fit looks at
_FEW = 12  # the same where there are many groups
_MANY = 150  # groups
_BEYOND = 100.0  # squared usage that a set of non-finite output is taken to have at least


@dataclass(frozen=True)
class ErrorModel:
    """Squared usages add (see `single_squared_usage`); every engine corrects every group's share.

    The logarithms of the single squares, of a common factor kappa and of what interactions add are
    Gaussian a priori; the posterior is Laplace's approximation (see `LogSums`). How far single
    squares and sums are to be believed is fitted by the evidence.

    Attributes:
        squared_usage: (n, p) of single groups as corrected by the engines; FP32's is 0, and
            ``inf`` where a group alone makes the output non-finite or the choice is not offered.
        base: Squared usage of the FP32 engine.
        kappa: Common factor of measured over predicted usage.
        spread: Standard deviation of the logarithm of measured over predicted usage, of the engines
            as each would be predicted from the others.
        proxy_bias: Mean logarithm of an engine's usage over its proxy's.
        proxy_spread: Standard deviation of the same.
    """

    squared_usage: Floats
    base: float
    kappa: float
    spread: float
    proxy_bias: float
    proxy_spread: float
    fit_: Fit

    @classmethod
    def fit(
        cls, known: History, encoding: Encoding, squared_usage: Floats, sure: Floats | None = None
    ) -> ErrorModel:
        """Fit to every engine, and to proxies of several groups without one.

        Args:
            known: The trials.
            encoding: Of their assignments.
            squared_usage: (n, p) prior medians of the single squares.
            sure: (n, p) standard deviations of their logarithms; what proxies measure by default.
        """
        squared_usage = squared_usage.copy()
        squared_usage[:, 1:] = np.maximum(squared_usage[:, 1:], _FLOOR)
        base = (known.usage(known.engines.get(Assignment())) or 0.0) ** 2
        bias, spread = proxy_error(known)
        sums = _sums(known, encoding, squared_usage, sure, base, (bias, spread))
        best = _most_probable(sums)
        cells = np.where(
            np.isfinite(squared_usage[:, 1:]),
            best.squared_usage.reshape(len(squared_usage), -1),
            math.inf,
        )
        posterior = np.concatenate([squared_usage[:, :1], cells], axis=1)
        left = best.left_out()
        apart = math.sqrt((2 * 0.1**2 + float((left**2).sum())) / (2 + len(left)))
        return cls(posterior, base, best.kappa, apart, bias, spread, best)

    def predict(self, many: Labels) -> Floats:
        """(c,) usage of (c, n) labels; ``inf`` where a single group's error is not finite."""
        mean, _ = self.fit_.predict(_cells(self, many))
        return np.asarray(np.where(self._finite(many), np.exp(mean / 2), math.inf))

    def doubt(self, many: Labels) -> Floats:
        """(c,) standard deviation of the logarithm of the usage of (c, n) labels."""
        return np.asarray(np.maximum(self.fit_.predict(_cells(self, many))[1], _LEAST) / 2)

    def chance(self, many: Labels, optimism: float = 0.0, stretch: float = 1.0) -> Floats:
        """(c,) probability that engines of (c, n) labels are within the bound.

        Args:
            many: The labels.
            optimism: Logarithm of what their usage is under-predicted by.
            stretch: Factor on the deviation of that logarithm.
        """
        cells = _cells(self, many)
        mean, deviation = self.fit_.predict(cells)
        mean = mean + 2 * optimism
        together = _below(mean / (stretch * np.maximum(deviation, _LEAST)))
        alone = np.exp(cells @ self._alone)
        return np.asarray(np.where(self._finite(many), together * alone, 0.0))

    def expecting(self, many: Labels, optimism: float = 0.0, stretch: float = 1.0) -> ErrorModel:
        """The model with engines of (c, n) labels measured on the likelier side of the bound.

        For engines that are being built, one after the other: each is taken to use as much of the
        bound as is expected of it, given that it is on that side (the "kriging believer" of
        Ginsbourger, Le Riche and Carraro, 2010; the mean of a truncated normal).

        Args:
            many: The labels.
            optimism: As for `chance`.
            stretch: As for `chance`.
        """
        model = self
        for labels in many[self._finite(many)]:
            model = model._after(labels, optimism, stretch)
        return model

    def _after(self, labels: Labels, optimism: float, stretch: float) -> ErrorModel:
        """`expecting` of (n,) labels whose usage is finite."""
        cells = _cells(self, labels[None])
        (mean,), (deviation,) = self.fit_.predict(cells)
        middle = float(mean) + 2 * optimism
        wide = stretch * max(float(deviation), _LEAST)
        side = -1.0 if middle <= 0 else 1.0
        z = min(abs(middle) / wide, _SURE_SIDE)
        density = math.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
        expected = middle + side * wide * density / float(_below(np.array([-z]))[0])
        sums = self.fit_.sums.after(cells[0], expected - 2 * optimism, _ENGINE)
        fit = sums.fit(self.fit_.widening, self.fit_.roughness)
        return replace(self, kappa=fit.kappa, fit_=fit)

    @cached_property
    def _alone(self) -> Floats:
        return self.fit_.alone(0.0)

    def chance_after_proxy(
        self, labels: Labels, usage: float, optimism: float = 0.0, stretch: float = 1.0
    ) -> float:
        """The same of (n,) labels where the proxy of that very engine measured ``usage``."""
        (mean,), (deviation,) = self.fit_.predict(_cells(self, labels[None]))
        mean = mean + 2 * optimism
        seen = math.log(min(max(usage, 1e-9), 1e9)) + self.proxy_bias
        if not self._finite(labels[None])[0]:
            return float(_below(np.array([seen / self.proxy_spread]))[0])
        own = (2 / (stretch * max(float(deviation), _LEAST))) ** 2
        proxy = self.proxy_spread**-2
        middle = (own * float(mean) / 2 + proxy * seen) / (own + proxy)
        return float(_below(np.array([middle * math.sqrt(own + proxy)]))[0])

    def _finite(self, many: Labels) -> Bools:
        return np.asarray(
            np.isfinite(self.squared_usage)[np.arange(many.shape[1]), many].all(axis=1)
        )


def _most_probable(sums: LogSums) -> Fit:
    """The fit of most evidence: first over the roughness, then over the widening."""
    usual = sums.fit(1.0, _ROUGHNESS[1])
    if not len(sums.values):
        return usual
    rough = [usual, *(sums.fit(1.0, r) for r in _ROUGHNESS if r != _ROUGHNESS[1])]
    best = max(rough, key=lambda f: f.evidence)
    wide = [best, *(sums.fit(w, best.roughness) for w in _WIDENINGS if w != 1.0)]
    return max(wide, key=lambda f: f.evidence)


def _below(z: Floats) -> Floats:
    return np.array([0.5 * math.erfc(v / math.sqrt(2)) for v in z.tolist()])


def _cells(model: ErrorModel, many: Labels) -> Floats:
    return _one_hot(many, model.squared_usage.shape[1])


def _one_hot(many: Labels, p: int) -> Floats:
    """(c, n · (p - 1)) indicators of the lowered cells."""
    lowered = many[:, :, None] == np.arange(1, p)
    return np.asarray(lowered.reshape(len(many), many.shape[1] * (p - 1)), dtype=float)


def _sums(
    known: History,
    encoding: Encoding,
    squared_usage: Floats,
    sure: Floats | None,
    base: float,
    proxy: tuple[float, float],
) -> LogSums:
    """The observations of several groups, in a fixed order."""
    p = encoding.size[1]
    usable = np.isfinite(squared_usage[:, 1:]).ravel()
    medians = np.where(usable, squared_usage[:, 1:].ravel(), _FLOOR)
    wide = np.full(squared_usage.shape, _SURE) if sure is None else sure
    rows = _observations(known, proxy)
    sets = np.array([encoding.encode(a) for a, *_ in rows], dtype=np.intp).reshape(
        -1, len(squared_usage)
    )
    cells = _one_hot(sets, p)
    fit = [i for i, c in enumerate(cells) if not (c.astype(bool) & ~usable).any()]
    values = np.array([rows[i][1] for i in fit])
    noise = np.array([rows[i][2] for i in fit])
    return LogSums(
        np.log(medians),
        wide[:, 1:].ravel(),
        base,
        cells[fit].reshape(-1, medians.size),
        2 * np.log(np.clip(values, 1e-6, math.sqrt(_BEYOND))),
        2 * noise,
        np.array([v >= math.sqrt(_BEYOND) for v in values.tolist()], dtype=bool),
    )


def proxy_error(known: History) -> tuple[float, float]:
    """Mean and standard deviation of the logarithm of an engine's usage over its proxy's."""
    logs = [
        max(-3.0, min(3.0, math.log(usage / proxy)))
        for a in sorted(known.proxies.keys() & known.engines.keys(), key=lambda a: a.entries)
        if (usage := known.usage(known.engines.get(a))) is not None
        and (proxy := known.usage(known.proxies[a])) is not None
        and 0 < usage < math.inf
        and 0 < proxy < math.inf
    ]
    bias = sum(logs) / (len(logs) + 1)
    variance = (0.03**2 + sum((v - bias) ** 2 for v in logs)) / (1 + len(logs))
    return bias, math.sqrt(variance)


def _observations(
    known: History, proxy: tuple[float, float]
) -> list[tuple[Assignment, float, float]]:
    """(set of several groups, usage, deviation of its logarithm), in a fixed order."""
    bias, spread = proxy
    believed = spread <= BELIEVED
    engines = {
        a: (s, _ENGINE / 2)
        for a, t in known.engines.items()
        if (s := known.usage(t)) is not None and len(a) > 1
    }
    simulated = [
        (abs(math.log(s)), a.entries, a, s)
        for a, t in known.proxies.items()
        if believed
        and a not in engines
        and len(a) > 1
        and (s := known.usage(t)) is not None
        and 0 < s < 1e6
    ]
    most = _MOST if len(known.problem.space.free) <= _MANY else _FEW
    near = sorted(simulated, key=lambda row: row[:2])[:most]
    observations = {a: (s * math.exp(bias), math.hypot(spread, _ENGINE / 2)) for *_, a, s in near}
    observations.update(engines)
    return [(a, s, d) for a, (s, d) in sorted(observations.items(), key=lambda row: row[0].entries)]
