"""The default search: models propose, proxies screen, engines decide."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from precsearch.errors import OptionError
from precsearch.goal import Problem
from precsearch.space import Assignment
from precsearch.strategy import Proposals
from precsearch_strategies.candidates import candidates
from precsearch_strategies.elimination import Elimination
from precsearch_strategies.encoding import Encoding, Floats, Labels
from precsearch_strategies.errormodel import BELIEVED, ErrorModel, proxy_error
from precsearch_strategies.estimate import expected_builds
from precsearch_strategies.gains import promising
from precsearch_strategies.isolation import isolated
from precsearch_strategies.known import Asking, Known
from precsearch_strategies.latencymodel import LatencyModel
from precsearch_strategies.opening import opening
from precsearch_strategies.screening import screened_squares
from precsearch_strategies.suspicion import suspicion
from precsearch_strategies.tpe import tpe_search
from precsearch_strategies.trust import extension, radius
from precsearch_strategies.uniform import leading_uniforms

__all__ = ["Auto"]

_LARGE = 300  # groups from which on one draw has to do

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
    """

    builds: int = 60
    patience: int = 12
    probes: int = 4
    screens: int = 2
    least: float = 0.01
    promise: float = 0.5
    draws: int = 4
    margins: tuple[float, ...] = (0.85, 0.7, 0.55)

    def __post_init__(self) -> None:
        if min(self.builds, self.patience, self.probes, self.screens) < 1:
            raise OptionError("auto's builds, patience, probes and screens must be at least 1")

    def expected_builds(self, problem: Problem, /) -> tuple[int, int, int]:
        """See `precsearch_strategies.estimate.expected_builds`."""
        return expected_builds(problem)

    def propose(self, problem: Problem, /) -> Proposals:
        """Search ``problem``."""
        known = Known(problem)
        (gate,) = yield from known.build([problem.all_fp32()], "FP32 is the gate")
        if gate.measurement is None or not problem.goal.admits(gate.measurement):
            return
        if not problem.space.free:
            return
        leading = leading_uniforms(problem)
        if (yield from opening(known)):
            return
        yield from known.build(leading, "uniform, less what the priors advise against")
        encoding = Encoding(problem.space)
        wanted = promising(known, encoding)
        if not wanted.any() and known.passing():
            return
        if wanted[:, 1:].any():
            yield from known.probe(leading, "how far to believe proxies")
        squares = yield from screened_squares(known, encoding, wanted)
        yield from _retried(known, encoding, squares[0], leading)
        limit = problem.budget.max_builds or self.builds
        reserved = len(self.margins) if limit > 4 * len(self.margins) else 0
        squares = yield from isolated(known, encoding, squares, wanted, limit - reserved)
        settled = yield from self._rounds(known, encoding, squares, limit - reserved)
        yield from self._reserves(known, encoding, squares, limit)
        if not settled:
            yield from self._disputed(known, limit)

    def _reserves(
        self, known: Known, encoding: Encoding, squares: Squares, limit: int
    ) -> Asking[None]:
        """Engines well below the bound, should the fastest not hold on other samples.

        An engine chosen among many at the edge of a bound often misses it on fresh data; the
        caller goes on to the next of its finalists then, so there had better be one.
        """
        elimination = Elimination(encoding.size[0], encoding.edges, encoding.size[1])
        for share in self.margins:
            tight = known.tightened(share)
            if known.builds >= limit:
                return
            chosen = yield from self._screened(
                tight, encoding, (squares[0] / share**2, squares[1]), elimination
            )
            if chosen is not None:
                reason = f"in reserve, at {share:.0%} of the bound: {chosen.reason}"
                yield from tight.build([chosen.assignment], reason)

    def _disputed(self, known: Known, limit: int) -> Asking[None]:
        """TPE over the groups in which the fastest passing engines differ from each other."""
        fast = [t.assignment for t in known.passing()[: self.probes + 1]]
        keys = sorted({k for a in fast for k in a if any(b[k] is not a[k] for b in fast)})
        if keys:
            patience = math.ceil(self.patience / 3)
            yield from tpe_search(known, limit=limit, patience=patience, keys=keys, base=fast[0])

    def _rounds(
        self, known: Known, encoding: Encoding, squares: Squares, limit: int
    ) -> Asking[bool]:
        """Build what the models propose. Returns whether they expect nothing more."""
        n, p = encoding.size
        elimination = Elimination(n, encoding.edges, p)
        stale, reference = 0, known.best_ratio()
        patience = math.ceil(2 * self.patience / 3) + n // 50
        while known.builds < limit and stale < patience:
            chosen = yield from self._screened(known, encoding, squares, elimination)
            if chosen is None:
                return True
            yield from known.build([chosen.assignment], chosen.reason)
            stale += 1
            if known.best_ratio() < reference * (1 - known.problem.goal.noise):
                stale, reference = 0, known.best_ratio()
        return False

    def _screened(
        self, known: Known, encoding: Encoding, squares: Squares, elimination: Elimination
    ) -> Asking[Pick | None]:
        """The candidate of most worth that its proxy does not rule out, ``None`` if none is."""
        screens = self.screens if proxy_error(known)[1] <= BELIEVED else 0
        if screens:
            # What would be fast and is thought to be beyond the bound is worth a proxy, too.
            hopeful = self._ranked(known, encoding, squares, elimination, soften=0.25)
            new = [p.assignment for p in hopeful if p.assignment not in known.proxies]
            yield from known.probe(new[: self.probes], "screening a faster candidate")
        for _ in range(screens):
            ranked = self._ranked(known, encoding, squares, elimination)
            if not ranked or ranked[0].assignment in known.proxies:
                return ranked[0] if ranked else None
            new = [p.assignment for p in ranked if p.assignment not in known.proxies]
            yield from known.probe(new[: self.probes], "screening a candidate")
        ranked = self._ranked(known, encoding, squares, elimination)
        first = ranked[0] if ranked else None
        return next((p for p in ranked if p.assignment in known.proxies), first)

    def _ranked(
        self,
        known: Known,
        encoding: Encoding,
        squares: Squares,
        elimination: Elimination,
        soften: float = 1.0,
    ) -> list[Pick]:
        """Untried candidates that are worth an engine, best first.

        By expected improvement. Where that is nil, as it is among many equally unknown groups, by
        what a draw from the latency model's posterior promises (Thompson sampling), if that is
        beyond the noise.
        """
        rng = np.random.default_rng([known.problem.seed, known.builds, len(known.proxies)])
        errors = ErrorModel.fit(known, encoding, *squares)
        latency = LatencyModel.fit(known, encoding)
        count = self.draws if encoding.size[0] <= _LARGE else min(self.draws, 1)
        draws = [latency.sample(rng) for _ in range(count)]
        pool = candidates(known, encoding, errors, latency, elimination, draws)
        chance = _chances(known, encoding, errors, pool)
        far, trusted = extension(known, encoding, pool), radius(known, encoding)
        best, noise = known.best_ratio(), known.problem.goal.noise
        mean, spread = latency.predict(pool)
        # The best of many noisy measurements was lucky: its prediction is what is to be beaten.
        fastest = [encoding.encode(t.assignment) for t in known.passing()]
        than = np.array(fastest or [np.zeros_like(encoding.lowest)])
        expected = latency.predict(than)[0]
        gain = chance**soften * _expected_gain(mean, spread, max(best, float(expected.min())))
        note = _note(errors, mean, errors.predict(pool), spread)
        for reach in dict.fromkeys((trusted, 4 * trusted, math.inf)):
            worth = gain * (far <= reach)
            found = self._first(known, encoding, pool, worth, self.least * noise * best, note)
            if found:
                return found
        if not draws:
            return []
        promise = chance * latency.saved(pool, than[0], draws)
        note = _note(errors, mean, errors.predict(pool), spread, "a draw promises more: ")
        return self._first(known, encoding, pool, promise, self.promise * noise * best, note)

    def _first(
        self,
        known: Known,
        encoding: Encoding,
        pool: Labels,
        worth: Floats,
        least: float,
        note: Callable[[int], str],
    ) -> list[Pick]:
        """The untried ones of ``pool`` of at least this worth, best first; not many."""
        found: list[Pick] = []
        for i in np.argsort(-worth, kind="stable").tolist():
            if worth[i] < least or len(found) == 3 * self.probes:
                break
            assignment = encoding.decode(pool[i])
            if assignment not in known.engines:
                found.append(Pick(assignment, note(i)))
        return found


@dataclass(frozen=True, slots=True)
class Pick:
    """A candidate, and what its models say of it."""

    assignment: Assignment
    reason: str


def _note(
    errors: ErrorModel, ratio: Floats, slack: Floats, spread: Floats, lead: str = ""
) -> Callable[[int], str]:
    """Says what is predicted of a candidate, and how far engines were from their predictions."""

    def note(i: int) -> str:
        off = math.expm1(errors.spread)
        return (
            f"{lead}predicted {ratio[i]:.3f} ± {spread[i]:.3f} of FP32's latency at "
            f"{min(float(slack[i]), 9.99):.0%} of the bound (losses were predicted to {off:.0%})"
        )

    return note


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


def _chances(known: Known, encoding: Encoding, errors: ErrorModel, pool: Labels) -> Floats:
    """(c,) probability that an engine builds and is within the bound."""
    chance = errors.chance(pool)
    probed = {
        encoding.encode(a).tobytes(): slack
        for a, t in known.proxies.items()
        if (slack := known.slack(t)) is not None
    }
    for i, row in enumerate(pool):
        slack = probed.get(row.tobytes())
        if slack is not None:
            chance[i] = errors.chance_after_proxy(row, slack)
    sound = 1.0 - suspicion(known, encoding)
    return np.asarray(chance * sound[np.arange(pool.shape[1]), pool].prod(axis=1))


def _expected_gain(mean: Floats, spread: Floats, best: float) -> Floats:
    """Expected improvement over ``best`` of normally distributed ratios."""
    spread = np.maximum(spread, 1e-9)
    z = np.clip((best - mean) / spread, -30.0, 30.0)
    below = np.array([0.5 * math.erfc(-v / math.sqrt(2)) for v in z.tolist()])
    return np.asarray((best - mean) * below + spread * np.exp(-0.5 * z**2) / math.sqrt(2 * math.pi))
