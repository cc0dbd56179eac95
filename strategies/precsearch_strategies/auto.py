"""The default search: models propose, proxies screen, engines decide."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from precsearch.core.errors import OptionError
from precsearch.core.problem import Problem
from precsearch.core.strategy import ReasonedProposals
from precsearch_strategies.acquisition.expected_builds import expected_builds
from precsearch_strategies.acquisition.first_engines import opening
from precsearch_strategies.acquisition.rank import Judge, Pick
from precsearch_strategies.acquisition.relower import relowered
from precsearch_strategies.acquisition.sensitivity_screen import (
    asked_about,
    halved_further,
    screened_squares,
    squares_of_fastest,
)
from precsearch_strategies.encoding import Bools, Encoding, Floats
from precsearch_strategies.ending import ending
from precsearch_strategies.group_testing.isolate import isolated
from precsearch_strategies.group_testing.locate import repeated, soundly
from precsearch_strategies.history import Asking, Known
from precsearch_strategies.models.error import BELIEVED, proxy_error
from precsearch_strategies.models.profile_gains import promising
from precsearch_strategies.solvers.elimination import Elimination
from precsearch_strategies.tpe import tpe_search
from precsearch_strategies.uniform import leading_uniforms, uniform_assignments

__all__ = ["Auto"]

_AFTER = 4  # patience where group testing has left nothing beyond the noise
_LARGE = 150  # groups from which on one draw has to do
_FEW = 96  # choices up to which each has a proxy of its own where there is time
_ALONE = 0.3  # deviation of what a proxy measured of one group alone
_LOCATING = 3 / 4  # of the engines, at most, until the uniform ones run
_TWO = 2  # engines that the budget must allow for one of them to be another uniform one

Squares = tuple[Floats, Floats]


@dataclass(frozen=True)
class Auto:
    """Finds the fastest measured engine within the bound in few builds.

    The FP32 engine is the gate. Then the uniform engines; what each group costs in accuracy, at
    proxy fidelity; and from both an error model and a latency model, refitted on every engine.
    Each round ranks a pool of candidates by expected improvement (Jones et al., *Journal of Global
    Optimization* 13, 1998) times the probability of being within the bound (Gardner et al., ICML
    2014), screens the first few by proxy, and builds the best. It ends when no candidate is
    expected to gain anything beyond the noise; a stale search goes on with TPE over the groups that
    are in dispute before it ends.

    Attributes:
        builds: Engines at most, where the budget names no number.
        patience: Engines in a row that may fail to improve before it ends.
        probes: Candidates screened by proxy at a time.
        screens: Screenings at most before each build.
        least: Least expected improvement that an engine is built for, as a share of the noise.
        promise: Least improvement in a draw that one is built for, likewise.
        draws: Draws from the latency model's posterior in each round.
        margins: Shares of the bound at which an engine is kept in reserve.
        doubt: Chance of missing the bound from which on a candidate is worth a proxy.
    """

    builds: int = 60
    patience: int = 12
    probes: int = 4
    screens: int = 2
    least: float = 0.01
    promise: float = 0.5
    draws: int = 4
    margins: tuple[float, ...] = (0.85, 0.7, 0.55)
    doubt: float = 0.02

    def __post_init__(self) -> None:
        if min(self.builds, self.patience, self.probes) < 1 or self.screens < 0:
            raise OptionError(
                "auto's builds, patience and probes must be at least 1 and its screens at least 0"
            )

    def expected_builds(self, problem: Problem, /) -> tuple[int, int, int]:
        """See `precsearch_strategies.acquisition.expected_builds.expected_builds`."""
        return expected_builds(problem)

    def propose(self, problem: Problem, /) -> ReasonedProposals:
        """Search ``problem``; what it knows already is not asked for again."""
        known = Known(problem)
        (gate,) = yield from known.build([problem.all_fp32()], "FP32 is the baseline")
        if gate.measurement is None or not problem.goal.admits(gate.measurement):
            return "baseline"
        if not problem.space.free:
            return "complete"
        encoding = Encoding(problem.space)
        limit = known.limit(self.builds)
        settled = yield from self._uniforms(known, encoding, limit)
        if settled and not self._risky(known):
            return ending(known) or "settled"
        elimination = Elimination(encoding.size[0], encoding.edges, encoding.size[1])
        known.owed = int(known.engines.keys() <= set(uniform_assignments(problem)))
        if settled:
            medians, sure = yield from squares_of_fastest(known, encoding)
            share = max(self.margins)
            # Should the fastest miss, this is what ships: it is searched for, not merely built.
            tight = replace(self, patience=_AFTER)
            squares = medians / share**2, sure
            yield from tight._rounds(known.tightened(share), encoding, squares, elimination, limit)
            return ending(known) or "settled"
        why = yield from self._mixed(known, encoding, elimination, limit)
        return ending(known) or why

    def _uniforms(self, known: Known, encoding: Encoding, limit: int) -> Asking[bool]:
        """Build the uniform engines. Returns whether they settle the question."""
        most = math.ceil(limit * _LOCATING)
        if (yield from opening(known, encoding, most)):
            return True
        for assignment in leading_uniforms(known.problem):
            if known.builds > 1 and known.engine_room() < _TWO:
                break  # the last engine is to be a mixed one
            reason = "uniform, less what the priors advise against"
            yield from soundly(known, encoding, assignment, reason, most)
        return bool(known.passing()) and not promising(known, encoding).any()

    def _risky(self, known: Known) -> bool:
        """Whether nothing would be left of the speed if the fastest engine missed on other samples.

        An engine well within the bound holds there, too, and so does FP32.
        """
        best = known.best_ratio() * (1 + known.problem.goal.noise)
        near = [t for t in known.passing() if (known.ratio(t) or 1.0) <= best]
        safe = (not len(t.assignment) or (known.usage(t) or 0.0) <= max(self.margins) for t in near)
        return bool(self.margins) and not any(safe)

    def _mixed(
        self, known: Known, encoding: Encoding, elimination: Elimination, limit: int
    ) -> Asking[str]:
        """Search on where uniform engines do not settle it. Returns why it ended."""
        wanted = promising(known, encoding)
        if wanted[:, 1:].any():
            leading = leading_uniforms(known.problem)
            yield from known.probe(leading, "how far to believe proxies")
        asked = asked_about(known, encoding, wanted)
        squares = yield from screened_squares(known, encoding, wanted)
        reserved = len(self.margins) if limit > 4 * len(self.margins) else 0
        squares, done = yield from isolated(known, encoding, squares, wanted, limit - reserved)
        # Where culprits were found and left out, models have little to add.
        rest = replace(self, draws=0, patience=_AFTER, screens=0) if done else self
        halved = asked.sum() <= _FEW and bool((squares[1][asked] > _ALONE).any())
        coarse = asked if halved and not done else None
        why = yield from rest._rounds(
            known, encoding, squares, elimination, limit - reserved, coarse
        )
        yield from relowered(known, encoding, limit - reserved)
        yield from rest._reserves(known, encoding, squares, elimination, limit)
        if why == "limit":  # what is left of the reserve is for the search
            why = yield from rest._rounds(known, encoding, squares, elimination, limit)
        if why == "patience" and not done:
            yield from self._disputed(known, limit)
        return why if known.builds < limit or why == "converged" else "limit"

    def _reserves(
        self,
        known: Known,
        encoding: Encoding,
        squares: Squares,
        elimination: Elimination,
        limit: int,
    ) -> Asking[None]:
        """Engines well below the bound, should the fastest not hold on other samples.

        An engine chosen among many at the edge of a bound often misses it on fresh data; the
        caller goes on to the next of its finalists then, so there had better be one.
        """
        for share in self.margins:
            tight = known.tightened(share)
            if known.builds >= limit:
                return
            chosen = yield from self._screened(
                tight, encoding, (squares[0] / share**2, squares[1]), elimination
            )
            if chosen is not None:
                yield from tight.build([chosen.assignment], chosen.reason, chosen.predicted)

    def _disputed(self, known: Known, limit: int) -> Asking[None]:
        """TPE over the groups in which the fastest passing engines differ from each other."""
        fast = [t.assignment for t in known.passing()[: self.probes + 1]]
        keys = sorted({k for a in fast for k in a if any(b[k] is not a[k] for b in fast)})
        if keys:
            patience = math.ceil(self.patience / 3)
            yield from tpe_search(known, limit=limit, patience=patience, keys=keys, base=fast[0])

    def _rounds(
        self,
        known: Known,
        encoding: Encoding,
        squares: Squares,
        elimination: Elimination,
        limit: int,
        coarse: Bools | None = None,
    ) -> Asking[str]:
        """Build what the models propose, one engine at least. Returns why it ended.

        ``coarse`` are choices of which only sets were asked about, for want of time: what time
        there is for proxies goes on halving these sets, before any candidate is screened.
        """
        n = encoding.size[0]
        stale, reference = 0, known.best_ratio()
        patience = math.ceil(2 * self.patience / 3) + (n // 50 if self.draws else 0)
        while known.builds < limit and stale < patience:
            if coarse is not None and known.builds > 2 and known.proxy_room() > 0:
                squares = yield from halved_further(known, encoding, squares, coarse)
            chosen = yield from self._screened(known, encoding, squares, elimination)
            if chosen is None and known.owed:
                chosen = self._judge(known, encoding, squares, elimination).anyway()
            if chosen is None:
                return "converged"
            yield from known.build([chosen.assignment], chosen.reason, chosen.predicted)
            yield from repeated(known, encoding, limit)
            stale += 1
            if known.best_ratio() < reference * (1 - known.problem.goal.noise):
                stale, reference = 0, known.best_ratio()
        return "patience" if known.builds < limit else "limit"

    def _screened(
        self, known: Known, encoding: Encoding, squares: Squares, elimination: Elimination
    ) -> Asking[Pick | None]:
        """The candidate of most worth that its proxy does not rule out, ``None`` if none is."""
        judge = self._judge(known, encoding, squares, elimination)
        most = 3 * self.probes
        affordable = known.proxy_room() > 0
        screens = self.screens if affordable and proxy_error(known)[1] <= BELIEVED else 0
        if screens:
            # What would be fast and is thought to be beyond the bound is worth a proxy, too.
            hopeful = judge.ranked(most, soften=0.25)
            new = [p.assignment for p in hopeful if self._open(known, p)]
            yield from known.probe(new[: self.probes], "screening a faster candidate")
        for _ in range(screens):
            ranked = judge.ranked(most)
            if not ranked or not self._open(known, ranked[0]):
                return ranked[0] if ranked else None
            new = [p.assignment for p in ranked if self._open(known, p)]
            yield from known.probe(new[: self.probes], "screening a candidate")
        ranked = judge.ranked(most)
        first = ranked[0] if ranked else None
        return next((p for p in ranked if not self._open(known, p)), first)

    def _judge(
        self, known: Known, encoding: Encoding, squares: Squares, elimination: Elimination
    ) -> Judge:
        count = self.draws if encoding.size[0] <= _LARGE else min(self.draws, 1)
        return Judge(known, encoding, squares, elimination, count, self.least, self.promise)

    def _open(self, known: Known, pick: Pick) -> bool:
        """Whether a proxy could change what is thought of a candidate.

        One that the models rule out is worth a proxy all the same: they may be wrong of it, and no
        engine would ever tell.
        """
        return pick.assignment not in known.proxies and pick.within < 1 - self.doubt
