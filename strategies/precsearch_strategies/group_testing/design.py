"""The next group test: which set of choices to lower beside those that are known to be harmless."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from precsearch_strategies.encoding import Bools, Floats, Labels
from precsearch_strategies.group_testing.posterior import (
    CHAINS,
    SIGMA,
    Draws,
    Outcomes,
    cells_of,
    fitted_odds,
    no_draws,
    redrawn,
)

__all__ = ["Design", "GroupTestState"]

_SIZES = (0.0, 0.2, 0.4, 0.7, 1.0, 1.4, 2.0)  # culprits expected among untested choices
_COMBINATIONS = 12  # of parts of what is under test, for each of these
_OPEN = 1.5  # culprits looked for at a time, at most
_TRUSTED = 0.08  # chance of a culprit among what is lowered on trust, at most
_NAMED = 0.7  # probability from which on a choice is left out of tests
_PASSING = 4.0  # bits that an engine within the bound is worth if it lowers all that is left
_TIRED = 4.0  # engines beyond the bound in a row that double it
_WEIGHT = 4.0  # squared usage of a culprit that nothing is known of
_UNSURE = 0.8  # standard deviation of its logarithm
_ARRIVALS = 9  # culprits among untested choices, at most


@dataclass(frozen=True)
class GroupTestState:
    """What is known of n choices that would save time.

    Attributes:
        gain: (n,) share of FP32's latency that each saves, positive.
        marks: (n,) logarithms of their squared proxies.
        count: Culprits expected in all.
        cleared: (n,) which of them an engine within the bound has.
        base: Squared usage of what they are added to.
        rate: Squared usage of a harmless one.
        sets: (k, n) engines beyond the bound.
        squared_usage: (k,) their squared usage.
        sound: (n,) probability that a choice does not make an engine fail to build.
        draws: Samples of the culprits.
        fruitless: How many engines in a row were beyond the bound.
        spread: How many engines in all were so by less than a culprit.
    """

    gain: Floats
    marks: Floats
    count: float
    cleared: Bools
    base: float
    rate: float
    sets: Bools
    squared_usage: Floats
    sound: Floats
    draws: Draws
    fruitless: int = 0
    spread: int = 0

    @classmethod
    def none(cls, gain: Floats, marks: Floats, count: float, base: float) -> GroupTestState:
        """Before the first test; all together are taken to cost half of what the bound leaves."""
        n = len(gain)
        rate = 0.5 * max(1.0 - base, 0.1) / max(n, 1)
        return cls(
            gain, marks, count, np.zeros(n, dtype=bool), base, rate,
            np.zeros((0, n), dtype=bool), np.zeros(0), np.ones(n), no_draws(),
        )  # fmt: skip

    def clean(self, sets: Bools) -> Floats:
        """(c,) squared usage of (c, n) sets if none of their choices is a culprit."""
        return np.asarray(self.base + self.rate * sets.sum(axis=1))

    def tests(self) -> Outcomes:
        """The engines beyond the bound, without what has been cleared since."""
        open_ = self.sets & ~self.cleared
        some = open_.any(axis=1)
        clean = self.clean(self.sets)
        return Outcomes(open_[some], self.squared_usage[some], np.maximum(clean[some], 1e-3))


@dataclass(frozen=True)
class Design:
    """The posterior after the tests so far, and the tests that it would do next.

    Attributes:
        doubts: What it is about.
        tests: Those with an open outcome.
        odds: (n,) prior odds of being a culprit, fitted to what has been found.
        chance: (n,) posterior probability of being one.
        draws: Samples of the posterior.
    """

    doubts: GroupTestState
    tests: Outcomes
    odds: Floats
    chance: Floats
    draws: Draws

    @classmethod
    def of(cls, doubts: GroupTestState, rng: np.random.Generator) -> Design:
        """Sample the posterior, from where its last samples were."""
        n = len(doubts.gain)
        seen = doubts.cleared | doubts.sets.any(axis=0)
        held = np.where(doubts.cleared, 0.0, doubts.draws.marginals(n))
        odds = fitted_odds(doubts.marks, seen, held, doubts.count)
        odds = np.where(doubts.cleared, 1e-12, odds)
        tests = doubts.tests()
        draws = redrawn(tests, odds, doubts.draws, rng)
        chance = np.where(doubts.cleared, 0.0, _chance(tests, odds, draws))
        return cls(doubts, tests, odds, chance, draws)

    @property
    def left(self) -> float:
        """Share of FP32's latency that choices which are not cleared are expected to save."""
        return float((self.doubts.gain * (1 - self.chance))[~self.doubts.cleared].sum())

    def left_after(self, waiting: Bools, rng: np.random.Generator) -> float:
        """What of that is expected to be left once (m, n) sets that are being built are done."""
        _, total = self._near(waiting, self._fresh(rng))
        cleared = np.asarray((total < 1.0).T.astype(float) @ waiting, dtype=float) > 0
        gain = np.where(self.doubts.cleared, 0.0, self.doubts.gain * (1 - self.chance))
        return float((~cleared @ gain).mean())

    def best(
        self, rng: np.random.Generator, known: Callable[[Bools], bool], waiting: Bools
    ) -> tuple[Bools, str]:
        """The set to build next, and why; an empty one if there is none that is not ``known``.

        The one that tells most about *where* culprits are (Lindley, *Annals of Mathematical
        Statistics* 27, 1956), in bits, plus what passing would be worth.

        Args:
            rng: Of the candidates.
            known: What is not to be built.
            waiting: (m, n) sets that are being built. What the new one tells is counted beyond what
                these will tell, and it has no untested choice of theirs.
        """
        sets = self._candidates(rng, waiting)
        sets = sets[[not known(s) for s in sets]]
        if not len(sets):
            return np.zeros(len(self.odds), dtype=bool), ""
        fresh = self._fresh(rng)
        (near, total), (told, under_way) = self._near(sets, fresh), self._near(waiting, fresh)
        before = np.asarray(told.prod(axis=0))
        bits = -np.log2((near * before).mean(axis=2)).mean(axis=1)
        bits += np.log2(before.mean(axis=1)).mean()
        passing = total < 1.0
        # Two engines that both pass are worth what the better of them is worth.
        sure = self._share(waiting)[:, None] * (under_way < 1.0)
        least = sure.max(axis=0, initial=0.0)
        hope = np.maximum(self._share(sets)[:, None] * passing - least, 0.0).mean(axis=1)
        sound = np.exp(sets @ np.log(np.maximum(self.doubts.sound, 1e-9)))
        # What fails again and again is not understood: something smaller, then.
        hope *= _PASSING * (1 + self.doubts.fruitless / _TIRED)
        i = int(np.argmax((bits + hope) * sound))
        count, bit = int((sets[i] & ~self.doubts.cleared).sum()), bits[i]
        chance = passing[i].mean()
        return sets[i], f"{count} more in a group test: {chance:.0%} to pass, {bit:.1f} bits"

    def _share(self, sets: Bools) -> Floats:
        """(c,) root of what (c, n) sets would save of all that is expected to be left."""
        new = ~self.doubts.cleared
        gain = sets[:, new] @ self.doubts.gain[new]
        return np.asarray(np.sqrt(np.minimum(gain / max(self.left, 1e-12), 1.0)))

    def _candidates(self, rng: np.random.Generator, waiting: Bools) -> Bools:
        """(c, n): what is cleared or trusted, some untested choices, parts of the tested ones.

        Untested ones by their odds per gain, up to some expected number of culprits; of the tested
        ones, each cell's less or more probable half, both or neither. What is being built divides
        cells, too: another test of the same halves would tell little more.
        """
        busy = np.asarray(waiting.any(axis=0))
        doubts, tested = self.doubts, self.tests.sets.any(axis=0)
        start = self._trusted(np.asarray(tested))
        order = np.flatnonzero(~tested & ~busy & ~doubts.cleared & (doubts.sound > 0.2))
        order = order[np.argsort((self.odds / doubts.gain)[order], kind="stable")]
        ahead = np.cumsum(self.odds[order])
        room = max(_OPEN - float(self.chance[tested & (self.chance < 0.9)].sum()), 0.0)
        doubtful = tested & ~start & (self.chance < _NAMED) & (doubts.sound > 0.2)
        halves = self._halves(doubtful, waiting)
        candidates = []
        for size in (s for s in _SIZES if s <= room):
            one = start.copy()
            one[order[ahead <= size]] = True
            one[order[: int(size > 0)]] = True
            candidates.append(one)
            for _ in range(_COMBINATIONS if halves else 0):
                parts = [h[i] for h in halves for i in _PARTS[rng.integers(0, len(_PARTS))]]
                more = one.copy()
                more[np.concatenate([*parts, order[:0]])] = True
                candidates.append(more)
        candidates += self._least(doubts.sound > 0.2)
        distinct = {row.tobytes(): row for row in candidates if (row & ~doubts.cleared).any()}
        return np.array(list(distinct.values()), dtype=bool).reshape(-1, len(self.odds))

    def _least(self, sound: Bools) -> list[Bools]:
        """What is cleared, and the least suspect of all others, up to some expected culprits."""
        low = np.flatnonzero(sound & ~self.doubts.cleared)
        low = low[np.argsort((self.chance / self.doubts.gain)[low], kind="stable")]
        ahead, moves = np.cumsum(self.chance[low]), []
        for size in _SIZES[1:-2]:
            one = self.doubts.cleared.copy()
            one[low[ahead <= size]] = True
            moves.append(one)
        return moves

    def _trusted(self, tested: Bools) -> Bools:
        """(n,) what is cleared, and what tests have all but cleared: lowered without a test."""
        trusted: Bools = self.doubts.cleared.copy()
        low = np.flatnonzero(tested & (self.doubts.sound > 0.2))
        low = low[np.argsort(self.chance[low], kind="stable")]
        trusted[low[np.cumsum(self.chance[low]) <= _TRUSTED]] = True
        return trusted

    def _halves(self, doubtful: Bools, waiting: Bools) -> list[tuple[Labels, Labels]]:
        """Each cell in two parts of equal probability, the less probable choices first."""
        members = np.flatnonzero(doubtful)
        halves = []
        for some in cells_of(np.concatenate([self.tests.sets, waiting]), members):
            ranked = some[np.argsort(self.odds[some], kind="stable")]
            mass = np.cumsum(self.odds[ranked]) / self.odds[ranked].sum()
            cut = max(int(np.searchsorted(mass, 0.5, side="right")), 1)
            halves.append((ranked[:cut], ranked[cut:]))
        return halves

    def _fresh(self, rng: np.random.Generator) -> Floats:
        """(n, b) culprits among the choices that no test has had, in each sample.

        A Poisson process along the choices, the least suspect per gain first, whose first arrivals
        are stratified: how probably the first so many of them hold none has no sampling noise.
        """
        doubts = self.doubts
        idle = np.flatnonzero(~self.tests.sets.any(axis=0) & ~doubts.cleared)
        idle = idle[np.argsort((self.odds / doubts.gain)[idle], kind="stable")]
        ends = np.cumsum(self.odds[idle] / (1 + self.odds[idle]))
        uniform = rng.permutation((np.arange(CHAINS) + 0.5) / CHAINS)
        gaps = rng.exponential(size=(_ARRIVALS, CHAINS))
        gaps[0] = -np.log1p(-uniform)
        where = np.searchsorted(ends, np.cumsum(gaps, axis=0))
        found = np.zeros((len(idle) + 1, CHAINS))
        np.add.at(found, (where, np.arange(CHAINS)), 1.0)
        counts = np.zeros((len(self.odds), CHAINS))
        counts[idle] = found[:-1]
        return counts

    def _near(self, sets: Bools, fresh: Floats) -> tuple[Floats, Floats]:
        """(c, b, b) how alike the predictions of two samples are, and (c, b) the predictions.

        By their pairwise distances (Kolchinsky & Tracey, *Entropy* 19, 2017). A new culprit's
        weight is noise here: it is not what is asked for.
        """
        new = _WEIGHT * np.asarray(sets @ fresh, dtype=float)
        total = self.doubts.clean(sets)[:, None]
        total = total + self.draws.excess(sets) + new
        wide = SIGMA**2 + (_UNSURE * new / total) ** 2
        both = wide[:, :, None] + wide[:, None, :]
        apart = np.log(total)[:, :, None] - np.log(total)[:, None, :]
        near = np.sqrt(2 * np.sqrt(wide[:, :, None] * wide[:, None, :]) / both)
        return near * np.exp(-(apart**2) / (4 * both)), total


_PARTS: tuple[tuple[int, ...], ...] = ((), (0,), (0,), (1,), (0, 1))


def _chance(tests: Outcomes, odds: Floats, draws: Draws) -> Floats:
    """(n,) probability of being a culprit; within one cell by their odds."""
    chance = odds / (1 + odds)
    held = draws.marginals(len(odds))
    for some in cells_of(tests.sets, np.flatnonzero(tests.sets.any(axis=0))):
        share = odds[some] / odds[some].sum()
        chance[some] = np.minimum(held[some].sum() * share, 1.0)
    return chance
