"""What lowering a group costs in accuracy, asked for as sparingly as the space is large."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from precsearch.core.space import Assignment
from precsearch_strategies.encoding import Bools, Encoding, Floats
from precsearch_strategies.group_testing.halving import lowered_together, squared_usage_by_halves
from precsearch_strategies.history import History, Subroutine
from precsearch_strategies.models.profile_gains import profile_gains
from precsearch_strategies.models.sensitivity import context, single_squared_usage
from precsearch_strategies.solvers.tied import alike

__all__ = [
    "asked_about",
    "halved_further",
    "screened_squared_usage",
    "squared_usage_of_fastest",
    "told_apart",
]

_SINGLES = 96  # up to so many, groups are asked for one by one
_SURE = 0.3  # deviation of the logarithm of a square that a proxy measured alone
_SHARED = 1.2  # of an equal share of a set's square
_NEGLIGIBLE = 0.01  # squared usage of a group's share of its set that is not worth a proxy
_SMALL = 0.05  # the same while halves of sets may still tell
_HARMLESS = 0.25  # squared usage of a label's sets that need not be told apart, together


def screened_squared_usage(
    known: History, encoding: Encoding, wanted: Bools, *, afresh: bool = False
) -> Subroutine[tuple[Floats, Floats]]:
    """Prior medians of the squared usage of single groups, and how sure they are.

    Nothing is asked about what a passing engine has lowered already: its squared usage is shared.
    In a large space, groups of one signature are lowered together first, and a set is halved only
    while its square matters (as in adaptive group testing; Hwang, *JASA* 67, 1972). Where there is
    no time for a proxy of each group (`History.proxy_room`), sets are halved as far as it goes.

    Args:
        known: The trials.
        encoding: Of their assignments.
        wanted: (n, p) which choices to ask about if no passing engine has them.
        afresh: Whether to ask about them even so.

    Returns:
        (n, p) squares (FP32's 0, ``inf`` where not offered or not finite), and (n, p) standard
        deviations of their logarithms.
    """
    covered, shared = _covered(known, encoding)
    if afresh:
        covered &= ~wanted
    asked = wanted & encoding.allowed & ~covered
    asked[:, 0] = False
    sure = np.full(encoding.size, _SURE)
    if not asked.any():
        squared_usage = np.where(encoding.allowed, 1.0 / max(encoding.size[0], 1), math.inf)
        squared_usage[:, 0] = 0.0
        sure[:] = _SHARED
    elif asked.sum() > (yield from _room(known, encoding, asked)):
        squared_usage, sure = yield from squared_usage_by_halves(
            known, encoding, asked, int(asked.sum())
        )
        squared_usage, sure = yield from told_apart(
            known, encoding, (squared_usage, sure), asked, _SMALL
        )
    elif asked.sum() <= _SINGLES:
        squared_usage = yield from single_squared_usage(known, encoding, asked)
    else:
        squared_usage, sure = yield from _by_sets(known, encoding, asked)
    unasked = encoding.allowed & ~covered & ~asked
    unasked[:, 0] = False
    squared_usage[unasked] = 1.0
    sure[unasked] = 2.0 * _SHARED
    squared_usage[covered] = shared[covered]
    sure[covered] = _SHARED
    return squared_usage, sure


def asked_about(known: History, encoding: Encoding, wanted: Bools) -> Bools:
    """(n, p) which of the wanted choices `screened_squared_usage` would ask about now."""
    covered, _ = _covered(known, encoding)
    asked = wanted & encoding.allowed & ~covered
    asked[:, 0] = False
    return np.asarray(asked)


def halved_further(
    known: History, encoding: Encoding, squared_usage: tuple[Floats, Floats], asked: Bools
) -> Subroutine[tuple[Floats, Floats]]:
    """``squared_usage`` with smaller sets, as far as there is time by now.

    Args:
        known: The trials.
        encoding: Of their assignments.
        squared_usage: What `screened_squared_usage` returned, or this function.
        asked: (n, p) what `asked_about` said before that: the same sets are halved again, and what
            is known of them is not asked for twice.
    """
    halved = yield from squared_usage_by_halves(known, encoding, asked, int(asked.sum()))
    open_ = asked & (squared_usage[1] > _SURE)
    finer = (
        np.where(open_, halved[0], squared_usage[0]),
        np.where(open_, halved[1], squared_usage[1]),
    )
    return (yield from told_apart(known, encoding, finer, asked, _SMALL))


def told_apart(
    known: History,
    encoding: Encoding,
    squared_usage: tuple[Floats, Floats],
    asked: Bools,
    least: float = _NEGLIGIBLE,
) -> Subroutine[tuple[Floats, Floats]]:
    """``squared_usage`` with a proxy of each choice that is known by a set alone, in the time left.

    Where most sets hold a group that is beyond the bound alone, halves of them tell nothing of the
    others, and one by one is the cheapest way to find these (from a share of 38 % on; Ungar, *Comm.
    Pure Appl. Math.* 13, 1960). What saves most time by the profiles comes first.

    Args:
        known: The trials.
        encoding: Of their assignments.
        squared_usage: What `screened_squared_usage` or `halved_further` returned.
        asked: (n, p) what `asked_about` said before that.
        least: Squared usage of a choice's share of its set from which on it is asked about.
    """
    values, sure = squared_usage[0].copy(), squared_usage[1].copy()
    open_ = asked & (sure > _SURE) & (values > least)
    gains = np.where(open_, profile_gains(known, encoding), -math.inf)
    order = np.argsort(-gains, axis=None, kind="stable")[: int(open_.sum())]
    wanted = np.zeros(encoding.size, dtype=bool)
    wanted[np.unravel_index(order[: max(known.proxy_room(), 0)], encoding.size)] = True
    if wanted.any():
        alone = yield from single_squared_usage(known, encoding, wanted)
        values[wanted], sure[wanted] = alone[wanted], _SURE
    return values, sure


def squared_usage_of_fastest(
    known: History, encoding: Encoding
) -> Subroutine[tuple[Floats, Floats]]:
    """The same where only engines like the fastest passing one are looked for."""
    labels = encoding.encode(known.passing()[0].assignment)
    wanted = np.zeros(encoding.size, dtype=bool)
    wanted[np.arange(len(labels)), labels] = labels > 0
    return (yield from screened_squared_usage(known, encoding, wanted, afresh=True))


def _room(known: History, encoding: Encoding, asked: Bools) -> Subroutine[int]:
    """For how many proxies there is time; where nobody knows what one takes, after a first one."""
    if not known.proxies and known.proxy_room() < asked.sum():
        label = int(np.flatnonzero(asked.any(axis=0))[-1])
        members = np.flatnonzero(asked[:, label]).tolist()
        half = lowered_together(encoding, label, tuple(members[: (len(members) + 1) // 2]))
        yield from known.probe([half], "half of the groups lowered, and how long a proxy takes")
    return known.proxy_room()


def _covered(known: History, encoding: Encoding) -> tuple[Bools, Floats]:
    """(n, p) what passing engines lowered, and the least share of a square that this implies."""
    n, p = encoding.size
    covered, shared = np.zeros((n, p), dtype=bool), np.full((n, p), math.inf)
    base = (known.usage(known.engines.get(Assignment())) or 0.0) ** 2
    for trial in known.passing():
        labels = encoding.encode(trial.assignment)
        lowered = np.flatnonzero(labels)
        if not len(lowered):
            continue
        share = max((known.usage(trial) or 0.0) ** 2 - base, 1e-6) / len(lowered)
        where = lowered, labels[lowered]
        covered[where] = True
        shared[where] = np.minimum(shared[where], share)
    return covered, shared


@dataclass(frozen=True)
class _Set:
    """Positions that are lowered together to one label, the others that go with them."""

    label: int
    members: tuple[int, ...]
    others: tuple[int, ...]
    lowered: Assignment


def _by_sets(known: History, encoding: Encoding, asked: Bools) -> Subroutine[tuple[Floats, Floats]]:
    """Groups of equal structure together, halves of those that matter."""
    n, p = encoding.size
    squared_usage, sure = np.full((n, p), math.inf), np.full((n, p), _SURE)
    squared_usage[:, 0] = 0.0
    base = (known.usage(known.engines.get(Assignment())) or 0.0) ** 2
    for label in range(1, p):
        queue = _sets(encoding, label, alike(encoding, np.flatnonzero(asked[:, label])))
        few = _HARMLESS / max(len(queue), 1)
        while queue:
            trials = yield from known.probe(
                [s.lowered for s in queue], "alike groups lowered alone"
            )
            halves: list[tuple[int, ...]] = []
            for s, trial in zip(queue, trials, strict=True):
                usage, members = known.usage(trial), list(s.members)
                if trial is None and math.isfinite(squared_usage[members[0], label]):
                    continue  # no time is left: the share of the set that it is a part of stands
                rest = float(
                    sum(v for j in s.others if math.isfinite(v := squared_usage[j, label]))
                )
                square = 1.0 if usage is None else max(usage**2 - base - rest, 0.0)
                if len(members) > 1 and square > few:
                    halves += [s.members[: len(members) // 2], s.members[len(members) // 2 :]]
                squared_usage[members, label] = square / len(members)
                sure[members, label] = _SURE if len(members) == 1 else _SHARED
            queue = _sets(encoding, label, halves)
    return squared_usage, sure


def _sets(encoding: Encoding, label: int, rows: list[tuple[int, ...]]) -> list[_Set]:
    """Active ones first, so that what passive ones need beside them is known."""
    sets = []
    for members in rows:
        passive = encoding.passive[list(members)].any()
        contexts = [context(encoding, i, label) for i in members]
        if any(c is None for c in contexts):
            contexts = [c for c in contexts if c is not None]
        others = {j for c in contexts if c is not None for j in c} - set(members)
        keys = [encoding.space.free[i].key for i in (*members, *others)]
        precision = encoding.space.precisions[label]
        lowered = encoding.space.canonical(Assignment.of(dict.fromkeys(keys, precision)))
        sets.append(
            (bool(passive), members[0], _Set(label, members, tuple(sorted(others)), lowered))
        )
    return [row[2] for row in sorted(sets, key=lambda row: row[:2]) if len(row[2].lowered)]
