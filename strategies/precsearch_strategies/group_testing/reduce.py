"""Locates culprits from the failing side, where a failed build is cheap and one that runs is not.

A backend may refuse a network in 0.2 s and take 40 s to build one. Sets that probably fail are
tried then: a failing set is reduced to a failing part of it (ddmin; Zeller & Hildebrandt, *IEEE
TSE* 28, 2002; a culprit of two by QuickXplain; Junker, AAAI 2004), the likeliest culprits first.
After each culprit all the rest is tried, then all the rest less the groups that play the culprit's
role in the graph, so that the engine with all that builds comes early.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field

from precsearch_strategies.history import Subroutine

__all__ = ["Reduction"]


@dataclass(frozen=True)
class Reduction:
    """One search for the largest set that is usable.

    Attributes:
        usable: Builds an engine with the given positions lowered; whether it is usable.
        room: Whether an engine that runs may still be spent on locating. One is kept for the
            engine that lowers all the rest.
        over: Whether no engine may be built any more.
        role: Equal for positions that a backend treats alike.
        worth: What each position saves.
        cleared: Positions of the sets that were usable.
    """

    usable: Callable[[list[int]], Subroutine[bool]]
    room: Callable[[], bool]
    over: Callable[[], bool]
    role: Mapping[int, Hashable]
    worth: Mapping[int, float]
    cleared: set[int] = field(default_factory=set, init=False)

    def run(self, order: list[int]) -> Subroutine[list[int]]:
        """Reduce ``order``, all of which is unusable together, the likeliest culprits first.

        Returns:
            The largest set that was found usable; nothing if none was.
        """
        left, aside = list(order), list[int]()
        while left and not self.over():
            left.sort(key=self.cleared.__contains__)
            drop = yield from self._culprit(left)
            left = [i for i in left if i not in drop]
            if left and (yield from self.usable(left)):
                return (yield from self._returned(left, aside))
            played = {self.role[i] for i in drop}
            rest = [i for i in left if self.role[i] not in played]
            if not rest or len(rest) == len(left):
                continue
            alike = [i for i in left if self.role[i] in played]
            if (yield from self.usable(rest)):
                return (yield from self._returned(rest, [*aside, *alike]))
            left, aside = rest, [*aside, *alike]
        return []

    def _culprit(self, left: list[int]) -> Subroutine[list[int]]:
        """What to leave out: the least valuable of a culprit, or the more suspect half of all.

        The half where nothing can be spent on finding out.
        """
        if not self.room():
            suspects = [i for i in left if i not in self.cleared] or left
            return suspects[: (len(suspects) + 1) // 2]
        culprit, sure = yield from self._minimal([], left)
        return [min(culprit, key=lambda i: self.worth[i])] if sure else culprit

    def _minimal(self, beside: list[int], part: list[int]) -> Subroutine[tuple[list[int], bool]]:
        """A smallest part of ``part`` that is unusable beside ``beside``, as all of it is.

        Returns:
            That part, and whether it is a smallest one; a larger one if no room was left, or the
            half of a culprit without which it is none.
        """
        if len(part) == 1:
            return part, True
        if not self.room():
            return part, False
        middle = len(part) // 2
        for half in (part[:middle], part[middle:]):
            if not (yield from self.usable([*beside, *half])):
                return (part, False) if self.over() else (yield from self._minimal(beside, half))
            self.cleared.update(half)
            if not self.room():
                return part, False
        first, second = part[:middle], part[middle:]
        # A culprit has choices of both halves.
        some, sure = yield from self._minimal([*beside, *first], second)
        if not sure:
            return some, False
        others, sure = yield from self._minimal([*beside, *some], first)
        return [*others, *some] if sure else some, True

    def _returned(self, kept: list[int], aside: list[int]) -> Subroutine[list[int]]:
        """``kept`` with those of ``aside`` that are usable beside it, while there is room."""
        for i in aside:
            if not self.room():
                break
            if (yield from self.usable([*kept, i])):
                kept = [*kept, i]
            elif self.room():
                yield from self.usable([i])  # tells whether it fails alone
        return kept
