"""Which few groups break a bound: a posterior over sparse culprits, drawn by Gibbs sampling."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from precsearch_strategies.encoding import Bools, Floats, Labels

__all__ = ["CHAINS", "SIGMA", "Draws", "Outcomes", "cells_of", "fitted_odds", "no_draws", "redrawn"]

CHAINS = 48
"""Samples of the posterior, each the state of a chain of its own."""

SIGMA = 0.13
"""Standard deviation of the logarithm of an engine's squared usage around the sum of its parts."""

_HEAT = (5.0, 3.0, 2.0, 1.4, 1.0, 1.0, 1.0)  # of the noise, sweep by sweep
_OUTLIER = 1e-4  # density of a test that the sum does not explain, over the noise's mode
_LEVELS = 9  # weights tried at once
_LEAST = 0.35  # squared usage of a culprit at least
_SPARE = 4  # slots beyond the culprits that any chain holds
_STEEP = np.linspace(0.15, 1.5, 10)
_USUAL, _WIDTH = 0.6, 0.35  # prior of the steepness: odds of being a culprit per squared proxy


@dataclass(frozen=True)
class Outcomes:
    """Engines beyond the bound, seen as tests of k sets of the n groups that are still in doubt.

    Attributes:
        sets: (k, n) indicators.
        squared_usage: (k,) squared usage of the engines.
        clean: (k,) what of that their harmless groups are taken to cost.
    """

    sets: Bools
    squared_usage: Floats
    clean: Floats


@dataclass(frozen=True)
class Draws:
    """States of the chains.

    Attributes:
        where: (b, m) which group each slot holds as a culprit, -1 for none.
        weights: (b, m) its squared usage.
    """

    where: Labels
    weights: Floats

    def marginals(self, n: int) -> Floats:
        """(n,) share of the chains that hold each group."""
        marginals = np.zeros((len(self.where), n + 1), dtype=bool)
        marginals[np.arange(len(self.where))[:, None], self.where] = True
        return np.asarray(marginals[:, :n].mean(axis=0))

    def typical(self, group: int) -> float:
        """Mean squared usage of a group where it is held; 0 if it never is."""
        held = self.weights[self.where == group]
        return float(held.mean()) if held.size else 0.0

    def excess(self, sets: Bools) -> Floats:
        """(c, b) squared usage of the culprits that are in (c, n) sets."""
        padded = np.concatenate([sets, np.zeros((len(sets), 1), dtype=bool)], axis=1)
        return np.asarray((padded[:, self.where] * self.weights).sum(axis=2))


def no_draws() -> Draws:
    """Chains without a culprit."""
    return Draws(np.full((CHAINS, 1), -1, dtype=np.intp), np.ones((CHAINS, 1)))


def redrawn(tests: Outcomes, odds: Floats, before: Draws, rng: np.random.Generator) -> Draws:
    """The chains after some more sweeps.

    Squared usages add: a test measures its clean part and the weights of the culprits that it
    holds, times log-normal noise. Groups that were in the same tests differ in their prior odds
    alone, so a slot is drawn for such a *cell* of groups at once, then a group in it. The noise is
    annealed in every call (Kirkpatrick et al., *Science* 220, 1983), as single moves do not cross
    from one explanation of a test to another.

    Args:
        tests: What has been measured.
        odds: (n,) prior odds of being a culprit.
        before: The chains so far; who is in no test any more is dropped.
        rng: Of the draws.
    """
    tested = tests.sets.any(axis=0)
    if not tested.any():
        return no_draws()
    cells = cells_of(tests.sets, np.flatnonzero(tested))
    held = np.full(len(odds) + 1, -1, dtype=np.intp)
    for number, members in enumerate(cells):
        held[members] = number
    rates = np.array([odds[members].sum() for members in cells])
    patterns = np.array([tests.sets[:, members[0]] for members in cells], dtype=float)
    cell, weights = _slots(held[before.where], before.weights)
    sampler = _Sampler(tests, patterns, np.log(rates / cell.shape[1]), rng)
    for heat in _HEAT:
        for slot in rng.permutation(cell.shape[1]).tolist():
            sampler.draw(cell, weights, slot, heat)
    return Draws(_placed(cell, cells, odds, rng), weights)


def cells_of(sets: Bools, members: Labels) -> list[Labels]:
    """``members`` by which of the (k, n) sets have them."""
    if not len(members):
        return []
    _, cell = np.unique(sets[:, members], axis=1, return_inverse=True)
    cell = cell.ravel()
    order = np.argsort(cell, kind="stable")
    return np.split(members[order], np.cumsum(np.bincount(cell))[:-1])


def _slots(cell: Labels, weights: Floats) -> tuple[Labels, Floats]:
    """Held cells first, and a few free slots after them."""
    order = np.argsort(cell < 0, axis=1, kind="stable")
    cell = np.take_along_axis(cell, order, axis=1)
    weights = np.take_along_axis(weights, order, axis=1)
    slots = int((cell >= 0).sum(axis=1).max()) + _SPARE
    more = ((0, 0), (0, max(slots - cell.shape[1], 0)))
    cell = np.pad(cell, more, constant_values=-1)[:, :slots]
    return cell, np.pad(weights, more, constant_values=1.0)[:, :slots]


def _placed(cell: Labels, cells: list[Labels], odds: Floats, rng: np.random.Generator) -> Labels:
    """(b, m) a group of each slot's cell, drawn by the odds."""
    where = np.full(cell.shape, -1, dtype=np.intp)
    for c in np.unique(cell[cell >= 0]).tolist():
        here, share = cell == c, odds[cells[c]] / odds[cells[c]].sum()
        where[here] = rng.choice(cells[c], size=int(here.sum()), p=share)
    return where


@dataclass(frozen=True)
class _Sampler:
    """Conditional draws of one slot in every chain."""

    tests: Outcomes
    cells: Floats  # (c, k)
    prior: Floats  # (c,)
    rng: np.random.Generator

    def draw(self, cell: Labels, weights: Floats, slot: int, heat: float) -> None:
        """Redraw one slot given the others, in place: nothing, or a cell and a weight."""
        chains = np.arange(len(cell))
        held = np.where(cell >= 0, weights, 0.0)
        held[:, slot] = 0.0
        rest = np.einsum("bm,bmk->bk", held, self.cells[cell])
        levels = self._levels(weights[:, slot])
        gain = self._likelihood(rest[:, None] + levels[:, :, None], heat)
        gain -= self._likelihood(rest, heat)[:, None]
        score = gain @ self.cells.T + (self.prior - np.log(levels.shape[1]))
        flat = np.concatenate([np.zeros((len(cell), 1)), score.reshape(len(cell), -1)], axis=1)
        chosen = np.argmax(flat + self.rng.gumbel(size=flat.shape), axis=1) - 1
        cell[:, slot] = np.where(chosen < 0, -1, chosen % len(self.cells))
        level = np.maximum(chosen, 0) // len(self.cells)
        weights[:, slot] = np.where(chosen < 0, weights[:, slot], levels[chains, level])

    def _levels(self, now: Floats) -> Floats:
        """(b, l) the present weight and others, evenly spread in the logarithm."""
        top = max(float(self.tests.squared_usage.max()), 4.0)
        step = np.log(top / _LEAST) / _LEVELS
        grid = np.arange(_LEVELS) + self.rng.random((len(now), 1))
        return np.concatenate([now[:, None], _LEAST * np.exp(step * grid)], axis=1)

    def _likelihood(self, excess: Floats, heat: float) -> Floats:
        """Logarithm of each test's likelihood, outliers allowed for."""
        off = np.log(self.tests.squared_usage / (self.tests.clean + excess)) / (heat * SIGMA)
        return np.asarray(np.log(_OUTLIER + np.exp(-0.5 * off**2)))


def fitted_odds(marks: Floats, settled: Bools, chance: Floats, count: float) -> Floats:
    """(n,) odds of being a culprit by a power of the proxy, fitted to what has been found.

    Args:
        marks: (n,) logarithms of squared proxies.
        settled: (n,) which groups have been in an engine.
        chance: (n,) how probably those are culprits.
        count: Expected number of culprits in all, good to a factor of two.
    """
    best, best_odds = -np.inf, np.zeros_like(marks)
    middle = marks - np.median(marks)
    guess = np.log(max(count, 0.5))
    for steep in _STEEP.tolist():
        for number in np.linspace(guess - 2.0, guess + 1.5, 15).tolist():
            raw = steep * middle
            odds = np.exp(number + raw - np.log(np.exp(raw).sum()))
            odds = np.minimum(odds, 3.0)
            hot = chance[settled] * np.log(odds[settled])
            score = float((hot - np.log1p(odds[settled])).sum())
            score -= 0.5 * ((number - guess) / 0.7) ** 2 + 0.5 * ((steep - _USUAL) / _WIDTH) ** 2
            if score > best:
                best, best_odds = score, odds
    return best_odds
