"""What a search has spent on which trials, and what it can still afford."""

from __future__ import annotations

import math
from statistics import median

from precsearch.core.exclusions import built
from precsearch.core.problem import Problem
from precsearch.core.space import Assignment
from precsearch.core.trial import Trial

__all__ = ["Ledger"]

_SHARE = 1 / 3  # of the time spent so far that proxies may take; docs/adr/0014
_LARGER_SHARE = 2 / 3  # the same where engines bring no gain for want of proxies; docs/adr/0061
_FREE_S = 3.0  # that proxies may take in any case
_MARGIN = 1.25  # of the slowest engine's time that is kept for one that is owed
_DOUBT = 3.0  # times what the first proxy is thought to take, that a time budget must have left
_SCREENING = 1 / 2  # of an engine's time that screening the candidates for it may take
_UNLIMITED = 10**6


class Ledger:
    """The trials of one search by canonical assignment.

    Args:
        problem: What is searched.

    Attributes:
        problem: The same.
        engines, proxies: The trials.
        owed: Engines that proxies must leave time for, until the next one is built.
        proxies_first: Whether proxies may take most of the time, since engines bring no gain for
            want of them.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.engines: dict[Assignment, Trial] = {}
        self.proxies: dict[Assignment, Trial] = {}
        self.owed = 0
        self.proxies_first = False
        self._built = (0, 0)

    def proxy_room(self) -> int:
        """How many more proxies are affordable.

        All proxies together take a third of the time spent so far at most, or 3 s (so that small
        models are searched alike on any machine), and leave time for the engines that are
        ``owed``. With ``proxies_first`` they take two thirds, and half of what is left. What counts
        is the recorded time of the trials, never a clock: a resumed search decides as the
        interrupted one did. Where no time is recorded there is no
        limit. Before the first proxy nobody knows what one takes, so there is room for one, if what
        it may take leaves the budget time for the engines that are owed (`_first_proxy`).
        """
        spent = self.spent
        if spent <= 0:
            return _UNLIMITED
        every = [t.seconds for t in self.proxies.values()]
        if not every:
            return int(self._first_proxy(spent))
        each, took = median(every), [t.seconds for t in self.proxies.values() if self._own(t)]
        if each <= 0:
            return _UNLIMITED
        part = 1 / (_LARGER_SHARE if self.proxies_first else _SHARE)
        left = max((spent - sum(took) * part) / (part - 1), _FREE_S - sum(took))
        limit = self.problem.budget.seconds
        if limit is not None:
            rest = limit - spent
            left = min(left, rest - self.owed * _MARGIN * self._engine_seconds)
            left = min(left, rest / 2) if self.proxies_first else left
        return max(math.floor(left / each), 0)

    def _first_proxy(self, spent: float) -> bool:
        """Whether the time budget has room for a proxy that may take several times what is thought.

        A proxy runs every sample once, as FP32's engine did, and it takes about as long as an
        engine where its simulation is slow.
        """
        limit = self.problem.budget.seconds
        if limit is None:
            return True
        plain = self.engines.get(Assignment())
        measurement = plain.measurement if plain else None
        inference = 0.0
        if measurement is not None and measurement.latency is not None:
            inference = measurement.latency.seconds * max(len(measurement.accuracy.per_sample), 1)
        expected = max(self._engine_seconds, inference)
        owed = self.owed * _MARGIN * self._engine_seconds
        return limit - spent - owed >= _DOUBT * expected

    def affordable_screens(self, most: int) -> int:
        """Proxies, at most ``most``, that cost no more than half of an engine together.

        A proxy can save the engine of a candidate that is beyond the bound. Where its simulation
        is slow, that engine tells more for the same time. The first 3 s of proxies are free, so
        that small models are searched alike on any machine.
        """
        engines = [t.seconds for t in self.engines.values() if len(t.assignment) and t.measurement]
        proxies = [t.seconds for t in self.proxies.values()]
        price = median(proxies) if proxies else 0.0
        if price <= 0 or not engines or sum(proxies) < _FREE_S:
            return most
        return min(most, math.floor(_SCREENING * median(engines) / price))

    def limit(self, own: int) -> int:
        """Engines at most, known ones included, where a strategy allows itself ``own``.

        A continued search gets a quarter more than it knows, if that is more.
        """
        before = built(self.problem.known)
        more = before + math.ceil(own / 4) if before else 0
        return self.problem.budget.max_builds or max(own, more)

    def engine_room(self) -> float:
        """How many more engines the budget allows, by the slowest so far where time is limited."""
        budget, slowest = self.problem.budget, self._engine_seconds
        builds = math.inf if budget.max_builds is None else budget.max_builds - self.builds
        if budget.seconds is None or slowest <= 0:
            return builds
        return min(builds, max(budget.seconds - self.spent, 0.0) / slowest)

    @property
    def spent(self) -> float:
        """Recorded seconds: of the set-up and of all trials."""
        trials = (*self.engines.values(), *self.proxies.values())
        return self.problem.setup_seconds + sum(t.seconds for t in trials if self._own(t))

    def _own(self, trial: Trial) -> bool:
        """Whether this run has spent the trial's time, not an earlier one."""
        return trial.number >= self.problem.earlier

    @property
    def _engine_seconds(self) -> float:
        return max((t.seconds for t in self.engines.values()), default=0.0)

    @property
    def builds(self) -> int:
        """Engines that count towards a limit so far (`precsearch.core.exclusions.built`)."""
        if self._built[0] != len(self.engines):
            self._built = len(self.engines), built(self.engines.values())
        return self._built[1]

    @property
    def tried(self) -> int:
        """Engines asked for so far, failed ones included."""
        return len(self.engines)
