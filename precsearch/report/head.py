"""The top of a report, its headline and the answer; and what was asked and what came out."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from precsearch.core.objective import Objective
from precsearch.formatting import (
    counts,
    duration,
    fp32_told,
    magnitude,
    many,
    milliseconds,
    prediction_summary,
    speedup,
    speedup_interval,
)
from precsearch.measurement.timing.certainty import doubts
from precsearch.optimization.explanation.stopping import fp32_is_fastest, why_stopped
from precsearch.plan.plan import Plan
from precsearch.report.charts.rows import scale_of
from precsearch.report.html import Cell, facts
from precsearch.report.run_facts import Facts

__all__ = ["Headline", "asked", "headline", "outcome"]


@dataclass(frozen=True, slots=True)
class Headline:
    """What came of a run, in a line.

    Attributes:
        said: The line.
        tone: ``good``, ``bad`` or nothing.
    """

    said: str
    tone: str = ""


def headline(known: Facts) -> Headline:
    """What came of a run."""
    story, bound = known.story, known.bound
    bound_text = "" if bound is None else f", within {scale_of(bound).bound(bound.tolerance)}"
    if story.plan is None:
        best = next((t for t in known.trials if t.chosen), None)
        state = "no plan yet" if story.finished is None else "ended without a plan"
        if best is None or best.ratio is None:
            return Headline(f"{state}: no engine within the bound so far", "bad")
        return Headline(f"{state}; best so far: {speedup(best.ratio)} FP32's speed{bound_text}")
    evidence, fp32 = story.plan.evidence, story.plan.evidence.fp32_words
    failed = evidence.finalists and not any(f.passed for f in evidence.finalists)
    if failed:
        return Headline(f"nothing confirmed on the holdout{bound_text}", "bad")
    if not story.plan.recipe.assignment.entries:
        fastest = fp32_is_fastest(story.plan)
        text = f"{fp32} is the fastest" if fastest else f"nothing faster than {fp32} found"
        text += bound_text + "".join(f"; {reason}" for reason in evidence.latency.unsure)
        return Headline(text)
    interval = speedup_interval(evidence.latency.ratio_low, evidence.latency.ratio_high)
    unsure = doubts(evidence.latency)
    speed = f"{speedup(evidence.latency.ratio)} {fp32}'s speed ({interval})"
    small = story.plan.criteria.objective == Objective.SIZE.value and evidence.fp32_size
    share = f"{100 * evidence.size / evidence.fp32_size:.0f} % of its size, " if small else ""
    text = f"{share}{speed}{bound_text}"
    text += "".join(f"; {reason}" for reason in unsure)
    return Headline(text, "" if unsure else "good")


def asked(known: Facts) -> list[tuple[str, Cell]]:
    """What was asked, value by value."""
    story = known.story
    rows: list[tuple[str, object]] = []
    if known.bound is not None:
        rows.append(("bound", scale_of(known.bound).bound(known.bound.tolerance)))
    if story.run is not None:
        given = story.run.identity
        rows += [
            (name, given.get(name, ""))
            for name in ("objective", "limits", "backend", "precisions", "strategy", "seed")
        ]
        rows.append(("calibration", given.get("calibration", "").partition(" ")[0]))
    elif story.plan is not None:
        evidence = story.plan.evidence
        rows += [
            ("backend", story.plan.recipe.backend),
            ("strategy", evidence.strategy),
            ("seed", str(story.plan.criteria.seed)),
            ("calibration", evidence.calibration),
        ]
    if story.search is not None:
        budget = story.search.budget
        limits = [] if budget.max_builds is None else [many(budget.max_builds, "engine")]
        limits += [] if budget.seconds is None else [duration(budget.seconds)]
        rows.append(("budget", " and ".join(limits) or "no limit"))
        rows.append(("noise", f"±{story.search.noise * 100:.1f} % of latency"))
    if story.plan is not None:
        rows += [(_label(k), _short(v)) for k, v in sorted(story.plan.criteria.data.items())]
    return facts(rows)


def _label(key: str) -> str:
    """A key of the plan's facts on data, in words."""
    words = key.replace("_", " ")
    return f"data {words}" if words in ("digest", "random") else words


def outcome(known: Facts) -> list[tuple[str, Cell]]:
    """What came out, value by value."""
    story = known.story
    engines = sum(t.engine for t in known.trials)
    tried = f"{many(engines, 'engine')}, {many(len(known.trials) - engines, 'proxy', 'proxies')}"
    requested = Counter(g.asked.value for g in known.groups if g.free)
    fixed = sum(not g.free for g in known.groups)
    no_choice = f"; {fixed} more have no choice" if fixed else ""
    rows: list[tuple[str, object]] = []
    if story.plan is not None:
        rows += _measured(story.plan, known)
        rows.append(("groups", f"{counts(requested)}{no_choice}"))
        took = duration(story.plan.evidence.seconds)
        evidence = story.plan.evidence
        wished = Objective.named(story.plan.criteria.objective)
        why = why_stopped(evidence.stopped, evidence.expected_gain, evidence.predictions, wished)
        rows.append(("search", f"{tried} in {took}; {why}"))
        if story.plan.evidence.predictions is not None:
            rows.append(("models", prediction_summary(story.plan.evidence.predictions)))
        rows.append(("plan", story.plan.digest[:16]))
    else:
        rows.append(("search", tried))
        if known.chosen is not None:
            rows.append(("groups", f"{counts(requested)}{no_choice}"))
    return facts(rows)


def _measured(plan: Plan, known: Facts) -> list[tuple[str, object]]:
    """Loss and latency as confirmed."""
    evidence, scale = plan.evidence, scale_of(known.bound)

    def loss(value: float) -> str:
        assert known.bound is not None
        share = scale.of_bound(value, known.bound.tolerance)
        return f"{scale(value)}{f' ({share})' if share else ''}"

    latency = evidence.latency
    rows: list[tuple[str, object]] = [
        ("loss", f"{loss(evidence.accuracy.loss)} on the search samples"),
        ("worst", f"{scale(evidence.accuracy.worst)}, of one search sample"),
        (
            "latency",
            f"{milliseconds(latency.seconds)} ({milliseconds(latency.low)} to "
            f"{milliseconds(latency.high)}), FP32 {milliseconds(evidence.baseline.seconds)}",
        ),
        *([("FP32", fp32_told(evidence, scale))] if evidence.fp32 else []),
        *([("size", f"{magnitude(evidence.size)}B")] if evidence.size else []),
        *([("memory", f"{magnitude(evidence.memory)}B")] if evidence.memory else []),
    ]
    if evidence.holdout is not None:
        rows.insert(1, ("holdout", loss(evidence.holdout.loss)))
    return rows


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 24 else f"{text[:16]}…"
