"""Large spaces: finds the few choices that break the bound by group testing, engine by engine.

Where a few of many choices break the bound and proxies rank them badly, an engine lowers what has
passed and a set of further choices, the least harmful by proxy first, so many that it may well hold
a culprit (Hwang, *JASA* 67, 1972). If it passes, they stay; if it fails, parts of it are tested
(ddmin; Zeller & Hildebrandt, *IEEE TSE* 28, 2002), and how *far* it fails says how much its
culprits weigh together, so that one engine can test parts of several failed sets at once. `Design`
chooses it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from precsearch.core.space import Assignment
from precsearch.core.trial import Proposal, Trial
from precsearch_strategies.acquisition.exclusion import repaired
from precsearch_strategies.encoding import Bools, Encoding, Floats, Labels
from precsearch_strategies.group_testing.design import Design, GroupTestState
from precsearch_strategies.group_testing.locate import repeated
from precsearch_strategies.history import History, Subroutine
from precsearch_strategies.models.build_risk import build_risk
from precsearch_strategies.models.profile_gains import profile_gains

__all__ = ["isolated", "most_engines"]

_LARGE = 96  # choices from which on culprits are looked for before models are asked
_PER_BIT = 6  # engines at most, for each doubling of the choices
_FRUITLESS = 16  # engines in a row beyond the bound after which culprits are not few
_NEARLY = 3.0  # times the noise: left to gain where models need not start afresh
_FULL = 1.5  # squared usage of all harmless choices together from which on they are not harmless
_SPREAD = 2  # engines that may be beyond the bound by less than a culprit
_LEAST = 0.35  # squared usage of a culprit
_USUAL = 5.0  # squared usage of one, for a guess at how many there are
_BEYOND = 1e4  # squared usage that non-finite output is taken to have
_SHARED, _SURE = 1.2, 0.3  # deviations of the logarithms of a share and of a culprit's square


@dataclass(frozen=True)
class _Moves:
    """Choices that would save time over a passing assignment, one for each group at most.

    Attributes:
        base: (n,) labels of that assignment.
        square: Its squared usage.
        groups: (k,) positions of the groups.
        labels: (k,) what they would be lowered to.
        gain: (k,) share of FP32's latency that each would save.
        between: Whether a group could also be lowered less than that.
    """

    base: Labels
    square: float
    groups: Labels
    labels: Labels
    gain: Floats
    between: bool

    @property
    def all(self) -> Bools:
        """(1, k) every move."""
        return np.ones((1, len(self.groups)), dtype=bool)

    def lowered(self, chosen: Bools) -> Labels:
        """(n,) labels with the (k,) chosen moves made."""
        x: Labels = self.base.copy()
        x[self.groups[chosen]] = self.labels[chosen]
        return x


def most_engines(choices: int) -> int:
    """How many engines the stage takes at most."""
    return _PER_BIT * math.ceil(math.log2(max(choices, 2)))


def isolated(
    known: History,
    encoding: Encoding,
    squared_usage: tuple[Floats, Floats],
    wanted: Bools,
    limit: int,
) -> Subroutine[tuple[tuple[Floats, Floats], bool]]:
    """Grow a passing assignment by sets of choices, and track down what breaks the bound.

    It does nothing where there are few choices, and gives up where culprits are not few: where
    engines fail by little or many in a row, or where all that passed is too much for the bound.

    Args:
        known: The trials.
        encoding: Of their assignments.
        squared_usage: (n, p) prior medians of the squared usage of single choices, and the
            deviations of their logarithms.
        wanted: (n, p) which choices may be worth it.
        limit: Engines of the whole search at most.

    Returns:
        ``squared_usage`` as corrected by what was found; whether next to nothing is left to gain.
    """
    moves = _moves(known, encoding, squared_usage[0], wanted)
    if len(moves.groups) <= _LARGE:
        return squared_usage, False
    limit = min(limit, known.builds + most_engines(len(moves.groups)))
    doubts, design, done = _before(known, moves, squared_usage[0]), None, False
    waiting: dict[Assignment, Bools] = {}
    while known.builds < limit and doubts.fruitless < _FRUITLESS and doubts.spread < _SPREAD:
        rng = np.random.default_rng([known.problem.seed, known.tried])
        sound = _sound(known, encoding, moves)
        design = Design.of(replace(doubts, sound=sound), rng)
        doubts = replace(doubts, draws=design.draws)
        enough = known.worth * known.best_ratio()
        under_way = np.array(list(waiting.values()), dtype=bool).reshape(-1, len(moves.groups))
        left = design.left_after(under_way, rng) if waiting else design.left
        done = left < _NEARLY * enough and not moves.between
        if left < enough or doubts.clean(moves.all)[0] > _FULL:
            break
        new = _tests(known, encoding, moves, design, rng, waiting, limit)
        if not new and not waiting:
            break
        trial = yield from _built(known, new)
        doubts = _after(known, doubts, waiting.pop(trial.assignment), trial)
        if trial.measurement is None:  # a build that fails is no verdict
            yield from repeated(known, encoding, limit)
    return squared_usage if design is None else _corrected(squared_usage, moves, design), done


def _sound(known: History, encoding: Encoding, moves: _Moves) -> Floats:
    """(k,) probability that a move makes no engine fail; 0 for one given up beside the others."""
    sound = 1.0 - build_risk(known, encoding)[moves.groups, moves.labels]
    worth = np.zeros(encoding.size)
    worth[moves.groups, moves.labels] = moves.gain
    whole = moves.lowered(moves.all[0])
    kept = repaired(known, encoding, whole[None], worth)[0] == whole
    return np.where(kept[moves.groups], sound, 0.0)


def _moves(known: History, encoding: Encoding, squared_usage: Floats, wanted: Bools) -> _Moves:
    """For each group the choice that would save most over the fastest passing engine."""
    passing, groups = known.passing(), np.arange(encoding.size[0])
    base = encoding.encode(passing[0].assignment if passing else Assignment())
    gains = profile_gains(known, encoding)
    open_ = wanted & encoding.allowed & np.isfinite(squared_usage)
    more = np.where(open_, gains - gains[groups, base][:, None], -math.inf)
    more[:, 0] = -math.inf
    labels = np.argmax(more, axis=1)
    some = np.flatnonzero((more[groups, labels] > 0) & (labels != base))
    between = int((open_ & (more > 0)).sum()) > len(some)
    square = (known.usage(passing[0] if passing else None) or 0.0) ** 2
    return _Moves(base, square, some, labels[some], more[some, labels[some]], between)


def _before(known: History, moves: _Moves, squared_usage: Floats) -> GroupTestState:
    """What is known before the first engine: what proxies say."""
    marks = np.log(np.maximum(squared_usage[moves.groups, moves.labels], 1e-9))
    return GroupTestState.none(moves.gain, marks, _count(known, len(marks)), moves.square)


def _count(known: History, choices: int) -> float:
    """How many culprits there may be, by how far beyond the bound the worst engine was."""
    usages = [s for t in known.engines.values() if (s := known.usage(t)) is not None]
    worst = max((s for s in usages if math.isfinite(s)), default=0.0) ** 2
    guess = worst / _USUAL if worst > 1 else 0.03 * choices
    return min(max(guess, 1.0), 0.2 * choices)


def _tests(
    known: History,
    encoding: Encoding,
    moves: _Moves,
    design: Design,
    rng: np.random.Generator,
    waiting: dict[Assignment, Bools],
    limit: int,
) -> list[Proposal]:
    """Lower the (k,) choices that tell most, one such set for each idle device.

    Those that are chosen are ``waiting`` from here on. Nothing where no set is left to be built.
    """

    def lowered(chosen: Bools) -> Assignment:
        return encoding.decode(moves.lowered(chosen))

    def useless(chosen: Bools) -> bool:
        asked = lowered(chosen)
        return asked in known.engines or asked in waiting or known.excludes(asked)

    tests: list[Proposal] = []
    room = min(known.problem.devices, limit - known.builds)
    enough = known.worth * known.best_ratio()
    while len(waiting) < room:
        sets = np.array(list(waiting.values()), dtype=bool).reshape(-1, len(moves.groups))
        if waiting and design.left_after(sets, rng) < enough:
            break
        chosen, reason = design.best(rng, useless, sets)
        if not chosen.any():
            break
        tests.append(known.proposal(lowered(chosen), reason))
        waiting[lowered(chosen)] = chosen
    return tests


def _built(known: History, proposals: list[Proposal]) -> Subroutine[Trial]:
    """Build; where there are several devices, until one of them is done."""
    if known.problem.devices > 1:
        return (yield from known.ahead(proposals))
    (proposal,) = proposals
    (trial,) = yield from known.build([proposal.assignment], proposal.reason)
    return trial


def _after(known: History, doubts: GroupTestState, chosen: Bools, trial: Trial) -> GroupTestState:
    """What is known after an engine."""
    usage = known.usage(trial)
    if usage is None:
        return doubts
    square = min(usage**2, _BEYOND)
    if known.passes(trial):
        rate = max((square - doubts.base) / float(chosen.sum()), 1e-9)
        return replace(doubts, cleared=doubts.cleared | chosen, rate=rate, fruitless=0)
    return replace(
        doubts,
        sets=np.concatenate([doubts.sets, chosen[None]]),
        squared_usage=np.append(doubts.squared_usage, square),
        fruitless=doubts.fruitless + 1,
        spread=doubts.spread + int(square < float(doubts.clean(chosen[None])[0]) + _LEAST),
    )


def _corrected(
    squared_usage: tuple[Floats, Floats], moves: _Moves, design: Design
) -> tuple[Floats, Floats]:
    """Medians and deviations for the models: culprits weigh what they do, the others a share."""
    medians, sure = squared_usage[0].copy(), squared_usage[1].copy()
    weights = np.array([design.draws.typical(i) for i in range(len(moves.groups))])
    named = design.chance > 0.5
    mixed = design.doubts.rate + design.chance * _USUAL
    medians[moves.groups, moves.labels] = np.where(named & (weights > 0), weights, mixed)
    sure[moves.groups, moves.labels] = np.where(named, _SURE, _SHARED)
    return medians, sure
