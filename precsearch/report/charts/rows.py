"""The rows that charts draw: numbers to place marks with, and words for people who point at them.

Every value is finite or missing; a loss outside of the drawn range is placed at its edge, its words
still tell the truth.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

from precsearch.core.precision import Precision
from precsearch.core.problem import Bound
from precsearch.formatting import Scale, counts, milliseconds, number, speedup, speedup_interval
from precsearch.report.run_facts import Facts, GroupFact
from precsearch.report.run_record import Range
from precsearch.report.trial_facts import TrialFact

__all__ = ["Row", "cost_span", "data_of", "drawn", "gained", "loss_span", "scale_of", "span_of"]

Row = Mapping[str, object]

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
                "plain": _micro(group.plain),
                "chosen": _micro(group.chosen),
                "saved": _micro(group.saved),
                "saved said": "" if group.saved is None else gained(group.saved),
                "reason": group.reason,
            }
        )
    return rows


def gained(seconds: float) -> str:
    """A saving, which may be a loss: ``12.3 us``, ``-4.0 us``."""
    return f"{'-' if seconds < 0 else ''}{milliseconds(abs(seconds))}"


def trial_rows(
    trials: Sequence[TrialFact], bound: Bound | None, span: tuple[float, float]
) -> list[Row]:
    """One row a trial, in the order that they ended."""
    scale = scale_of(bound)
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
                "time": _percent(trial.ratio),
                "low": _percent(trial.low),
                "high": _percent(trial.high),
                "speed said": f"{speed} ({interval})" if interval else speed,
                "latency said": "" if trial.seconds is None else milliseconds(trial.seconds),
                "verdict": trial.verdict,
                "groups": counts(trial.counts) or "all fp32",
                "assignment": trial.assigned or "not kept: it is in the journal",
                "why": trial.failed or trial.why,
                "front": trial.front,
                "chosen": trial.chosen,
            }
        )
    return rows


def ship_rows(facts: Facts, span: tuple[float, float]) -> list[Row]:
    """What ships as it was measured at the end; without a plan, the best so far."""
    chosen = [t for t in facts.trials if t.chosen]
    rows = trial_rows(chosen[:1], facts.bound, span)
    if facts.story.plan is None:
        return rows
    evidence = facts.story.plan.evidence
    latency, scale = evidence.latency, scale_of(facts.bound)
    interval = speedup_interval(latency.ratio_low, latency.ratio_high)
    known = rows[0] if rows else {"trial": "", "groups": "", "assignment": "", "what": "engine"}
    confirmed = {
        "loss": drawn(evidence.accuracy.loss, span),
        "loss said": scale(evidence.accuracy.loss),
        "time": _percent(latency.ratio),
        "speed said": f"{speedup(latency.ratio)} FP32's speed ({interval})",
        "latency said": milliseconds(latency.seconds),
        "why": "what ships, as measured again at the end",
        "verdict": "chosen",
    }
    return [{**known, **confirmed}]


def best_rows(facts: Facts) -> list[Row]:
    """Latency of the best engine within the bound after each build, once there is one."""
    if facts.story.done:
        return _best_of_journal(facts)
    rows: list[Row] = []
    best = math.inf
    for trial in facts.trials:
        if trial.engine and trial.ratio is not None and trial.verdict == "within the bound":
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


def range_rows(facts: Facts) -> list[Row]:
    """Calibrated ranges, and the scales that the plan keeps, by tensor in graph order."""
    plan = facts.story.plan
    scales = {} if plan is None else {s.tensor: s for s in plan.recipe.scales}
    signed = plan is None or "u8" not in plan.recipe.scheme
    place = {g.key: g.place for g in facts.groups}
    tensors = sorted(
        {*facts.story.ranges, *scales}, key=lambda t: (place.get(t, -1), t)
    )  # inputs come first
    rows: list[Row] = []
    for number_, tensor in enumerate(tensors):
        kept = scales.get(tensor)
        step = None if kept is None else float.fromhex(kept.scale)
        zero = 0 if kept is None else kept.zero_point
        found = facts.story.ranges.get(tensor) or _covered(step or 0.0, zero, signed)
        rows.append(
            {
                "place": number_,
                "tensor": tensor,
                "low": _finite(found[0]),
                "high": _finite(found[1]),
                "range": f"{number(found[0])} to {number(found[1])}",
                "step": "" if step is None else number(step),
                "zero": "" if kept is None else str(zero),
                "used": "in the plan" if kept is not None else "calibrated, not used",
            }
        )
    return rows


def _covered(step: float, zero: int, signed: bool) -> Range:
    """What INT8 can show with a scale and a zero point."""
    low, high = (-127, 127) if signed else (0, 255)
    return ((low - zero) * step, (high - zero) * step)


def drawn(loss: float | None, span: tuple[float, float]) -> float | None:
    """Where a loss is drawn; one outside of the span at its edge."""
    if loss is None:
        return None
    if math.isnan(loss):
        return span[1]
    return min(max(loss, span[0]), span[1])


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _percent(ratio: float | None) -> float | None:
    found = _finite(ratio)
    return None if found is None or found <= 0 else found * 100


def _micro(seconds: float | None) -> float | None:
    found = _finite(seconds)
    return None if found is None else found * 1e6
