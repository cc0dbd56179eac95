"""Bisection on a ranking of the groups, then splitting of what it left behind."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from precsearch.core.errors import OptionError
from precsearch.core.precision import Precision
from precsearch.core.problem import Problem
from precsearch.core.space import Assignment, LayerGroup
from precsearch.core.strategy import ReasonedProposals
from precsearch_strategies.acquisition.exclusion import repaired_assignment
from precsearch_strategies.encoding import Encoding
from precsearch_strategies.ending import ending
from precsearch_strategies.group_testing.locate import soundly
from precsearch_strategies.history import History, Subroutine
from precsearch_strategies.models.profile_gains import profile_gains
from precsearch_strategies.models.sensitivity import single_squared_usage

__all__ = ["Bisection"]

_RANKS = ("sensitivity", "macs", "graph")


@dataclass(frozen=True)
class Bisection:
    """Lowers as many groups as the bound admits, least harmful first; blind to latency otherwise.

    Polygraphy's ``debug precision`` bisects on a prefix of the *graph*, which leaves most of it in
    FP32 if the last layer is sensitive. This bisects on a ranking of arbitrary groups (the dropped
    ``worst-first`` mode of Polygraphy 0.20), after testing both ends. Where accuracy is not
    monotone along the ranking, and for what the ranking misplaced, the groups left behind are
    lowered in segments, the largest first, halved where they fail (onnxconverter-common's
    ``auto_mixed_precision``; ddmin, Zeller & Hildebrandt, *IEEE TSE* 28, 2002). The lowest
    precision goes first; the groups that it leaves behind are then bisected at the next.

    Attributes:
        rank: ``sensitivity`` (squared error by proxy per time gained), ``macs`` (most first) or
            ``graph`` (first groups first).
        builds: Engines at most, where the budget names no number.
    """

    rank: str = "sensitivity"
    builds: int = 60

    def __post_init__(self) -> None:
        if self.rank not in _RANKS:
            raise OptionError(f"rank must be one of {', '.join(_RANKS)}, not {self.rank!r}")
        if self.builds < 1:
            raise OptionError("bisection's builds must be at least 1")

    def propose(self, problem: Problem, /) -> ReasonedProposals:
        """Gate, ranking, then for each lower precision: both ends, bisection, splitting."""
        known = History(problem)
        (gate,) = yield from known.build([problem.all_fp32()], "FP32 is the baseline")
        if gate.measurement is None or not problem.goal.admits(gate.measurement):
            return "baseline"
        base = problem.all_fp32()
        limit = known.limit(self.builds)
        order: dict[Precision, list[str]] = {}
        encoding = Encoding(problem.space)
        for work in (_bisect, _split):
            for precision in reversed(problem.space.precisions[1:]):
                left = {g.key for g in problem.space.free if _lowers(g, base, precision)}
                if work is _bisect and left and known.builds < limit:
                    whole = base.with_(dict.fromkeys(left, precision))
                    end = yield from soundly(known, encoding, whole, f"all {precision}", limit)
                    if end.assignment == problem.space.canonical(whole) and known.passes(end):
                        base = whole
                        continue
                if left and not order:
                    order = yield from self._orders(known)
                ranked = [k for k in order.get(precision, []) if k in left]
                base = yield from work(known, encoding, base, ranked, precision, limit)
        return ending(known) or ("limit" if known.builds >= limit else None)

    def _orders(self, known: History) -> Subroutine[dict[Precision, list[str]]]:
        """Keys of the free groups for each lower precision, least harmful first."""
        encoding = Encoding(known.problem.space)
        free = known.problem.space.free
        n, p = encoding.size
        scores = np.repeat(np.arange(float(n))[:, None], p, axis=1)
        if self.rank == "macs":
            scores = np.repeat(-np.array([[float(g.macs)] for g in free]), p, axis=1)
        if self.rank == "sensitivity":
            squared_usage = yield from single_squared_usage(known, encoding)
            gains = profile_gains(known, encoding)
            # A group that is slower when lowered goes to the end, however harmless it is.
            floor = 0.05 * max(float(np.abs(gains).mean()), 1e-9)
            scores = (squared_usage + 1e-9) / np.maximum(gains, floor) + 1e6 * (gains < 0)
        return {
            precision: [free[i].key for i in np.argsort(scores[:, label], kind="stable").tolist()]
            for label, precision in enumerate(known.problem.space.precisions)
        }


def _lowers(group: LayerGroup, base: Assignment, precision: Precision) -> bool:
    return precision in group.choices and base[group.key].rank < precision.rank


def _bisect(
    known: History,
    encoding: Encoding,
    base: Assignment,
    ranked: list[str],
    precision: Precision,
    limit: int,
) -> Subroutine[Assignment]:
    """``base`` with the longest prefix of ``ranked`` lowered, as far as that is monotone."""
    good, bad = 0, len(ranked)
    while bad - good > 1:
        fits: bool | None = None
        middle = (good + bad) // 2
        # A build that fails says nothing about accuracy: try its neighbours instead.
        for count in sorted(range(good + 1, bad), key=lambda c: (abs(c - middle), c))[:4]:
            if known.builds >= limit:
                break
            asked = base.with_(dict.fromkeys(ranked[:count], precision))
            asked = repaired_assignment(known, encoding, asked)
            (trial,) = yield from known.build([asked], f"{count} least harmful at {precision}")
            fits = known.passes(trial)
            if fits is not None:
                good, bad = (count, bad) if fits else (good, count)
                break
        if fits is None:
            break
    prefix = base.with_(dict.fromkeys(ranked[:good], precision))
    return repaired_assignment(known, encoding, prefix)


def _split(
    known: History,
    encoding: Encoding,
    base: Assignment,
    rest: list[str],
    precision: Precision,
    limit: int,
) -> Subroutine[Assignment]:
    """Lower segments of ``rest``, the largest first; halve those that fail."""
    queue = _halves(rest)
    while queue and known.builds < limit:
        queue.sort(key=lambda s: (-len(s), rest.index(s[0])))
        segment = queue.pop(0)
        asked = base.with_(dict.fromkeys(segment, precision))
        asked = repaired_assignment(known, encoding, asked)
        (trial,) = yield from known.build([asked], f"{len(segment)} more at {precision}")
        if known.passes(trial):
            base = asked
        elif len(segment) > 1:
            queue += _halves(segment)
    return base


def _halves(segment: list[str]) -> list[list[str]]:
    middle = (len(segment) + 1) // 2
    return [half for half in (segment[:middle], segment[middle:]) if half]
