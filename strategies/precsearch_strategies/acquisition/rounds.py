"""Builds what the models propose, on each device one at a time, until nothing is to be gained."""

from __future__ import annotations

from dataclasses import dataclass, replace

from precsearch.core.space import Assignment
from precsearch.core.trial import Proposal
from precsearch_strategies.acquisition.rank import RankedCandidate, Ranker
from precsearch_strategies.acquisition.sensitivity_screen import halved_further, told_apart
from precsearch_strategies.encoding import Bools, Encoding, Floats
from precsearch_strategies.group_testing.locate import repeated
from precsearch_strategies.history import History, Subroutine
from precsearch_strategies.models.error import BELIEVED, proxy_error
from precsearch_strategies.solvers.elimination import Elimination

__all__ = ["RoundOptions", "Rounds", "SquaredUsage"]

_LARGE = 150  # groups from which on one draw has to do

SquaredUsage = tuple[Floats, Floats]


@dataclass(frozen=True, slots=True)
class RoundOptions:
    """See `precsearch_strategies.auto.Auto`, whose attributes of these names they are."""

    patience: int
    sure: int
    probes: int
    screens: int
    least: float
    promise: float
    draws: int
    doubt: float


@dataclass(frozen=True)
class Rounds:
    """Rounds of ranking, screening and building.

    Attributes:
        known: The trials.
        encoding: Of their assignments.
        elimination: Planned for the space.
        limit: Engines of the whole search at most.
        options: How far to go.
        margin: Share of the bound for an engine in reserve; 0 for none.
    """

    known: History
    encoding: Encoding
    elimination: Elimination
    limit: int
    options: RoundOptions
    margin: float = 0.0

    def run(self, squared_usage: SquaredUsage, coarse: Bools | None = None) -> Subroutine[str]:
        """Build what the models propose, one engine at least. Returns why it ended.

        After some engines without a gain, none is built any more for what is merely unknown.

        Args:
            squared_usage: What single choices cost, and how surely.
            coarse: Choices of which only sets were asked about, for want of time: what time there
                is for proxies goes on halving these sets, before any candidate is screened. Once an
                engine brings no gain, what is left of them is asked about one by one.
        """
        known, options = self.known, self.options
        # Of engines that were chosen at a time, none knew what the others would show. After group
        # tests there is little left to gain.
        devices = known.problem.devices
        many = self.encoding.size[0] // 50 + devices - 1 if options.draws else devices // 3
        stale, reference, why = 0, known.best_ratio(), ""
        before: set[Assignment] = set()  # pending when the last gain came: chosen without it
        while known.builds < self.limit and stale < options.patience + many:
            if coarse is not None and known.builds > 2:
                if stale and not known.proxies_first:
                    squared_usage = yield from self._told_apart(squared_usage, coarse)
                    stale = 0
                elif not known.proxies_first and known.proxy_room() > 0:
                    squared_usage = yield from halved_further(
                        known, self.encoding, squared_usage, coarse
                    )
            tired = stale >= options.sure + many
            # What is merely unknown can wait where engines are being built that will tell.
            unknown = not (tired or known.pending) and (stale == 0 or known.problem.devices == 1)
            # Engines that are being built count towards patience, unless one brings a gain.
            room = options.patience + many - stale - len(known.pending.keys() - before)
            picks = yield from self._picks(squared_usage, room, unknown=unknown)
            if not picks and not known.pending:
                asked = len(known.proxies)
                if coarse is not None:
                    squared_usage = yield from self._told_apart(squared_usage, coarse)
                if len(known.proxies) > asked:
                    continue
                why = "converged"
                known.expected_gain = self._judge(squared_usage, unknown=False).expected_gain()
                break
            done = yield from self._built(picks)
            yield from repeated(known, self.encoding, self.limit)
            stale += done not in before
            if known.best_ratio() < reference * (1 - known.worth):
                stale, reference, before = 0, known.best_ratio(), set(known.pending)
        while known.pending:
            yield from known.ahead([])
        return why or ("patience" if known.builds < self.limit else "limit")

    def _told_apart(self, squared_usage: SquaredUsage, coarse: Bools) -> Subroutine[SquaredUsage]:
        """Groups alone, where sets leave engines without a gain."""
        self.known.proxies_first = True
        return (yield from told_apart(self.known, self.encoding, squared_usage, coarse))

    def _picks(
        self, squared_usage: SquaredUsage, room: int, *, unknown: bool
    ) -> Subroutine[list[Proposal]]:
        """What to build next, one for each idle device, ``room`` at most.

        Each is chosen as if those before it had come out as predicted. A device for which there is
        no other candidate builds the engine in reserve.
        """
        known, proposals, least = self.known, list[Proposal](), self.options.least
        most = min(known.problem.devices, self.limit - known.builds)
        while len(proposals) < room and len(known.pending) < most:
            judge, by = self._judge(squared_usage, unknown=unknown), known
            chosen = yield from self._screened(judge, least)
            if chosen is None:
                yield from self._checked(judge)
                if judge.outdated:
                    judge = self._judge(squared_usage, unknown=unknown)
                    chosen = yield from self._screened(judge, least)
            if chosen is None and known.owed:
                chosen = judge.anyway()
            if chosen is None and known.pending and self._at_risk and not known.reserved:
                known.reserved = True
                by = known.tightened(known.margin(self.margin))
                chosen = yield from replace(self, known=by)._in_reserve(squared_usage)
            if chosen is None:
                break
            proposals.append(by.proposal(chosen.assignment, chosen.reason, chosen.predicted))
            known.pending[chosen.assignment] = proposals[-1]
            raw = chosen.forecast
            known.forecasts[chosen.assignment] = replace(raw, usage=by.share * raw.usage)
            known.foreseen.setdefault(chosen.assignment, known.forecasts[chosen.assignment])
            known.owed = 0
        return proposals

    def _built(self, proposals: list[Proposal]) -> Subroutine[Assignment]:
        """Build; where there are several devices, until one of them is done. Which one it is."""
        if self.known.problem.devices > 1:
            return (yield from self.known.ahead(proposals)).assignment
        self.known.pending.clear()
        (p,) = proposals
        yield from self.known.build([p.assignment], p.reason, p.predicted)
        return p.assignment

    def reserve(self, squared_usage: SquaredUsage) -> Subroutine[None]:
        """An engine well below the bound, should the fastest not hold on other samples.

        An engine chosen among many at the edge of a bound often misses it on fresh data; the
        caller goes on to the next of its finalists then, so there had better be one. None is built
        where one that is as fast as that has been built already.

        Args:
            squared_usage: As for `run`.
        """
        known = self.known
        if known.reserved or known.builds >= self.limit or not self._at_risk:
            return
        tight = replace(self, known=known.tightened(known.margin(self.margin)))
        chosen = yield from tight._in_reserve(squared_usage)
        if chosen is not None:
            yield from tight.known.build([chosen.assignment], chosen.reason, chosen.predicted)

    @property
    def _at_risk(self) -> bool:
        """Whether the fastest engine may miss on other samples, and nothing as fast would hold."""
        return self.margin > 0 and not self.known.holds(self.known.margin(self.margin))

    def _in_reserve(self, squared_usage: SquaredUsage) -> Subroutine[RankedCandidate | None]:
        """The best candidate under a tightened bound."""
        judge = self._judge((squared_usage[0] / self.known.share**2, squared_usage[1]))
        return (yield from self._screened(judge, self.options.least))

    def _screened(self, judge: Ranker, least: float) -> Subroutine[RankedCandidate | None]:
        """The candidate of most worth that its proxy does not rule out, ``None`` if none is."""
        known, options = self.known, self.options
        most = 3 * options.probes
        room = known.affordable_screens(options.probes * (options.screens + 1))
        if options.screens and self._trusted:
            # What would be fast and is thought to be beyond the bound is worth a proxy, too.
            hopeful = self._open(judge.ranked(most, least, soften=0.25))
            asked = hopeful[: min(options.probes, (room + 1) // 2)]
            room -= len(asked)
            yield from self._probe(asked, "screening a faster candidate")
        for _ in range(options.screens):
            ranked = judge.ranked(most, least)
            asked = self._open(ranked)[: min(options.probes, room)]
            if not asked or not self._trusted or ranked[0] != asked[0]:
                break
            room -= len(asked)
            yield from self._probe(asked, "screening a candidate")
        ranked = judge.ranked(most, least)
        open_ = {p.assignment for p in self._open(ranked)}
        first = ranked[0] if ranked else None
        return next((p for p in ranked if p.assignment not in open_), first)

    def _checked(self, judge: Ranker) -> Subroutine[None]:
        """Ask proxies of what only the error model rules out, before a search ends on its word."""
        known, options = self.known, self.options
        room = known.affordable_screens(options.probes)
        if options.screens and self._trusted and room:
            yield from self._probe(judge.ruled_out(room), "checking what the error model rules out")

    def _probe(self, picks: list[RankedCandidate], reason: str) -> Subroutine[None]:
        """Ask for proxies of candidates, and remember what was expected of them."""
        known = self.known
        for p in picks:
            usage = known.share * p.forecast.usage
            known.foreseen.setdefault(p.assignment, replace(p.forecast, usage=usage))
        yield from known.probe([p.assignment for p in picks], reason)

    @property
    def _trusted(self) -> bool:
        """Whether there is time for proxies, and they tell of engines."""
        return self.known.proxy_room() > 0 and proxy_error(self.known)[1] <= BELIEVED

    def _open(self, ranked: list[RankedCandidate]) -> list[RankedCandidate]:
        """Of which candidates a proxy could change what is thought of them.

        One that the models rule out is worth a proxy all the same: they may be wrong of it, and no
        engine would ever tell.
        """
        sure = 1 - self.options.doubt
        return [p for p in ranked if p.assignment not in self.known.proxies and p.within < sure]

    def _judge(self, squared_usage: SquaredUsage, *, unknown: bool = True) -> Ranker:
        """``unknown``: whether with draws, which promise a gain of what is merely unknown."""
        options, large = self.options, self.encoding.size[0] > _LARGE
        draws = (min(options.draws, 1) if large else options.draws) if unknown else 0
        return Ranker(
            self.known, self.encoding, squared_usage, self.elimination, draws, options.promise
        )
