"""The default search: models propose, proxies screen, engines decide."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from precsearch.errors import OptionError
from precsearch.goal import Problem
from precsearch.space import Assignment
from precsearch.strategy import ReasonedProposals
from precsearch_strategies.elimination import Elimination
from precsearch_strategies.encoding import Encoding, Floats
from precsearch_strategies.ending import ending
from precsearch_strategies.errormodel import BELIEVED, proxy_error
from precsearch_strategies.estimate import expected_builds
from precsearch_strategies.gains import promising
from precsearch_strategies.isolation import isolated
from precsearch_strategies.judging import Judge, Pick
from precsearch_strategies.known import Asking, Known
from precsearch_strategies.opening import opening
from precsearch_strategies.relowering import relowered
from precsearch_strategies.screening import screened_squares
from precsearch_strategies.tpe import tpe_search
from precsearch_strategies.uniform import leading_uniforms

__all__ = ["Auto"]

_AFTER = 4  # patience where group testing has left nothing beyond the noise
_LARGE = 150  # groups from which on one draw has to do

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
        """See `precsearch_strategies.estimate.expected_builds`."""
        return expected_builds(problem)

    def propose(self, problem: Problem, /) -> ReasonedProposals:
        """Search ``problem``."""
        known = Known(problem)
        (gate,) = yield from known.build([problem.all_fp32()], "FP32 is the gate")
        if gate.measurement is None or not problem.goal.admits(gate.measurement):
            return "baseline"
        if not problem.space.free:
            return "complete"
        leading = leading_uniforms(problem)
        if (yield from opening(known)):
            return "settled"
        yield from known.build(leading, "uniform, less what the priors advise against")
        encoding = Encoding(problem.space)
        wanted = promising(known, encoding)
        if not wanted.any() and known.passing():
            return "settled"
        if wanted[:, 1:].any():
            yield from known.probe(leading, "how far to believe proxies")
        squares = yield from screened_squares(known, encoding, wanted)
        yield from _retried(known, encoding, squares[0], leading)
        limit = problem.budget.max_builds or self.builds
        reserved = len(self.margins) if limit > 4 * len(self.margins) else 0
        squares, done = yield from isolated(known, encoding, squares, wanted, limit - reserved)
        # Where culprits were found and left out, models have little to add.
        rest = replace(self, draws=0, patience=_AFTER, screens=0) if done else self
        elimination = Elimination(encoding.size[0], encoding.edges, encoding.size[1])
        settled = yield from rest._rounds(known, encoding, squares, elimination, limit - reserved)
        yield from relowered(known, encoding, limit - reserved)
        yield from rest._reserves(known, encoding, squares, elimination, limit)
        if settled or done:
            return ending(known) or ("converged" if known.builds < limit else "limit")
        yield from self._disputed(known, limit)
        return ending(known) or ("patience" if known.builds < limit else "limit")

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
                reason = f"in reserve, at {share:.0%} of the bound: {chosen.reason}"
                said = chosen.predicted
                predicted = replace(said, slack=share * said.slack)
                yield from tight.build([chosen.assignment], reason, predicted)

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
    ) -> Asking[bool]:
        """Build what the models propose. Returns whether they expect nothing more."""
        n = encoding.size[0]
        stale, reference = 0, known.best_ratio()
        patience = math.ceil(2 * self.patience / 3) + (n // 50 if self.draws else 0)
        while known.builds < limit and stale < patience:
            chosen = yield from self._screened(known, encoding, squares, elimination)
            if chosen is None:
                return True
            yield from known.build([chosen.assignment], chosen.reason, chosen.predicted)
            stale += 1
            if known.best_ratio() < reference * (1 - known.problem.goal.noise):
                stale, reference = 0, known.best_ratio()
        return False

    def _screened(
        self, known: Known, encoding: Encoding, squares: Squares, elimination: Elimination
    ) -> Asking[Pick | None]:
        """The candidate of most worth that its proxy does not rule out, ``None`` if none is."""
        count = self.draws if encoding.size[0] <= _LARGE else min(self.draws, 1)
        judge = Judge(known, encoding, squares, elimination, count, self.least, self.promise)
        most = 3 * self.probes
        screens = self.screens if proxy_error(known)[1] <= BELIEVED else 0
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

    def _open(self, known: Known, pick: Pick) -> bool:
        """Whether a proxy could change what is thought of a candidate.

        One that the models rule out is worth a proxy all the same: they may be wrong of it, and no
        engine would ever tell.
        """
        return pick.assignment not in known.proxies and pick.within < 1 - self.doubt


def _retried(
    known: Known, encoding: Encoding, squares: Floats, leading: Sequence[Assignment]
) -> Asking[None]:
    """Where a uniform engine did not build, it once more without its worst few groups.

    Without it nothing is known of times and of sums of errors at that precision.
    """
    for assignment in leading:
        if known.engines[assignment].measurement is not None:
            continue
        labels = encoding.encode(assignment).copy()
        worst = np.argsort(-squares[np.arange(len(labels)), labels], kind="stable")
        labels[worst[: math.ceil(len(labels) / 20)]] = 0
        less = encoding.decode(labels)
        yield from known.build([less], "the uniform engine failed: without its worst groups")
