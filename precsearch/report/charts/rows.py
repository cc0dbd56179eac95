"""The rows that charts draw: numbers to place marks with, and words for people who point at them.

Every value is finite or missing; a loss outside of the drawn range is placed at its edge, its words
still tell the truth.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import groupby

from precsearch.core.precision import Precision
from precsearch.core.problem import Bound
from precsearch.formatting import Scale, counts, milliseconds, speedup, speedup_interval
from precsearch.report.charts.labels import front_labels
from precsearch.report.charts.part_rows import range_rows, spent_rows
from precsearch.report.charts.values import Row, drawn, micro, percent
from precsearch.report.run_facts import Facts, GroupFact
from precsearch.report.trial_facts import TrialFact

__all__ = ["Row", "cost_span", "data_of", "drawn", "gained", "loss_span", "scale_of", "span_of"]

_BELOW = 20.0
_ABOVE = 300.0
"""Losses further than these factors from the bound are drawn at the edge."""
_FAINT = 1e-4
"""Groups that cost less than this part of the bound are drawn at the edge."""
_MOST_ROWS = 80
"""Engines in the map of assignments; of more, the first and the last."""


def data_of(facts: Facts) -> dict[str, list[Row]]:
    """All rows of a report by the name that its charts refer to."""
    span = loss_span(facts)
    return {
        "groups": group_rows(facts.groups, facts.bound, cost_span(facts)),
        "trials": trial_rows(facts.trials, facts.bound, span),
        "ships": ship_rows(facts, span),
        "best": best_rows(facts),
        "map": map_rows(facts),
        "ranges": range_rows(facts),
        "spent": spent_rows(facts.times),
    }


def loss_span(facts: Facts) -> tuple[float, float]:
    """Lowest and highest loss that is drawn, both positive."""
    found = [t.loss for t in facts.trials] + [g.cost for g in facts.groups]
    return span_of(found, facts.bound)


def cost_span(facts: Facts) -> tuple[float, float]:
    """Lowest and highest cost of a group that is drawn, both positive; the bound is within."""
    known = [g.cost for g in facts.groups if g.cost and math.isfinite(g.cost)]
    limit = facts.bound.tolerance if facts.bound is not None else 0.0
    low, high = min(known, default=1e-3), max(known, default=1e-2)
    if limit > 0:
        low, high = max(min(low, limit / 2), limit * _FAINT), max(high, limit * 1.5)
    return low / 1.3, max(high, low * 2) * 1.15


def span_of(losses: Iterable[float | None], bound: Bound | None) -> tuple[float, float]:
    """Lowest and highest of some losses that is drawn, both positive."""
    known = [v for v in losses if v is not None and math.isfinite(v) and v > 0]
    limit = bound.tolerance if bound is not None else 0.0
    low, high = min(known, default=1e-3), max(known, default=1.0)
    if limit > 0:
        low = max(min(low, limit / 2), limit / _BELOW)
        high = min(max(high, limit * 2), limit * _ABOVE)
    return low / 1.15, max(high, low * 2) * 1.15


def scale_of(bound: Bound | None) -> Scale:
    """How losses are written."""
    return Scale("" if bound is None else bound.metric)


def group_rows(
    groups: Sequence[GroupFact], bound: Bound | None, span: tuple[float, float]
) -> list[Row]:
    """One row a group, in graph order."""
    scale = scale_of(bound)
    rows: list[Row] = []
    for group in groups:
        cost = drawn(group.cost, span)
        ran = group.ran.value if group.ran is not None else "not known"
        beside = f" (with {group.beside})" if group.beside else ""
        rows.append(
            {
                "from": group.place,
                "to": group.place + 1,
                "group": group.key,
                "kind": group.kind,
                "asked": group.asked.value if group.free else "no choice",
                "ran": ran if group.shows_ran else "no choice",
                "cost": cost,
                "cost said": "" if group.cost is None else f"{scale(group.cost)}{beside}",
                "plain": micro(group.plain),
                "chosen": micro(group.chosen),
                "computing": micro(_computing(group)),
                "conversions": "" if not group.converting else milliseconds(group.converting),
                "runs": _runs(group),
                "saved": micro(group.saved),
                "saved said": "" if group.saved is None else gained(group.saved),
                "reason": group.reason,
            }
        )
    return rows


def _computing(group: GroupFact) -> float | None:
    """Seconds in the chosen engine without conversions."""
    return None if group.chosen is None else group.chosen - (group.converting or 0.0)


def _runs(group: GroupFact) -> str:
    """What its time is spent in: what it ran in, or else what it was asked for."""
    return (group.ran or group.asked).value


def gained(seconds: float) -> str:
    """A saving, which may be a loss: ``12.3 us``, ``-4.0 us``."""
    return f"{'-' if seconds < 0 else ''}{milliseconds(abs(seconds))}"


def trial_rows(
    trials: Sequence[TrialFact], bound: Bound | None, span: tuple[float, float]
) -> list[Row]:
    """One row a trial, in the order that they ended."""
    scale, labels = scale_of(bound), front_labels(trials, span)
    rows: list[Row] = []
    for trial in trials:
        interval = speedup_interval(trial.low or 0.0, trial.high or 0.0)
        speed = "" if trial.ratio is None else f"{speedup(trial.ratio)} FP32's speed"
        rows.append(
            {
                "trial": trial.number,
                "what": "engine" if trial.engine else "proxy",
                "build": trial.build,
                "loss": drawn(trial.loss, span),
                "loss said": "" if trial.loss is None else scale(trial.loss),
                "time": percent(trial.ratio),
                "low": percent(trial.low),
                "high": percent(trial.high),
                "speed said": f"{speed} ({interval})" if interval else speed,
                "latency said": "" if trial.seconds is None else milliseconds(trial.seconds),
                "verdict": trial.verdict,
                "groups": counts(trial.counts) or "all fp32",
                "assignment": trial.assigned or "not kept: it is in the journal",
                "why": trial.failed or trial.why,
                "front": trial.front,
                "label": "" if trial.chosen else labels.get(trial.number, ""),
                "chosen": trial.chosen,
            }
        )
    return rows


def ship_rows(facts: Facts, span: tuple[float, float]) -> list[Row]:
    """What ships as it was measured at the end; without a plan, the best so far."""
    chosen = [t for t in facts.trials if t.chosen]
    rows = trial_rows(chosen[:1], facts.bound, span)
    if facts.story.plan is None:
        best = "" if not chosen or chosen[0].ratio is None else speedup(chosen[0].ratio)
        return [{**row, "label": best} for row in rows]
    evidence = facts.story.plan.evidence
    latency, scale = evidence.latency, scale_of(facts.bound)
    interval = speedup_interval(latency.ratio_low, latency.ratio_high)
    known = rows[0] if rows else {"trial": "", "groups": "", "assignment": "", "what": "engine"}
    confirmed = {
        "loss": drawn(evidence.accuracy.loss, span),
        "loss said": scale(evidence.accuracy.loss),
        "time": percent(latency.ratio),
        "speed said": f"{speedup(latency.ratio)} FP32's speed ({interval})",
        "latency said": milliseconds(latency.seconds),
        "why": "what ships, as measured again at the end",
        "verdict": "chosen",
        "label": f"ships: {speedup(latency.ratio)}",
    }
    return [{**known, **confirmed}]


def best_rows(facts: Facts) -> list[Row]:
    """Latency of the best engine within the bound after each build, once there is one."""
    if facts.story.done:
        return _best_of_journal(facts)
    rows: list[Row] = []
    best = math.inf
    for trial in facts.trials:
        if trial.engine and trial.ratio is not None and trial.verdict == "pass":
            best = min(best, trial.ratio)
        if trial.engine and math.isfinite(best):
            rows.append({"build": trial.build, "time": best * 100})
    return rows


def _best_of_journal(facts: Facts) -> list[Row]:
    """As the search would have answered at each moment: a tie goes to the more accurate."""
    goal = facts.goal
    rows: list[Row] = []
    if goal is None:
        return rows
    known = {t.number: t for t in facts.trials}
    seen = []
    for done in facts.story.done:
        if not known[done.trial.number].engine:
            continue
        seen.append(done.trial)
        best = goal.best(seen)
        ratio = None if best is None else known[best.number].ratio
        if ratio is not None and math.isfinite(ratio):
            rows.append({"build": done.builds, "time": ratio * 100})
    return rows


def map_rows(facts: Facts) -> list[Row]:
    """Runs of groups of one precision below FP32, for every engine."""
    shown = [t for t in facts.trials if t.engine and t.precisions is not None]
    if len(shown) > _MOST_ROWS:
        shown = [*shown[: _MOST_ROWS // 2], *shown[-_MOST_ROWS // 2 :]]
    order = [g.key for g in facts.groups]
    rows: list[Row] = []
    for trial in shown:
        assert trial.precisions is not None
        place = 0
        for precision, run in groupby(trial.precisions[key] for key in order):
            end = place + sum(1 for _ in run)
            if precision is not Precision.FP32 or end - place == len(order):
                rows.append(
                    {
                        "engine": str(trial.number),
                        "from": place,
                        "to": end,
                        "precision": precision.value,
                        "groups": f"{order[place]} to {order[end - 1]}",
                        "speed": "" if trial.ratio is None else speedup(trial.ratio),
                        "verdict": trial.verdict,
                    }
                )
            place = end
    return rows
