"""Trials as a page tells them: from a journal in full, from a plan abridged."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from types import MappingProxyType

from precsearch.core.events import TrialFinished
from precsearch.core.mismatch import sentences, sizes_alone
from precsearch.core.precision import Precision
from precsearch.core.problem import Goal, pareto
from precsearch.core.space import Assignment
from precsearch.core.trial import Failed, Fidelity, Trial
from precsearch.formatting import loss_bound
from precsearch.plan.plan import Plan

__all__ = ["TrialFact", "abridged", "in_words", "timed", "told"]

_MOST_NAMES = 2
_NOTHING: Mapping[Assignment, Precision] = MappingProxyType({})
_LONGEST = 240
_UNIFORM = "uniform"
"""How the strategy `uniform` begins its reasons: all that a plan alone and an old journal tell."""


@dataclass(frozen=True, slots=True)
class TrialFact:
    """One trial.

    Attributes:
        number: Its number.
        engine: Whether it was built and timed.
        build: How many engines there were, this one counted; 0 for a proxy.
        loss, ratio, low, high, seconds: What came out; ``None`` where there was none.
        verdict: In words.
        failed: How it failed, "" if it did not.
        counts: Groups per precision below FP32.
        assigned: The assignment in a few words, "" if it was not kept.
        precisions: The assignment, ``None`` if it was not kept.
        why: Why it was tried.
        uniform: The precision of which it is the uniform engine, "" for any other.
        front: Whether it is on the Pareto front.
        chosen: Whether it is the engine that ships, or the best so far.
        size: Bytes of what would be shipped, 0 where nobody knows.
    """

    number: int
    engine: bool
    build: int
    loss: float | None
    ratio: float | None
    low: float | None
    high: float | None
    seconds: float | None
    verdict: str
    failed: str
    counts: Mapping[str, int]
    assigned: str
    precisions: Assignment | None
    why: str
    front: bool
    chosen: bool
    size: int = 0
    uniform: str = ""

    @property
    def is_uniform(self) -> bool:
        """Whether it has one precision wherever that is possible or advised."""
        return bool(self.counts) and bool(self.uniform or self.why.startswith(_UNIFORM))


def told(
    done: Iterable[TrialFinished],
    goal: Goal | None,
    place: Mapping[str, int],
    chosen: Trial | None,
    uniform: Mapping[Assignment, Precision] = _NOTHING,
) -> tuple[TrialFact, ...]:
    """The trials of a journal.

    Args:
        done: Finished trials.
        goal: What was asked for.
        place: Position of each group.
        chosen: The engine that ships.
        uniform: The uniform engines, and the precision of each.
    """
    rows = tuple(done)
    front = {t.number for t in pareto(timed(r.trial for r in rows))}
    facts = (_one(r, goal, r.trial.number in front, place, chosen) for r in rows)
    named = {assignment: p.value for assignment, p in uniform.items()}
    return tuple(
        f if f.precisions is None else replace(f, uniform=named.get(f.precisions, ""))
        for f in facts
    )


def _one(
    row: TrialFinished,
    goal: Goal | None,
    front: bool,
    place: Mapping[str, int],
    chosen: Trial | None,
) -> TrialFact:
    trial = row.trial
    found = trial.measurement
    latency = found.latency if found is not None else None
    engine = trial.proposal.fidelity is Fidelity.ENGINE
    failed = trial.outcome if isinstance(trial.outcome, Failed) else None
    counts = {p.value: len(trial.assignment.keys_at(p)) for p in Precision.ordered()}
    odd = found.accuracy.mismatches if found is not None else ()
    return TrialFact(
        number=trial.number,
        engine=engine,
        build=row.builds if engine else 0,
        loss=None if found is None else found.accuracy.loss,
        ratio=None if latency is None else latency.ratio,
        low=None if latency is None else latency.ratio_low,
        high=None if latency is None else latency.ratio_high,
        seconds=None if latency is None else latency.seconds,
        verdict=_verdict(trial, goal),
        failed="" if failed is None else f"{failed.stage}/{failed.kind}: {failed.message}",
        counts={name: count for name, count in counts.items() if count},
        assigned=in_words(trial.assignment, place),
        precisions=trial.assignment,
        why="; ".join([*sentences(odd), *filter(None, [trial.proposal.reason])]),
        front=front and engine,
        chosen=trial is chosen,
        size=0 if found is None else found.artifact_bytes,
    )


def timed(trials: Iterable[Trial]) -> list[Trial]:
    """The engines with a latency that makes sense."""
    return [
        t
        for t in trials
        if t.proposal.fidelity is Fidelity.ENGINE
        and (m := t.measurement) is not None
        and m.latency is not None
        and math.isfinite(m.latency.ratio)
        and m.latency.ratio > 0
    ]


def _verdict(trial: Trial, goal: Goal | None) -> str:
    found = trial.measurement
    if found is None:
        return "failed"
    if not math.isfinite(found.accuracy.loss):
        return "other size" if sizes_alone(found.accuracy.mismatches) else "not finite"
    if goal is None:
        return "no bound yet"
    if goal.passes(found):
        return "pass"
    return "too close" if goal.admits(found) else "over bound"


def abridged(plan: Plan | None) -> tuple[TrialFact, ...]:
    """The trials as a plan keeps them: without their assignments and intervals."""
    if plan is None:
        return ()
    evidence = plan.evidence
    bound = loss_bound(plan.criteria.metric, plan.criteria.tolerance)
    ours = plan.recipe.assignment.digest[:12]
    rows = []
    builds = 0
    for trial in evidence.trials:
        engine = trial.fidelity == Fidelity.ENGINE.value
        builds += engine
        verdict = "failed"
        if trial.loss is not None:
            verdict = "pass" if trial.loss <= bound else "over bound"
            if not math.isfinite(trial.loss):
                verdict = "other size" if sizes_alone(trial.mismatches) else "not finite"
        rows.append(
            TrialFact(
                number=trial.number,
                engine=engine,
                build=builds if engine else 0,
                loss=trial.loss,
                ratio=trial.ratio,
                low=None,
                high=None,
                seconds=None,
                verdict=verdict,
                failed=trial.failed,
                counts=trial.counts,
                assigned="",
                precisions=None,
                why=trial.why,
                front=trial.pareto,
                chosen=engine and trial.assignment == ours,
            )
        )
    return tuple(rows)


def in_words(assignment: Assignment, place: Mapping[str, int]) -> str:
    """Runs of groups below FP32 in graph order: ``int8: a to f (6), h``; at most 240 characters.

    Args:
        assignment: What is said.
        place: Position of each group.
    """
    said = []
    for precision in Precision.below_fp32():
        keys = sorted(assignment.keys_at(precision), key=lambda k: (place.get(k, -1), k))
        parts = []
        # Positions less ranks are equal within a run of neighbours.
        for _, run in groupby(enumerate(keys), key=lambda row: place.get(row[1], -1) - row[0]):
            names = [key for _, key in run]
            far = len(names) > _MOST_NAMES
            parts += [f"{names[0]} to {names[-1]} ({len(names)})"] if far else names
        if parts:
            said.append(f"{precision}: {', '.join(parts)}")
    text = "; ".join(said) or "all fp32"
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
