"""Predicts an engine's latency from its precisions and their boundaries, with its uncertainty."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from precsearch_strategies.encoding import Encoding, Floats, Labels
from precsearch_strategies.history import History
from precsearch_strategies.models.profile_gains import group_shares, has_profiles, profile_gains

__all__ = ["LatencyModel"]

_FASTEST = 1 / 16  # of its time in FP32, that a lowered group takes at least
_UNSEEN = 0.002  # standard deviation of a ratio that is about to be measured


@dataclass(frozen=True)
class LatencyModel:
    """Bayesian linear regression of the latency ratio less one (FP32 is 0).

    Features of an assignment: an indicator for each group and lower precision; the number of
    boundaries for each pair of precisions (the cost of a cast or a quantize/dequantize pair); an
    indicator for each edge whose ends differ (which spans the interaction of two neighbours). The
    prior means of the first are the gains by `profile_gains`; an edge within what the engine has
    one kernel for costs what a group gains, since it takes that kernel apart. The fit is ridge
    regression toward the prior (Hoerl & Kennard, *Technometrics* 12, 1970) in its dual form, so
    that its cost grows with the engines measured, of which there are few, and not with the groups.

    Attributes:
        encoding: Of the assignments.
        prior: (d,) prior mean of the coefficients.
        scale: (d,) prior standard deviation.
        rows: (k, d) features of the measured engines.
        values: (k,) their ratios less one.
        noise: (k,) standard deviation of those.
        widening: Factor on the prior standard deviations that is in ``scale``.
        shares: (n,) share of FP32's latency that each group takes, 1 together at most.
    """

    encoding: Encoding
    prior: Floats
    scale: Floats
    rows: Floats
    values: Floats
    noise: Floats
    widening: float
    shares: Floats

    @classmethod
    def fit(cls, known: History, encoding: Encoding) -> LatencyModel:
        """Fit to every timed engine."""
        gains = profile_gains(known, encoding)
        n, p = encoding.size
        lower = gains[:, 1:]
        typical = max(float(np.abs(lower[encoding.allowed[:, 1:]]).mean()), 1e-4)
        pairs, m = len(list(combinations(range(p), 2))), len(encoding.edges)
        unsure = 0.3 if has_profiles(known) else 0.8
        boundary, single = np.full(pairs, 0.25 * typical), np.full(m, 0.3 * typical)
        apart = np.where(encoding.fused, typical, 0.0)
        prior = np.concatenate([-lower.ravel(), boundary, apart])
        scale = np.concatenate(
            [unsure * np.abs(lower).ravel() + 0.3 * typical, 2.0 * boundary, single]
        )
        timed = [
            (a, r)
            for a in sorted(known.engines, key=lambda a: a.entries)
            if len(a) and (r := known.ratio(known.engines[a])) is not None
        ]
        sets = np.array([encoding.encode(a) for a, _ in timed], dtype=np.intp).reshape(-1, n)
        ratios = np.array([r for _, r in timed])
        noise = np.array([known.timing_error(r) for r in ratios.tolist()])
        rows = _features(encoding, sets)
        wide = _widening((ratios - 1.0) - rows @ prior, rows * scale, noise)
        shares = group_shares(known, encoding)
        return cls(encoding, prior, wide * scale, rows, ratios - 1.0, noise, wide, shares)

    def expecting(self, many: Labels) -> LatencyModel:
        """The model with (c, n) labels measured as it predicts them: surer, of the same mean.

        For engines that are being built (the "kriging believer" of Ginsbourger, Le Riche and
        Carraro, 2010).
        """
        if not len(many):
            return self
        rows = _features(self.encoding, many)
        values = rows @ self.mean()
        return replace(
            self,
            rows=np.concatenate([self.rows, rows]),
            values=np.concatenate([self.values, values]),
            noise=np.concatenate([self.noise, np.full(len(rows), _UNSEEN)]),
        )

    def _weigh(self, prior: Floats, values: Floats) -> Floats:
        """The coefficients that fit ``values`` starting from ``prior``."""
        wide = self.rows * self.scale**2
        gram = wide @ self.rows.T + np.diag(self.noise**2)
        step: Floats = np.linalg.solve(gram, values - self.rows @ prior)
        return np.asarray(prior + wide.T @ step)

    def mean(self) -> Floats:
        """(d,) posterior mean of the coefficients."""
        return self._weigh(self.prior, self.values)

    def sample(self, rng: np.random.Generator) -> Floats:
        """(d,) one draw from the posterior (Matheron's rule), for Thompson sampling."""
        start = self.prior + self.scale * rng.standard_normal(len(self.prior))
        return self._weigh(start, self.values + self.noise * rng.standard_normal(len(self.values)))

    def predict(self, many: Labels) -> tuple[Floats, Floats]:
        """(c,) mean and standard deviation of the ratio of (c, n) labels.

        Neither goes below what an engine would take if its lowered groups took next to no time.
        """
        least = self.floor(many)
        mean, spread = self._unbounded(many)
        mean = np.maximum(mean, least)
        return mean, np.minimum(spread, mean - least + _UNSEEN)

    def floor(self, many: Labels) -> Floats:
        """(c,) the least ratio that (c, n) labels may have: lowered groups still take some time."""
        lowered = ((many > 0) * self.shares).sum(axis=1)
        return np.asarray(np.maximum(1.0 - (1.0 - _FASTEST) * lowered, _FASTEST))

    def _unbounded(self, many: Labels) -> tuple[Floats, Floats]:
        rows = _features(self.encoding, many)
        mean = 1.0 + rows @ self.mean()
        wide = rows * self.scale
        own = (wide**2).sum(axis=1)
        if not len(self.rows):
            return mean, np.sqrt(own)
        seen = self.rows * self.scale
        cross = wide @ seen.T
        gram = seen @ seen.T + np.diag(self.noise**2)
        known = (cross * np.linalg.solve(gram, cross.T).T).sum(axis=1)
        return mean, np.sqrt(np.maximum(own - known, 0.0))

    def saved(self, many: Labels, than: Labels, draws: list[Floats]) -> Floats:
        """(c,) the most that any draw has (c, n) labels be faster than the (n,) labels ``than``."""
        rows = _features(self.encoding, than[None]) - _features(self.encoding, many)
        return np.asarray(np.max([rows @ weights for weights in draws], axis=0))

    def costs(self, weights: Floats) -> tuple[Floats, Floats]:
        """(n, p) time of groups and (m, p, p) time of edges, for the solver."""
        n, p = self.encoding.size
        time = np.zeros((n, p))
        time[:, 1:] = weights[: n * (p - 1)].reshape(n, p - 1)
        pairs = list(combinations(range(p), 2))
        shared = weights[n * (p - 1) : n * (p - 1) + len(pairs)]
        own = weights[n * (p - 1) + len(pairs) :]
        pair = np.zeros((len(self.encoding.edges), p, p))
        for (a, b), cost in zip(pairs, shared.tolist(), strict=True):
            pair[:, a, b] = pair[:, b, a] = np.maximum(cost + own, 0.0)
            if a == 0:
                time[:, b] += max(cost, 0.0) * self.encoding.fixed_neighbours
        return time, pair


def _widening(left: Floats, seen: Floats, noise: Floats, pseudo: float = 4.0) -> float:
    """How much wider than assumed the coefficients are spread, from what the prior misses by.

    The maximum of the marginal likelihood in the prior's scale (MacKay, *Neural Computation* 4,
    1992), where the noise is small, with ``pseudo`` engines that were as assumed.
    """
    if not len(left):
        return 1.0
    gram = seen @ seen.T + np.diag(noise**2)
    square = float(left @ np.linalg.solve(gram, left))
    return float(np.sqrt((square + pseudo) / (len(left) + pseudo)))


def _features(encoding: Encoding, many: Labels) -> Floats:
    """(c, d) features of (c, n) labels."""
    p = encoding.size[1]
    ends_a, ends_b = many[:, encoding.edges[:, 0]], many[:, encoding.edges[:, 1]]
    lowered = (many[:, :, None] == np.arange(1, p)).reshape(len(many), many.shape[1] * (p - 1))
    counts = []
    for a, b in combinations(range(p), 2):
        met = ((ends_a == a) & (ends_b == b)) | ((ends_a == b) & (ends_b == a))
        count = met.sum(axis=1).astype(float)
        if a == 0:
            count += ((many == b) * encoding.fixed_neighbours).sum(axis=1)
        counts.append(count)
    shared = np.array(counts).reshape(len(counts), len(many)).T
    return np.concatenate([lowered, shared, ends_a != ends_b], axis=1).astype(float)
