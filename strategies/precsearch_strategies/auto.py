"""The default search: models propose, proxies screen, engines decide."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace

from precsearch.core.errors import OptionError
from precsearch.core.problem import Problem
from precsearch.core.strategy import Ending, ReasonedProposals
from precsearch_strategies.acquisition.expected_builds import expected_builds
from precsearch_strategies.acquisition.first_engines import baseline, opening
from precsearch_strategies.acquisition.relower import relowered
from precsearch_strategies.acquisition.rounds import RoundOptions, Rounds
from precsearch_strategies.acquisition.sensitivity_screen import (
    asked_about,
    screened_squared_usage,
    squared_usage_of_fastest,
)
from precsearch_strategies.encoding import Encoding
from precsearch_strategies.ending import ending
from precsearch_strategies.group_testing.isolate import isolated
from precsearch_strategies.group_testing.locate import soundly
from precsearch_strategies.history import History, Subroutine
from precsearch_strategies.models.profile_gains import promising
from precsearch_strategies.solvers.elimination import Elimination
from precsearch_strategies.uniform import leading_uniforms, uniform_assignments

__all__ = ["Auto"]

_FEW_ENGINES = 4  # from which on one is kept for a reserve
_FEW = 96  # choices up to which each has a proxy of its own where there is time
_ALONE = 0.3  # deviation of what a proxy measured of one group alone
_LOCATING = 3 / 4  # of the engines, at most, until the uniform ones run
_TWO = 2  # engines that the budget must allow for one of them to be another uniform one


@dataclass(frozen=True)
class Auto:
    """Finds the fastest measured engine within the bound in few builds.

    The FP32 engine is the gate. Then the uniform engines; what each group costs in accuracy, at
    proxy fidelity; and from both an error model and a latency model, refitted on every engine.
    Each round ranks a pool of candidates by expected improvement (Jones et al., *Journal of Global
    Optimization* 13, 1998) times the probability of being within the bound (Gardner et al., ICML
    2014), screens the first few by proxy, and builds the best. It ends when no candidate has
    an expected gain that matters, by models whose doubt is calibrated on the engines of this very
    search, or when engines bring no gain.

    Attributes:
        builds: Engines at most, where the budget names no number.
        patience: Engines in a row that may fail to improve before it ends.
        sure: Engines in a row after which what is merely unknown is not built any more.
        probes: Candidates screened by proxy at a time.
        screens: Screenings at most before each build.
        least: Least expected gain that an engine is built for, as a share of the best latency.
        promise: Least improvement in a draw that one is built for, as the same share.
        draws: Draws from the latency model's posterior in each round.
        margin: Share of the bound at which an engine is kept in reserve, less where the samples
            leave the losses in more doubt than that; 0 for no reserve.
        doubt: Chance of missing the bound from which on a candidate is worth a proxy.
    """

    builds: int = 60
    patience: int = 8
    sure: int = 3
    probes: int = 4
    screens: int = 2
    least: float = 0.001
    promise: float = 0.005
    draws: int = 4
    margin: float = 0.85
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
        known = History(problem)
        yield from known.build_for(baseline(known))
        gate = known.engines[problem.all_fp32()]
        if gate.measurement is None or not problem.goal.admits(gate.measurement):
            return "baseline"
        if not problem.space.free:
            return "complete"
        encoding = Encoding(problem.space)
        limit = known.limit(self.builds)
        settled = yield from self._uniforms(known, encoding, limit)
        if settled and (not self.margin or known.holds(known.margin(self.margin))):
            return ending(known) or "settled"
        elimination = Elimination(encoding.size[0], encoding.edges, encoding.size[1])
        known.owed = int(known.engines.keys() <= set(uniform_assignments(problem)))
        rounds = Rounds(known, encoding, elimination, limit, self._options)
        if settled:
            medians, sure = yield from squared_usage_of_fastest(known, encoding)
            share = known.margin(self.margin)
            # Should the fastest miss, this is what ships: it is searched for, not merely built.
            options = replace(self._options, patience=self.sure)
            tight = replace(rounds, known=known.tightened(share), options=options)
            yield from tight.run((medians / share**2, sure))
            return ending(known) or "settled"
        why = yield from self._mixed(rounds)
        return Ending(ending(known) or why, known.expected_gain)

    @property
    def _options(self) -> RoundOptions:
        return RoundOptions(**{f.name: getattr(self, f.name) for f in fields(RoundOptions)})

    def _uniforms(self, known: History, encoding: Encoding, limit: int) -> Subroutine[bool]:
        """Build the uniform engines. Returns whether they settle the question."""
        most = math.ceil(limit * _LOCATING)
        if (yield from opening(known, encoding, most)):
            return True
        for assignment in leading_uniforms(known.problem):
            if known.builds > 1 and known.engine_room() < _TWO:
                break  # the last engine is to be a mixed one
            reason = "uniform, without the groups that rules advise against"
            yield from soundly(known, encoding, assignment, reason, most)
        return bool(known.passing()) and not promising(known, encoding).any()

    def _mixed(self, rounds: Rounds) -> Subroutine[str]:
        """Search on where uniform engines do not settle it. Returns why it ended."""
        known, encoding, limit = rounds.known, rounds.encoding, rounds.limit
        for guess in known.problem.guesses:
            if known.builds < limit and not known.excludes(guess):
                yield from known.build([guess], "what the plan chose that it starts from")
        wanted = promising(known, encoding)
        if wanted[:, 1:].any():
            leading = leading_uniforms(known.problem)
            yield from known.probe(leading, "how far to believe proxies")
        asked = asked_about(known, encoding, wanted)
        squared_usage = yield from screened_squared_usage(known, encoding, wanted)
        # An engine of few is better spent on the search.
        reserved = int(self.margin > 0 and limit > _FEW_ENGINES)
        first = replace(rounds, limit=limit - reserved, margin=self.margin)
        squared_usage, done = yield from isolated(
            known, encoding, squared_usage, wanted, first.limit
        )
        if done:  # where culprits were found and left out, models have little to add
            options = replace(
                self._options, draws=0, patience=self.sure, screens=0, least=3 * self.least
            )
            first = replace(first, options=options)
        halved = asked.sum() <= _FEW and bool((squared_usage[1][asked] > _ALONE).any())
        why = yield from first.run(squared_usage, asked if halved and not done else None)
        yield from relowered(known, encoding, first.limit)
        rest = replace(first, limit=limit)
        yield from rest.reserve(squared_usage)
        if why == "limit":  # what is left of the reserve is for the search
            why = yield from rest.run(squared_usage)
        return "limit" if why == "patience" and known.builds >= limit else why
