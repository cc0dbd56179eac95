"""What `optimize` found, for people."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

from rich.text import Text

from precsearch.cli.cells import (
    Scale,
    clean,
    counts,
    duration,
    magnitude,
    many,
    milliseconds,
    speedup,
    speedup_interval,
)
from precsearch.cli.output.next_steps import loading_lines, next_steps
from precsearch.cli.shipped import by_size, latency_words, share_of_size, size_rows
from precsearch.codec import unstructure
from precsearch.core.objective import Objective
from precsearch.core.trial import UNKNOWN, Latency, ShapeLatency
from precsearch.formatting import fp32_told, loss_bound, prediction_summary
from precsearch.measurement.timing.certainty import doubts
from precsearch.optimization.explanation.stopping import fp32_is_fastest, why_stopped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from precsearch.api import OptimizeConfig, OptimizeResult
    from precsearch.cli.output.page import Page
    from precsearch.plan.plan import Plan
    from precsearch.setup.config import EngineRow

__all__ = ["optimize_lines", "rate_rows", "result_fields"]

_MOST_ALTERNATIVES = 5


def optimize_lines(config: OptimizeConfig, result: OptimizeResult, page: Page) -> list[Text]:
    """The summary of a run.

    Args:
        config: What was asked.
        result: What came out.
        page: Width and symbols.
    """
    lines = [_headline(config, result, page)]
    if result.plan is not None:
        lines += [Text(), *_facts(result, result.plan, page)]
        lines += engine_lines(result.engines, page)
    for sentence in result.summary:
        lines += page.sentence(sentence, "")
    if result.plan is not None:
        if result.plan.recipe.assignment.entries:  # the summary says it for FP32
            lines += _alternatives(result.plan, page)
        for warning in result.plan.evidence.warnings:
            lines += page.sentence(warning, "! ", "yellow")
    steps = next_steps(config, result)
    if steps:
        lines += [Text(), Text("next:", style="bold")]
        lines += [Text(f"  {step}", style="cyan") for step in steps]
    return lines + loading_lines(config, result)


def engine_lines(rows: Sequence[EngineRow], page: Page) -> list[Text]:
    """A table of the engines of a search on several backends."""
    if not rows:
        return []
    named = [("engine", "FP32", "best uniform", "plan", "loss", "built")]
    for row in rows:
        uniform = f"{_speed(row.uniform_speed)} {row.uniform}".strip()
        loss = "-" if row.loss is None else f"{row.loss:.3g}"
        cells = (_speed(row.fp32), uniform, _speed(row.plan), loss, str(row.engines))
        named.append((clean(row.backend), *cells))
    wide = [max(len(r[i]) for r in named) for i in range(len(named[0]))]
    table = ["  ".join(c.ljust(w) for c, w in zip(r, wide, strict=True)).rstrip() for r in named]
    how = "in the same rounds" if rows[0].together else "at different times"
    sentence = f"speeds relative to the fastest FP32 engine, timed {how}"
    return [
        Text(),
        *(Text(f"  {line}") for line in table),
        *page.sentence(sentence, "", "dim"),
        Text(),
    ]


def _speed(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}x"


def _headline(config: OptimizeConfig, result: OptimizeResult, page: Page) -> Text:
    name = clean(config.model.name)
    prefix = "interrupted; best so far: " if result.interrupted else ""
    bound = Scale(config.metric, page.glyphs).bound(loss_bound(config.metric, config.tol))
    if result.plan is None or not result.met:
        headline = f"{name}: nothing within {bound}"
        return Text(
            f"interrupted; {headline}" if result.interrupted else headline, style="bold red"
        )
    latency = result.plan.evidence.latency
    interval = speedup_interval(latency.ratio_low, latency.ratio_high)
    fp32 = result.plan.evidence.fp32_words
    if not result.plan.recipe.assignment.entries:
        fastest = fp32_is_fastest(result.plan) and not by_size(result.plan)
        less = "smaller" if by_size(result.plan) else "faster"
        headline = f"{fp32} is the fastest" if fastest else f"nothing {less} than {fp32} found"
        title = Text(f"{prefix}{name}: {headline} within {bound}", style="bold")
        return title.append(_doubted(_unsure(result.plan)), "yellow")
    unsure = _unsure(result.plan)
    if by_size(result.plan) and (share := share_of_size(result.plan)):
        return Text.assemble(
            (f"{prefix}{name}: ", "bold"),
            (f"{share}, {speedup(latency.ratio)} its speed", "bold green"),
            (f", within {bound}", "bold"),
        )
    return Text.assemble(
        (f"{prefix}{name}: ", "bold"),
        (f"{speedup(latency.ratio)} {fp32}'s speed", "bold yellow" if unsure else "bold green"),
        f" ({interval})" if interval else "",
        (f", within {bound}", "bold"),
        (_doubted(unsure), "yellow"),
    )


def _doubted(unsure: Sequence[str]) -> str:
    return "".join(f"; {clean(reason)}" for reason in unsure)


def _facts(result: OptimizeResult, plan: Plan, page: Page) -> list[Text]:
    evidence = plan.evidence
    rows = [
        ("loss", _loss(plan, page)),
        ("latency", latency_words(plan)),
        *_ways(plan, page),
        *rate_rows(evidence.latency),
        *size_rows(plan),
        ("groups", _groups(plan, page)),
        ("search", _search(plan)),
        *([("models", prediction_summary(evidence.predictions))] if evidence.predictions else []),
    ]
    lines = page.facts(rows)
    if result.plan_path is not None:
        lines.append(page.place("plan", result.plan_path))
    if result.artifact_path is not None:
        lines.append(page.place("model", result.artifact_path))
    return lines


def _ways(plan: Plan, page: Page) -> list[tuple[str, str]]:
    """A row on how FP32 is computed, where there are several ways."""
    if not plan.evidence.fp32:
        return []
    return [("FP32", fp32_told(plan.evidence, Scale(plan.criteria.metric, page.glyphs)))]


def _loss(plan: Plan, page: Page) -> str:
    evidence = plan.evidence
    scale = Scale(plan.criteria.metric, page.glyphs)
    bound = loss_bound(plan.criteria.metric, plan.criteria.tolerance)
    parts = [f"{_with_share(evidence.accuracy.loss, bound, scale)} on the search samples"]
    if evidence.holdout is not None:
        parts.append(f"{_with_share(evidence.holdout.loss, bound, scale)} on the holdout")
    worst = evidence.holdout or evidence.accuracy
    if len(worst.per_sample) > 1 and math.isfinite(worst.worst):
        parts.append(f"worst sample {scale(worst.worst)}")
    return ", ".join(parts)


def _with_share(loss: float, bound: float, scale: Scale) -> str:
    share = scale.of_bound(loss, bound)
    return f"{scale(loss)} ({share})" if share else scale(loss)


def _groups(plan: Plan, page: Page) -> str:
    achieved = {
        g.key: g.achieved.value if g.achieved is not None else UNKNOWN for g in plan.evidence.groups
    }
    decided = [g for g in plan.recipe.groups if g.key in achieved]
    requested = Counter(g.precision.value for g in decided or plan.recipe.groups)
    ran = Counter(achieved[g.key] for g in decided)
    text = counts(requested, page.glyphs)
    if decided and ran != requested:
        return f"{text} asked; ran: {counts(ran, page.glyphs)}"
    fixed = len(plan.recipe.groups) - len(decided)
    return f"{text}, all as asked; {fixed} more have no choice" if fixed and decided else text


def _search(plan: Plan) -> str:
    evidence = plan.evidence
    engines = sum(1 for t in evidence.trials if t.fidelity == "engine")
    proxies = len(evidence.trials) - engines
    also = f" and {many(proxies, 'proxy', 'proxies')}" if proxies else ""
    asked = Objective.named(plan.criteria.objective)
    expected, off = evidence.expected_gain, evidence.predictions
    why = clean(why_stopped(evidence.stopped, expected, off, asked))
    looks = sum(look.holdout_loss is not None for look in evidence.finalists)
    holdout = f"; the holdout was looked at {many(looks, 'time')}" if looks > 1 else ""
    return f"{many(engines, 'engine')}{also} in {duration(evidence.seconds)}; {why}{holdout}"


def _alternatives(plan: Plan, page: Page) -> list[Text]:
    """Faster engines on the front that are over the bound: what a wider one would buy."""
    evidence = plan.evidence
    scale = Scale(plan.criteria.metric, page.glyphs)
    bound = loss_bound(plan.criteria.metric, plan.criteria.tolerance)
    rows = sorted(
        (t.loss, t.ratio)
        for t in evidence.trials
        if t.pareto and t.loss is not None and t.ratio is not None and t.loss > bound
    )
    faster = [(loss, ratio) for loss, ratio in rows if ratio < evidence.latency.ratio]
    if not faster:
        return []
    text = ", ".join(
        f"{speedup(ratio)} at {scale(loss)}" for loss, ratio in faster[:_MOST_ALTERNATIVES]
    )
    return page.sentence(f"over the bound, measured in this search: {text}", "", "dim")


def _unsure(plan: Plan) -> tuple[str, ...]:
    latency = plan.evidence.latency
    return doubts(latency) if plan.recipe.assignment.entries else latency.unsure


def result_fields(result: OptimizeResult) -> dict[str, object]:
    """The result as the last line of ``--json``."""
    fields: dict[str, object] = {
        "met": result.met,
        "interrupted": result.interrupted,
        "plan": None if result.plan_path is None else str(result.plan_path),
        "artifact": None if result.artifact_path is None else str(result.artifact_path),
        "summary": list(result.summary),
        "engines": [unstructure(row) for row in result.engines],
    }
    if result.plan is not None:
        evidence = result.plan.evidence
        fields |= {
            "digest": result.plan.digest,
            "metric": result.plan.criteria.metric,
            "tolerance": result.plan.criteria.tolerance,
            "loss": evidence.accuracy.loss,
            "holdout_loss": None if evidence.holdout is None else evidence.holdout.loss,
            "ratio": evidence.latency.ratio,
            "ratio_low": evidence.latency.ratio_low,
            "ratio_high": evidence.latency.ratio_high,
            "unsure": list(_unsure(result.plan)),
            "seconds": evidence.latency.seconds,
            "objective": result.plan.criteria.objective,
            "size": evidence.size,
            "fp32_size": evidence.fp32_size,
            "memory": evidence.memory,
            "samples_per_second": [s.samples_per_second for s in evidence.latency.by_shape],
            "stopped": evidence.stopped,
            "finalists": [unstructure(look) for look in evidence.finalists],
            "continued": [unstructure(step) for step in evidence.continued],
            "expected_gain": evidence.expected_gain,
            "predictions": unstructure(evidence.predictions),
            "fp32": [unstructure(e) for e in evidence.fp32],
            "pareto": [unstructure(t) for t in evidence.trials if t.pareto],
            "warnings": list(evidence.warnings),
        }
    return fields


def rate_rows(latency: Latency) -> list[tuple[str, str]]:
    """A row for the facts of a run; with several sets of shapes one for each."""
    if len(latency.by_shape) < 2:
        return [("rate", _rate(s)) for s in latency.by_shape]
    return [("rate" if i == 0 else "", _told(s)) for i, s in enumerate(latency.by_shape)]


def _rate(latency: ShapeLatency) -> str:
    return f"{magnitude(round(latency.samples_per_second))} samples/s"


def _told(latency: ShapeLatency) -> str:
    shapes = " ".join(f"{n}:{'x'.join(map(str, s))}" for n, s in latency.shapes.items())
    return (
        f"{clean(shapes)}: {_rate(latency)}, {milliseconds(latency.seconds)}, "
        f"{speedup(latency.ratio)} FP32's speed, weight {latency.weight:.2g}"
    )
