"""Which candidate is worth an engine: expected gain times the chance to be within the bound."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from precsearch.core.space import Assignment
from precsearch.core.trial import Prediction
from precsearch_strategies.acquisition.candidates import candidates
from precsearch_strategies.encoding import Encoding, Floats, Labels
from precsearch_strategies.history import Forecast, History
from precsearch_strategies.models.build_risk import build_risk
from precsearch_strategies.models.calibration import Calibration, calibration
from precsearch_strategies.models.error import ErrorModel
from precsearch_strategies.models.latency import LatencyModel
from precsearch_strategies.models.trust_region import extension, radius
from precsearch_strategies.solvers.elimination import Elimination

__all__ = ["RankedCandidate", "Ranker"]

_PROBABLE = 0.5  # chance to pass from which on an engine that is being built is to be beaten


@dataclass(frozen=True, slots=True)
class RankedCandidate:
    """A candidate, what its models say of it, and its chance of being within the bound, if built.

    Whether it builds is another matter, on which a proxy has nothing to say.
    """

    assignment: Assignment
    reason: str
    predicted: Prediction
    forecast: Forecast
    within: float


@dataclass(frozen=True)
class _View:
    """A pool of c candidates, and what the models say of each after so many trials."""

    pool: Labels
    within: Floats
    chance: Floats
    usage: Floats
    mean: Floats
    spread: Floats
    far: Floats
    trusted: float
    plain: Floats
    than: float
    expected: float
    saved: Floats | None
    off: float
    stated: Floats
    doubt: Floats
    calibration: Calibration

    def pick(self, i: int, assignment: Assignment, lead: str) -> RankedCandidate:
        """What is predicted of a candidate, and how far engines were from their predictions."""
        used = min(float(self.usage[i]), 9.99)
        reason = (
            f"{lead}predicted {self.mean[i]:.3f} ± {self.spread[i]:.3f} of FP32's latency at "
            f"{100 * used:.0f} % of the bound (loss predictions were off by {100 * self.off:.0f} %)"
        )
        raw = Forecast(
            float(self.plain[i]),
            float(self.stated[i]),
            float(self.usage[i]) * math.exp(-self.calibration.usage),
            float(self.doubt[i]),
        )
        prediction = Prediction(float(self.mean[i]), used)
        return RankedCandidate(assignment, reason, prediction, raw, float(self.within[i]))


class Ranker:
    """Ranks candidates before one engine; the models are fitted again only after new trials.

    Its pool of candidates is made once: proxies change what is thought of them, not who they are.

    Args:
        known: The trials, read again at each ranking. Engines that are being built are taken to
            come out as predicted: their latency, and on which side of the bound they are.
        encoding: Of their assignments.
        squared_usage: Prior medians of the single squares, and the deviations of their logarithms.
        elimination: Planned for the space.
        draws: How many draws from the latency model's posterior.
        promise: Least gain in a draw that one is built for, as a share of the best latency.
    """

    def __init__(
        self,
        known: History,
        encoding: Encoding,
        squared_usage: tuple[Floats, Floats],
        elimination: Elimination,
        draws: int,
        promise: float,
    ) -> None:
        self._known, self._encoding, self._squared_usage = known, encoding, squared_usage
        self._elimination, self._draws = elimination, draws
        self._promise = promise
        self._views: dict[tuple[int, int], _View] = {}
        self._pool: Labels | None = None
        self._made_at = len(known.proxies)

    @property
    def outdated(self) -> bool:
        """Whether proxies have told more since the pool of candidates was made."""
        return len(self._known.proxies) > self._made_at

    def ranked(self, most: int, least: float, soften: float = 1.0) -> list[RankedCandidate]:
        """At most ``most`` untried candidates that are worth an engine, best first.

        By expected improvement. Where that is nil, as it is among many equally
        unknown groups, by what a draw from the latency model's posterior promises (Thompson
        sampling), if that is much.

        Args:
            most: How many.
            least: Least expected gain that an engine is built for, as a share of the best latency.
            soften: Exponent of the chance to be within the bound.
        """
        return self._worth(self._now(), least, most, soften)

    def _worth(self, view: _View, least: float, most: int, soften: float) -> list[RankedCandidate]:
        best = self._known.best_ratio()
        gain = view.chance**soften * _expected_gain(view.mean, view.spread, self._aim(view))
        for reach in dict.fromkeys((view.trusted, 4 * view.trusted, math.inf)):
            worth = gain * (view.far <= reach)
            picks = self._first(view, worth, least * best, most)
            if picks:
                return picks
        if view.saved is None:
            return []
        promised = max(self._promise, least) * best
        return self._first(view, view.chance * view.saved, promised, most, "a draw promises more: ")

    def expected_gain(self) -> float:
        """The largest expected gain of an untried candidate, as a share of the best latency."""
        view, known = self._now(), self._known
        gain = view.chance * _expected_gain(view.mean, view.spread, self._aim(view))
        tried = {self._encoding.encode(a).tobytes() for a in (*known.engines, *known.pending)}
        new = [row.tobytes() not in tried for row in view.pool]
        return round(float(gain[new].max(initial=0.0)) / known.best_ratio(), 6)

    def ruled_out(self, most: int) -> list[RankedCandidate]:
        """At most ``most`` candidates of a gain that matters, which the error model rules out.

        None of them has a proxy. Those of least predicted use of the bound per gain come first: the
        error model may be wrong of them, and no engine would ever tell.
        """
        view, known = self._now(), self._known
        gain = _expected_gain(view.mean, view.spread, self._aim(view))
        gain[gain < known.worth * known.best_ratio()] = 0.0
        worth = gain / (1.0 + np.minimum(view.usage, 1e6) ** 2) ** 2
        picks = self._first(view, worth, 1e-12, 8 * most)
        return [p for p in picks if p.assignment not in known.proxies][:most]

    def anyway(self) -> RankedCandidate | None:
        """The untried candidate of most gain times chance, however little; ``None`` without any.

        Where none has a chance, the one of least predicted use of the bound per gain.
        """
        view = self._now()
        gain = np.maximum(max(self._known.best_ratio(), view.than) - view.mean, 0.0)
        least = gain / (1.0 + np.minimum(view.usage, 1e6) ** 2)
        for worth in (view.chance * gain, least):
            picks = self._first(view, worth, 1e-12, 1, "a first mixed engine: ")
            if picks:
                return picks[0]
        return None

    def _aim(self, view: _View) -> float:
        """What a candidate is to be faster than, over FP32's latency."""
        return min(max(self._known.best_ratio(), view.than), view.expected)

    def _now(self) -> _View:
        at = self._known.tried, len(self._known.proxies)
        if at not in self._views:
            self._views = {at: self._view()}
        return self._views[at]

    def _view(self) -> _View:
        known, encoding = self._known, self._encoding
        at = known.problem.seed, known.tried, len(known.proxies)
        rng = np.random.default_rng([*at, len(known.pending)] if known.pending else at)
        errors = ErrorModel.fit(known, encoding, *self._squared_usage)
        latency = LatencyModel.fit(known, encoding)
        rows = [encoding.encode(a) for a in known.pending]
        pending = np.array(rows, dtype=np.intp).reshape(-1, len(encoding.lowest))
        draws = [latency.sample(rng) for _ in range(self._draws)]
        pool = self._candidates(errors, latency, draws)
        mean, spread = latency.expecting(pending).predict(pool)
        biased = calibration(known, latency.widening)
        probable = pending[errors.chance(pending, biased.usage) > _PROBABLE]
        expected = latency.predict(probable)[0] + biased.ratio
        # The best of many noisy measurements was lucky: its prediction is what is to be beaten.
        fastest = [encoding.encode(t.assignment) for t in known.passing()]
        than = np.array(fastest or [np.zeros_like(encoding.lowest)])
        believed = errors.expecting(pending, biased.usage, biased.usage_stretch)
        within = _within(known, encoding, believed, pool, biased)
        sound = 1.0 - build_risk(known, encoding)
        builds = sound[np.arange(pool.shape[1]), pool].prod(axis=1)
        corrected, doubted = biased.corrected(mean, spread, latency.floor(pool))
        return _View(
            pool,
            within,
            within * builds,
            errors.predict(pool) * math.exp(biased.usage),
            corrected,
            doubted,
            extension(known, encoding, pool),
            radius(known, encoding),
            mean,
            float(latency.predict(than)[0].min()),
            float(expected.min(initial=math.inf)),
            latency.saved(pool, than[0], draws) if draws else None,
            math.expm1(errors.spread),
            spread / latency.widening,
            errors.doubt(pool),
            biased,
        )

    def _candidates(self, errors: ErrorModel, latency: LatencyModel, draws: list[Floats]) -> Labels:
        """The pool, made when it is first needed."""
        if self._pool is None:
            args = self._known, self._encoding, errors, latency, self._elimination, draws
            self._pool, self._made_at = candidates(*args), len(self._known.proxies)
        return self._pool

    def _first(
        self, view: _View, worth: Floats, least: float, most: int, lead: str = ""
    ) -> list[RankedCandidate]:
        """The untried ones of at least this worth, best first; not many."""
        picks: list[RankedCandidate] = []
        for i in np.argsort(-worth, kind="stable").tolist():
            if worth[i] < least or len(picks) == most:
                break
            assignment = self._encoding.decode(view.pool[i])
            tried = assignment in self._known.engines or assignment in self._known.pending
            if not tried and not self._known.excludes(assignment):
                picks.append(view.pick(i, assignment, lead))
        return picks


def _within(
    known: History, encoding: Encoding, errors: ErrorModel, pool: Labels, biased: Calibration
) -> Floats:
    """(c,) probability that an engine is within the bound, if it builds."""
    chance = errors.chance(pool, biased.usage, biased.usage_stretch)
    counts = set((pool > 0).sum(axis=1).tolist())
    probed = {
        encoding.encode(a).tobytes(): usage
        for a, t in known.proxies.items()
        if len(a) in counts and (usage := known.usage(t)) is not None
    }
    for i, row in enumerate(pool):
        usage = probed.get(row.tobytes())
        if usage is not None:
            chance[i] = errors.chance_after_proxy(row, usage, biased.usage, biased.usage_stretch)
    return chance


def _expected_gain(mean: Floats, spread: Floats, best: float) -> Floats:
    """Expected improvement over ``best`` of normally distributed ratios."""
    spread = np.maximum(spread, 1e-9)
    z = np.clip((best - mean) / spread, -30.0, 30.0)
    below = np.array([0.5 * math.erfc(-v / math.sqrt(2)) for v in z.tolist()])
    return np.asarray((best - mean) * below + spread * np.exp(-0.5 * z**2) / math.sqrt(2 * math.pi))
