"""Sums of log-normal parts, some of which were measured: the mathematics of the error model."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from precsearch_strategies.encoding import Bools, Floats

__all__ = ["Fit", "LogSums"]

_COMMON = 1.0  # prior standard deviation of the logarithm of the common factor of the squares
_STEPS = 10
_STRIDE = 1.5  # longest step of a logarithm
_MANY = 256  # parts from which on BLAS is worth its calls
_BLOCK = 64  # parts at a time
_ALONE = 2**18  # multiply-adds up to which OpenBLAS uses one thread


@dataclass(frozen=True)
class LogSums:
    """Measured logarithms of ``base + Σ κ sᵢ`` over sets of d parts.

    Attributes:
        medians: (d,) prior means of log sᵢ.
        wide: (d,) their standard deviations.
        base: Part of every sum.
        sets: (k, d) indicators.
        values: (k,) logarithms of the measured sums.
        noise: (k,) their standard deviations.
        least: (k,) whether a value is a lower bound only.
    """

    medians: Floats
    wide: Floats
    base: float
    sets: Floats
    values: Floats
    noise: Floats
    least: Bools

    def fit(self, widening: float, roughness: float) -> Fit:
        """The most probable parts (Gauss-Newton), and the Gaussian around them (Laplace).

        What parts alone do not explain is a Gaussian process over sets, of standard deviation
        ``roughness``, alike where sets share most of their sum.

        Args:
            widening: Factor on ``wide``.
            roughness: Of the logarithm of a sum.
        """
        logs, common = self.medians.copy(), 0.0
        variance = (widening * self.wide) ** 2
        alike = np.zeros((len(self.values),) * 2)
        for number in range(_STEPS):
            parts, total = self._parts(self.sets, logs + common)
            share = parts / np.maximum(total, 1e-30)[:, None]
            left = self.values - np.log(np.maximum(total, 1e-30))
            idle = self.least & (left < 0)
            share = np.where(idle[:, None], 0.0, share)
            every = share.sum(axis=1)
            gram = _dots(share * variance, share) + _COMMON**2 * np.outer(every, every)
            if number % 4 == 0:  # it changes little from step to step
                alike = _alike(parts, self.sets, self.sets, total, total, self.base)
            gram += roughness**2 * alike
            gram[np.diag_indices_from(gram)] += self.noise**2 + 1e-9
            aim = np.where(idle, 0.0, left + share @ (logs - self.medians) + every * common)
            pull = np.linalg.solve(gram, aim) if len(aim) else aim
            new = self.medians + variance * (share.T @ pull)
            step = np.clip(new - logs, -_STRIDE, _STRIDE)
            shift = float(np.clip(_COMMON**2 * (every @ pull) - common, -_STRIDE, _STRIDE))
            logs, common = logs + step, common + shift
            if max(float(np.abs(step).max(initial=0.0)), abs(shift)) < 1e-3:
                break
        return Fit(self, roughness, widening, logs, common, variance, share, gram, aim)

    def after(self, row: Floats, value: float, noise: float) -> LogSums:
        """The same with one more measured sum.

        Args:
            row: (d,) indicators of its parts.
            value: Its logarithm.
            noise: Standard deviation of that.
        """
        return replace(
            self,
            sets=np.concatenate([self.sets, row[None]]),
            values=np.append(self.values, value),
            noise=np.append(self.noise, noise),
            least=np.append(self.least, False),
        )

    def _parts(self, sets: Floats, logs: Floats) -> tuple[Floats, Floats]:
        parts = sets * np.exp(np.clip(logs, -60.0, 60.0))
        return parts, self.base + parts.sum(axis=1)


def _dots(one: Floats, other: Floats) -> Floats:
    """(c, k) inner products of rows, without BLAS or in blocks too small for its threads.

    They wait for each other, which on a busy machine takes longer than the work, and what they add
    in which order depends on how many there are.
    """
    many = one.shape[1]
    if many <= _MANY or not len(other):
        return np.asarray(np.einsum("cd,kd->ck", one, other))
    products = np.zeros((len(one), len(other)))
    rows = max(_ALONE // (_BLOCK * len(other)), 1)
    for first in range(0, many, _BLOCK):
        part = slice(first, first + _BLOCK)
        turned = np.ascontiguousarray(other[:, part].T)
        for row in range(0, len(one), rows):
            products[row : row + rows] += one[row : row + rows, part] @ turned
    return products


def _alike(
    parts: Floats, one: Floats, other: Floats, total: Floats, others: Floats, base: float
) -> Floats:
    """(c, k): how much of their sums two collections of sets share, steeply weighted."""
    common = _dots(parts, other) + base
    like = 2 * common / np.maximum(total[:, None] + others[None], 1e-30)
    return np.asarray(np.clip(like, 0.0, 1.0) ** 6)


def _log_within(room: Floats, variance: Floats) -> Floats:
    """Logarithm of the probability that a normal of this variance is below ``room``."""
    z = room / np.sqrt(2 * variance)
    return np.array([math.log(max(1 - 0.5 * math.erfc(v), 1e-3)) for v in z.tolist()])


@dataclass(frozen=True)
class Fit:
    """A posterior; see `LogSums.fit`."""

    sums: LogSums
    roughness: float
    widening: float
    logs: Floats
    common: float
    variance: Floats
    share: Floats
    gram: Floats
    aim: Floats

    @cached_property
    def squared_usage(self) -> Floats:
        """(d,) the parts, the common factor included."""
        return np.asarray(np.exp(np.clip(self.logs + self.common, -60.0, 60.0)))

    @property
    def kappa(self) -> float:
        """The common factor of the roots."""
        return math.exp(self.common / 2)

    @cached_property
    def _inverse(self) -> Floats:
        return np.asarray(np.linalg.inv(self.gram)) if len(self.gram) else self.gram

    @cached_property
    def evidence(self) -> float:
        """Logarithm of the marginal likelihood, with a weak preference for the assumed spreads."""
        _, size = np.linalg.slogdet(self.gram)
        usual = math.log(self.widening) ** 2 / 2 + math.log(self.roughness / 0.2) ** 2 / 2
        return float(-0.5 * (self.aim @ self._inverse @ self.aim + size)) - usual

    def left_out(self) -> Floats:
        """(k,) logarithm of each measured root over its prediction from the others (closed form).

        As for any Gaussian process (Rasmussen & Williams 2006, equation 5.12).
        """
        if not len(self.gram):
            return np.zeros(0)
        # The common factor and the parts are fitted too, so that the residual is of the aim.
        return np.asarray(0.5 * (self._inverse @ self.aim) / np.diag(self._inverse))

    def predict(self, sets: Floats) -> tuple[Floats, Floats]:
        """Mean and standard deviation of the logarithm of the sums of (c, d) sets."""
        parts, total = self.sums._parts(sets, self.logs + self.common)
        total = np.maximum(total, 1e-30)
        share = parts / total[:, None]
        every = share.sum(axis=1)
        mean = np.log(total)
        own = (share**2) @ self.variance + _COMMON**2 * every**2 + self.roughness**2
        if not len(self.gram):
            return mean, np.sqrt(own)
        _, totals = self.sums._parts(self.sums.sets, self.logs + self.common)
        near = self.roughness**2 * _alike(
            parts, sets, self.sums.sets, total, totals, self.sums.base
        )
        cross = _dots(share * self.variance, self.share)
        cross += _COMMON**2 * np.outer(every, self.share.sum(axis=1)) + near
        # At the most probable parts, what they do not explain is left to the process over sets.
        mean = mean + near @ (self._inverse @ self.aim)
        known = ((cross @ self._inverse) * cross).sum(axis=1)
        return mean, np.sqrt(np.maximum(own - known, 0.0))

    def alone(self, limit: float) -> Floats:
        """(d,) logarithm of the probability that the part alone is within ``limit`` (a logarithm).

        What was within a smaller measured sum is. Linearized sums miss this: a part of small median
        and wide spread adds next to nothing to mean and variance of a sum. How heavy the tails
        really are is learnt from how many of the measured sets were within the limit.
        """
        variance = self.variance + _COMMON**2
        if len(self.gram):
            pull = self.share * self.variance + _COMMON**2 * self.share.sum(axis=1)[:, None]
            left = np.einsum("kj,jd->kd", self._inverse, pull)
            variance = variance - np.einsum("kd,kd->d", left, pull)
        within = self.sums.values < limit
        inside = self.sums.sets[within].any(axis=0)
        chance = _log_within(limit - self.logs - self.common, np.maximum(variance, 1e-6))
        return np.asarray(np.where(inside, 0.0, chance * self._tail(limit, within)))

    def _tail(self, limit: float, within: Bools, least: float = 0.02) -> float:
        """Factor on the logarithms of chances; the most probable one, 1 if nothing is known."""
        before = _log_within(limit - self.sums.medians - self.common, self.variance)
        expected = np.minimum(self.sums.sets @ before, -1e-9)
        factors = np.geomspace(least, 2.0, 24)
        score = -0.5 * (np.log(factors) / 1.5) ** 2
        for mean, passed in zip(expected.tolist(), within.tolist(), strict=True):
            score += factors * mean if passed else np.log(-np.expm1(factors * mean))
        return float(factors[int(np.argmax(score))])
