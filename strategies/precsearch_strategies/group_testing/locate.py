"""Finds out which choices make an engine unusable, in about log2(n) engines for each culprit.

A failed engine says nothing of its speed or accuracy. What it lowers beyond an engine that runs
holds a culprit, and whether a part of that holds one is what an engine with the part shows: group
testing by generalized binary splitting (Hwang, *JASA* 67, 1972), which yields larger and larger
engines that run, and for a culprit of two choices the second half of QuickXplain (Junker, AAAI
2004), neighbours in the graph first.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import combinations

from precsearch.core.exclusions import unusable
from precsearch.core.space import Assignment
from precsearch.core.trial import Failed, Trial
from precsearch_strategies.encoding import Encoding, Labels
from precsearch_strategies.group_testing.ranking import by_build_risk, by_value, roles, suspects
from precsearch_strategies.group_testing.reduce import Reduction
from precsearch_strategies.group_testing.speculate import speculated
from precsearch_strategies.history import History, Subroutine
from precsearch_strategies.models.profile_gains import profile_gains

__all__ = ["broken", "located", "repeated", "soundly"]

_HOPELESS = 3  # culprits in a row, and nothing that runs, after which no choice seems to work
_HANGS = 3  # engines that hang, after which no cause is looked for: each takes a trial's limit
_HALF = math.log(2)  # expected culprits of a part that has one in half of all cases
_FAR = 1 / 3  # of the engines that are left when a far partner is looked for
_ROOM = 3  # times what that takes, that the budget allows
_SLOW_S = 5.0  # that an engine takes to build where failing is much cheaper
_SMALL = 12  # engines of a budget of which all but one may be spent until INT8 runs then
_CHEAPER = 5  # times cheaper than that


def soundly(
    known: History, encoding: Encoding, assignment: Assignment, reason: str, limit: int
) -> Subroutine[Trial]:
    """Build an engine; if it is unusable, find the culprits and go as far as possible without.

    Args:
        known: The trials.
        encoding: Of their assignments.
        assignment: What is wanted.
        reason: Why.
        limit: Engines of the whole search at most.

    Returns:
        The trial of the engine, or of the usable one that is closest to it.
    """
    (trial,) = yield from known.build([assignment], reason)
    if not (yield from broken(known, trial)):
        return trial
    return (
        yield from speculated(
            known, trial.outcome, lambda seen: located(seen, encoding, trial, limit)
        )
    )


def broken(known: History, trial: Trial) -> Subroutine[bool]:
    """Whether an engine failed, or its output was not finite though proxies of its halves are.

    A value that overflows in a proxy, too, is a matter of accuracy, and proxies find its group.
    """
    if trial.measurement is None:
        return True
    if not unusable(trial):
        return False
    entries = trial.assignment.entries
    middle = (len(entries) + 1) // 2
    halves = [Assignment(part) for part in (entries[:middle], entries[middle:]) if part]
    proxies = yield from known.probe(halves, "is it the precision that gives no finite output")
    return all(p is not None and not unusable(p) for p in proxies)


def repeated(known: History, encoding: Encoding, limit: int) -> Subroutine[None]:
    """Look for the cause if the last engines failed with a choice, or two, in common.

    One failure may be chance, and a search can pass it by; a second one with the same suspects is
    worth the engines. Engines that are built side by side have choices in common that none has run
    with, so with several devices it takes a third one.
    """
    failed = [
        t
        for a, t in known.engines.items()
        if t.measurement is None and a not in known.hunted and not known.excludes(a)
    ]
    last = next(reversed(known.engines.values()))
    if len(failed) > 1 and failed[-1] is last:
        found = [suspects(known, encoding, t) for t in failed]
        shared = [found[-1] & other for other in found[-2::-1]]
        alone = known.problem.devices == 1
        if shared[0] if alone else any(a & b for a, b in combinations(shared, 2)):
            yield from speculated(
                known, last.outcome, lambda seen: located(seen, encoding, last, limit)
            )


def located(known: History, encoding: Encoding, failed: Trial, limit: int) -> Subroutine[Trial]:
    """Find the culprits in ``failed`` one by one.

    Args:
        known: The trials; what is found is in its ``excluded`` afterwards.
        encoding: Of their assignments.
        failed: An unusable engine.
        limit: Engines of the whole search at most.

    Returns:
        The usable engine that is closest to ``failed``; that itself if none is known.
    """
    again = failed.assignment in known.hunted
    known.hunted.add(failed.assignment)
    base = _nearest(known, encoding, failed)
    if base is None or _hangs(known) >= _HANGS:
        return base or failed
    labels = encoding.encode(base.assignment)
    order, named = by_value(known, encoding, failed, labels)
    hunt = _Hunt(known, encoding, failed, labels, limit, named)
    if _cheap(known, failed):
        return base if again else (yield from hunt.reduce(order))
    return (yield from hunt.run(order))


def _hangs(known: History) -> int:
    outcomes = (t.outcome for t in known.engines.values())
    return sum(isinstance(o, Failed) and o.kind == "timeout" for o in outcomes)


def _cheap(known: History, failed: Trial) -> bool:
    """Whether engines that run take long, and one that fails does not."""
    ran = [t.seconds for t in known.engines.values() if t.measurement is not None]
    return max(ran, default=0.0) >= max(_SLOW_S, _CHEAPER * failed.seconds)


def _nearest(known: History, encoding: Encoding, failed: Trial) -> Trial | None:
    """The usable engine that lacks the fewest choices of ``failed``, the fastest of these."""
    x = encoding.encode(failed.assignment)
    rows = [
        (int(((labels != x) & (x > 0)).sum()), int((labels != x).sum()), ratio, a.entries, t)
        for a, t in known.engines.items()
        if not unusable(t) and (ratio := known.ratio(t)) is not None
        for labels in [encoding.encode(a)]
    ]
    return min(rows, key=lambda row: row[:4])[4] if rows else None


@dataclass
class _Hunt:
    """The state of one search for culprits.

    Attributes:
        known: The trials.
        encoding: Of their assignments.
        failed: The unusable engine.
        base: (n,) labels of a usable one.
        limit: Engines of the whole search at most.
        named: How many of the last positions the failure names.
        ended: Whether the budget is spent, or engines hang.
    """

    known: History
    encoding: Encoding
    failed: Trial
    base: Labels
    limit: int
    named: int
    ended: bool = field(default=False, init=False)

    def run(self, left: list[int]) -> Subroutine[Trial]:
        """Go through the positions ``left``; all of them together are unusable."""
        total, kept, culprits = len(left), list[int](), 0
        size, bad, open_ = total, True, list[tuple[int, list[int]]]()
        while left and not self._over() and (kept or culprits < _HOPELESS):
            if not bad:
                size = self._size(total - len(left), culprits, len(left))
                if (yield from self._usable([*kept, *left[:size]])):
                    kept, left = kept + left[:size], left[size:]
                    continue
                if self._over():
                    break
            first = 0 if culprits else size - self.named
            low = yield from self._bisected(kept, left[:size], first)
            kept, culprit, left = kept + left[:low], left[low], left[low + 1 :]
            # The last position of all is what is left over where an engine fails by chance.
            chance = not left and not culprits and not self.named
            if not self._over() and not (yield from self._named_near(kept, culprit)) and not chance:
                open_.append((culprit, kept))
            culprits, bad = culprits + 1, False
        yield from self._named_far(open_, total)
        return self.known.engines.get(self._assignment(kept), self.failed)

    def reduce(self, order: list[int]) -> Subroutine[Trial]:
        """The same from the failing side, where failing is cheap; see `reducing`."""
        known, encoding = self.known, self.encoding
        gains, x = profile_gains(known, encoding), encoding.encode(self.failed.assignment)
        most = known.problem.budget.max_builds
        if most is not None:  # what is built is the mixed engine, or leads to it
            self.limit = max(self.limit, min(most - 1, _SMALL))
        reduction = Reduction(
            self._effective,
            lambda: not self.ended and known.builds < self.limit - 1,
            self._over,
            roles(encoding, order),
            {i: float(gains[i, x[i]] - gains[i, self.base[i]]) for i in order},
        )
        kept = yield from reduction.run(by_build_risk(encoding, order, self.named))
        return known.engines.get(self._assignment(kept), self.failed)

    def _effective(self, moved: list[int]) -> Subroutine[bool]:
        """`_usable`; passive choices that have no effect alone are, and no engine is built."""
        space, failed = self.encoding.space, self.encoding.encode(self.failed.assignment)
        labels = self.encoding.encode(space.canonical(self._assignment(moved)))
        if not (labels[moved] == failed[moved]).any():
            return True
        return (yield from self._usable(moved))

    def _over(self) -> bool:
        return self.ended

    def _size(self, done: int, culprits: int, left: int) -> int:
        """How many positions hold a culprit in half of all cases, by those found so far.

        All that are left after the first one: more often than not it is the only one.
        """
        size = math.ceil(_HALF * done / culprits)
        return left if culprits == 1 or size > left / 2 else max(size, 1)

    def _bisected(self, kept: list[int], part: list[int], first: int = 0) -> Subroutine[int]:
        """How many of ``part`` are usable beside ``kept``, one more being unusable.

        Where the budget ends before, as many as are known to be usable. ``first`` is what to try
        first, if it is inside.
        """
        low, high = 0, len(part)
        while high - low > 1 and not self._over():
            middle = first if low < first < high else (low + high) // 2
            first = 0
            if (yield from self._usable([*kept, *part[:middle]])):
                low = middle
            elif not self._over():
                high = middle
        return low

    def _named_near(self, kept: list[int], culprit: int) -> Subroutine[bool]:
        """Build what shows whether the culprit is unusable alone, or beside which neighbour.

        What is found is in the trials: a choice without which the engine is usable is necessary.
        """
        if not kept or not (yield from self._usable([culprit])) or self._over():
            return True
        near = [i for i in kept if i in self.encoding.adjacent[culprit]]
        if not near or (yield from self._usable([culprit, *near])):
            return self._over()
        yield from self._partner(culprit, near)
        return True

    def _named_far(self, open_: list[tuple[int, list[int]]], total: int) -> Subroutine[None]:
        """Which of what was kept each other culprit is unusable with, if there is time for it.

        It makes no engine faster: one of the two has to go, and the culprit, which is worth less,
        has gone. It tells the user why.
        """
        needed = math.ceil(math.log2(max(total, 2))) + 2
        for culprit, kept in open_:
            known = self.known
            spare = self.limit - known.builds >= _FAR * self.limit + needed
            if self._over() or not spare or known.engine_room() < _ROOM * needed:
                return
            yield from self._partner(culprit, kept)

    def _partner(self, culprit: int, among: list[int]) -> Subroutine[None]:
        """Which one of ``among`` the culprit is unusable with."""
        low = yield from self._bisected([culprit], among)
        if not self._over() and not (yield from self._usable([culprit, among[low]])):
            yield from self._usable([among[low]])  # neither is unusable without the other

    def _assignment(self, moved: Iterable[int]) -> Assignment:
        labels, some = self.base.copy(), list(moved)
        labels[some] = self.encoding.encode(self.failed.assignment)[some]
        return self.encoding.decode(labels)

    def _usable(self, moved: list[int]) -> Subroutine[bool]:
        """Whether an engine with these positions as in the failed one is usable."""
        known, asked = self.known, self._assignment(moved)
        if asked not in known.engines and known.builds >= self.limit:
            self.ended = True
            return False
        reason = f"what makes an engine fail: {len(moved)} of its choices"
        (trial,) = yield from known.build([asked], reason)
        self.ended = self.ended or _hangs(known) >= _HANGS
        known.hunted.add(asked)
        if self.failed.measurement is None:
            return trial.measurement is not None
        return not unusable(trial)
