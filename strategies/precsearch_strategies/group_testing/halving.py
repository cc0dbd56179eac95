"""What lowering costs in accuracy, from few proxies: sets of groups, the worst halved again."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from precsearch.core.space import Assignment
from precsearch_strategies.encoding import Bools, Encoding, Floats
from precsearch_strategies.history import History, Subroutine
from precsearch_strategies.models.sensitivity import context

__all__ = ["lowered_together", "squared_usage_by_halves"]

_SURE = 0.3  # deviation of the logarithm of a square that a proxy measured alone
_SHARED = 1.2  # of an equal share of a set's square
_LITTLE = 0.05  # squared usage of a set that is not worth a proxy
_REST = 0.1  # of a set's square that its other half has at least: squares add to 10 % or so
_NEARLY_ALL = 0.8  # of a set's square; from there on squares do not add, or the rest is unknown
_BEYOND = 100.0  # squared usage that a set of non-finite output is taken to have
_SATURATED = 4  # sets that are all beyond the bound, from which on halving is given up
_TELLING = 24  # groups in such a set, at most: a few bad ones among more break every set, too
_AT_ONCE = 8  # sets that are asked for together, where there is time for many


@dataclass(frozen=True)
class _Part:
    """Positions, in graph order, that are lowered together to one label.

    Attributes:
        label: To which.
        members: Positions.
        square: Squared usage that this adds.
    """

    label: int
    members: tuple[int, ...]
    square: float

    @property
    def rank(self) -> tuple[float, int, int]:
        """The part to halve next has the largest."""
        return self.square, self.label, -self.members[0]

    def halves(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The first and the second half; INT8 pays in runs, so neighbours stay together."""
        middle = (len(self.members) + 1) // 2
        return self.members[:middle], self.members[middle:]


def squared_usage_by_halves(
    known: History, encoding: Encoding, asked: Bools, most: int
) -> Subroutine[tuple[Floats, Floats]]:
    """Squares of single groups as equal shares of the smallest sets there is time for.

    Where every set is beyond the bound by itself, and none is large, so will be most of their
    halves, and nothing that can be used comes of them: halving ends, and time is left for groups
    alone.

    Args:
        known: The trials.
        encoding: Of their assignments.
        asked: (n, p) which choices to ask about.
        most: Proxies at most, besides those that there is no time for (`History.proxy_room`).

    Returns:
        (n, p) squares (0 for FP32, ``inf`` where not asked, or not finite alone), and (n, p)
        standard deviations of their logarithms.
    """
    parts: list[_Part] = []
    for label in range(1, encoding.size[1]):
        members = tuple(np.flatnonzero(asked[:, label]).tolist())
        if members:
            square = yield from _square(known, encoding, label, members)
            parts.append(_Part(label, members, 1.0 if square is None else square))
    while most > 0 and (room := min(known.proxy_room(), most)) > 0:
        open_ = [part for part in parts if len(part.members) > 1 and part.square > _LITTLE]
        worst = sorted(open_, key=lambda part: part.rank, reverse=True)
        worst = worst[: min(max(room // _AT_ONCE, 1), _AT_ONCE)]
        if not worst or _saturated(parts):
            break
        asked_for = [lowered_together(encoding, w.label, w.halves()[0]) for w in worst]
        yield from known.probe(asked_for, "half of a set of groups lowered")
        first: dict[_Part, float | None] = {}
        for w in worst:
            first[w] = yield from _square(known, encoding, w.label, w.halves()[0])
        hidden = [w for w, one in first.items() if _hides(w, one)]
        rest = [lowered_together(encoding, w.label, w.halves()[1]) for w in hidden]
        yield from known.probe(filter(len, rest), "the other half of a set of groups lowered")
        for part, one in first.items():
            parts.remove(part)
            parts += yield from _split(known, encoding, part, one)
        most -= len(worst)
    return _shared(encoding, parts)


def _saturated(parts: list[_Part]) -> bool:
    """Whether so many groups are beyond the bound alone that one by one finds the others sooner."""
    small = max((len(part.members) for part in parts), default=0) <= _TELLING
    return small and len(parts) >= _SATURATED and min(part.square for part in parts) > 1


def _hides(part: _Part, one: float | None) -> bool:
    """Whether the first half takes next to all of the square, so that it hides the second's."""
    return one is not None and one > _NEARLY_ALL * part.square


def _split(
    known: History, encoding: Encoding, part: _Part, one: float | None
) -> Subroutine[list[_Part]]:
    """The halves of a set, of which the first has the square ``one``; the second by difference.

    Where the first one takes next to all of the square, the difference says nothing of the second:
    either may be what saturates an output. It is asked for then, as where the first is not finite.
    """
    first, second = part.halves()
    if one is None:
        one = other = part.square / 2
    else:
        other = max(part.square - one, _REST * part.square) if math.isfinite(one) else _BEYOND
        if _hides(part, one):
            half = yield from _square(known, encoding, part.label, second)
            other = other if half is None else half
    return [_Part(part.label, first, one), _Part(part.label, second, other)]


def _square(
    known: History, encoding: Encoding, label: int, members: tuple[int, ...]
) -> Subroutine[float | None]:
    """Squared usage that a set adds; ``None`` if its proxy failed or there is no time for it."""
    lowered = lowered_together(encoding, label, members)
    if not len(lowered):
        return 0.0
    (trial,) = yield from known.probe([lowered], "a set of groups lowered")
    usage = known.usage(trial)
    if usage is None:
        return None
    return max(usage**2 - (known.usage(known.engines.get(Assignment())) or 0.0) ** 2, 0.0)


def lowered_together(encoding: Encoding, label: int, members: tuple[int, ...]) -> Assignment:
    """The set at its label, with what passive groups need beside them to have an effect."""
    paths = [context(encoding, i, label) or () for i in members]
    keys = {encoding.space.free[i].key for path in (members, *paths) for i in path}
    precision = encoding.space.precisions[label]
    return encoding.space.canonical(Assignment.of(dict.fromkeys(sorted(keys), precision)))


def _shared(encoding: Encoding, parts: list[_Part]) -> tuple[Floats, Floats]:
    """Each member's share of its part."""
    squared_usage, sure = np.full(encoding.size, math.inf), np.full(encoding.size, _SHARED)
    squared_usage[:, 0] = 0.0
    for part in parts:
        members, alone = list(part.members), len(part.members) == 1
        total = part.square if alone else min(part.square, _BEYOND)
        squared_usage[members, part.label] = total / len(members)
        sure[members, part.label] = _SURE if alone else _SHARED
    return squared_usage, sure
