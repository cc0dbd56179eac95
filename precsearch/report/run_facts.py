"""What a page tells about groups and trials, drawn from a `Story`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from precsearch.core.precision import Precision
from precsearch.core.problem import Bound, Goal
from precsearch.core.space import Assignment
from precsearch.core.trial import Measurement, Trial
from precsearch.formatting import loss_bound
from precsearch.optimization.explanation.explain import Ledger, ledger
from precsearch.report.engine_time import FP32_ENGINE, EngineTime, engine_time
from precsearch.report.run_record import Story
from precsearch.report.trial_facts import abridged, timed, told

__all__ = ["Facts", "GroupFact"]

_PAIR = 2


@dataclass(frozen=True, slots=True)
class GroupFact:
    """One layer group.

    Attributes:
        place: Its position in graph order, from 0.
        key, kind, block: Its names.
        free: Whether there was a choice.
        asked: The precision in the chosen engine.
        ran: What it ran in, ``None`` where nobody looked.
        cost: Loss with it alone at its lowest precision, ``None`` if that was not measured.
        beside: The group that had to be lowered with it to have any effect, "" if none.
        plain: Seconds of it in the FP32 engine's profile.
        chosen: Seconds in the chosen engine's profile.
        converting: The part of `chosen` in kernels that only convert types or layouts.
        saved: Seconds that lowering it saves, by the profiles.
        reason: Why it has its precision.
    """

    place: int
    key: str
    kind: str
    block: str
    free: bool
    asked: Precision
    ran: Precision | None
    cost: float | None
    beside: str
    plain: float | None
    chosen: float | None
    converting: float | None
    saved: float | None
    reason: str

    @property
    def shows_ran(self) -> bool:
        """Whether what it ran in says something: there was a choice, or it ran otherwise."""
        return self.free or self.ran not in (None, self.asked)


class Facts:
    """What is known of a run.

    Attributes:
        story: The run.
        bound: The bound on the loss, ``None`` before the search.
        groups: In graph order; by name, where nothing tells the order.
        ordered: Whether the order is the graph's.
        trials: In the order they ended.
    """

    def __init__(self, story: Story) -> None:
        self.story = story
        self.bound = _bound(story)
        self._trials = tuple(d.trial for d in story.done)
        self._book: Ledger = ledger(self._trials)
        self._pairs = _pairs(self._trials, self._book)
        self.ordered = story.plan is not None or bool(story.search and story.search.outline)
        self.groups = self._groups()
        self.trials = (
            told(
                story.done,
                self.goal,
                {g.key: g.place for g in self.groups},
                self._chosen_trial,
                {u.assignment: u.precision for u in story.search.uniform} if story.search else {},
            )
            if story.done
            else abridged(story.plan)
        )

    @property
    def goal(self) -> Goal | None:
        """What was asked for."""
        if self.story.search is not None and self.bound is not None:
            return replace(self.story.search.goal, bound=self.bound)
        return None if self.bound is None else Goal(self.bound, 0.0)

    @cached_property
    def chosen(self) -> Assignment | None:
        """The assignment that ships; the best so far without a plan."""
        if self.story.plan is not None:
            return self.story.plan.recipe.assignment
        best = self.goal.best(timed(self._trials)) if self.goal is not None else None
        return None if best is None else best.assignment

    @cached_property
    def _chosen_trial(self) -> Trial | None:
        return next(
            (t for t in timed(self._trials) if t.assignment == self.chosen),
            None,
        )

    @cached_property
    def _plain(self) -> Measurement | None:
        """The FP32 engine, if it was profiled."""
        seen = (t.measurement for t in self._trials if not t.assignment)
        return next((m for m in seen if m is not None and m.group_seconds), None)

    @cached_property
    def times(self) -> tuple[EngineTime, ...]:
        """Where the time of FP32 and of the chosen engine goes, as far as they were profiled."""
        trial = self._chosen_trial
        shipped = trial.measurement if trial is not None and trial.assignment else None
        ran: Mapping[str, Precision | None] = {g.key: g.ran for g in self.groups}
        plain: Mapping[str, Precision | None] = {}
        name = "what ships" if self.story.plan is not None else "best so far"
        rows = ((FP32_ENGINE, self._plain, plain), (name, shipped, ran))
        return tuple(
            engine_time(title, found, precisions)
            for title, found, precisions in rows
            if found is not None and found.group_seconds
        )

    def _keys(self) -> list[tuple[str, str, str, bool]]:
        """Key, kind, block and whether there is a choice, in graph order if that is known."""
        story = self.story
        outline = story.search.outline if story.search is not None else ()
        if outline:
            return [(g.key, g.kind, g.block, len(g.choices) > 1) for g in outline]
        if story.plan is not None:
            free = {g.key for g in story.plan.evidence.groups}
            return [(g.key, g.kind, "", g.key in free) for g in story.plan.recipe.groups]
        seen = {key for t in self._trials for key in t.assignment}
        return [(key, "", "", True) for key in sorted(seen)]

    def _groups(self) -> tuple[GroupFact, ...]:
        plan = self.story.plan
        asked = self.chosen or Assignment()
        trial = self._chosen_trial
        measurement = trial.measurement if trial is not None else None
        ran = dict(measurement.achieved) if measurement is not None else {}
        reasons: dict[str, str] = {}
        if plan is not None:
            ran |= {g.key: g.achieved for g in plan.evidence.groups if g.achieved is not None}
            reasons = {g.key: g.reason for g in plan.evidence.groups}
        after = measurement.group_seconds if measurement is not None else {}
        converting = measurement.conversion_seconds if measurement is not None else {}
        before = self._plain.group_seconds if self._plain is not None else {}
        rows = []
        for place, (key, kind, block, free) in enumerate(self._keys()):
            cost, beside = self._cost(key, asked[key])
            rows.append(
                GroupFact(
                    place=place,
                    key=key,
                    kind=kind,
                    block=block,
                    free=free,
                    asked=asked[key],
                    ran=ran.get(key, None if asked[key] is not Precision.FP32 else asked[key]),
                    cost=cost,
                    beside=beside,
                    plain=before.get(key),
                    chosen=after.get(key),
                    converting=converting.get(key),
                    saved=self._book.saved.get(key),
                    reason=reasons.get(key, ""),
                )
            )
        return tuple(rows)

    def _cost(self, key: str, asked: Precision) -> tuple[float | None, str]:
        """Loss with a group alone lowered, as it is asked for or else to its lowest."""
        at = [asked] if asked is not Precision.FP32 else Precision.below_fp32()
        for precision in at:
            if (key, precision) in self._book.cost:
                return self._book.cost[key, precision], ""
        return self._pairs.get(key, (None, ""))


def _bound(story: Story) -> Bound | None:
    if story.search is not None:
        return story.search.bound
    if story.plan is None:
        return None
    asked = story.plan.criteria
    return Bound(loss_bound(asked.metric, asked.tolerance), asked.metric)


def _pairs(trials: Sequence[Trial], book: Ledger) -> dict[str, tuple[float, str]]:
    """Loss of groups that were only lowered beside another one, and that other one."""
    alone = {key for key, _ in book.cost}
    pairs: dict[str, tuple[float, str]] = {}
    for trial in trials:
        if len(trial.assignment) != _PAIR or trial.measurement is None:
            continue
        first, second = trial.assignment
        for key, other in ((first, second), (second, first)):
            if key not in alone and other in alone:
                pairs.setdefault(key, (trial.measurement.accuracy.loss, other))
    return pairs
