"""What `plan` found, for people."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from precsearch.cli.cells import Scale, clean, milliseconds, speedup
from precsearch.cli.output.page import Page
from precsearch.formatting import loss_bound
from precsearch.measurement.timing.certainty import doubts
from precsearch.optimization.front.plan_at import PlanAtReport
from precsearch.optimization.front.points import Point

__all__ = ["front_lines", "plan_at_lines"]


def front_lines(metric: str, points: Sequence[Point], page: Page) -> list[Text]:
    """A line for each engine that no other beats in both loss and speed."""
    scale = Scale(metric, page.glyphs)
    lines = [Text.assemble(("the fastest engines of this run", "bold"), " by their loss"), Text()]
    losses = [scale(p.loss) for p in points]
    width = max(map(len, losses), default=0)
    for point, loss in zip(points, losses, strict=True):
        seen = "seen on the holdout" if point.on_holdout else "on the search samples alone"
        own = "; the plan of this run" if point.chosen else ""
        lines.append(
            Text.assemble(
                f"  {speedup(point.ratio):>7}  off by {loss:<{width}}  ",
                (f"engine {point.trial.number}, {seen}{own}", "dim"),
            )
        )
    lines += [Text(), Text("write the plan of one: --at T takes the best within T, -o FILE")]
    return lines


def plan_at_lines(report: PlanAtReport, page: Page) -> list[Text]:
    """What was written, what is known of the engine, and what is not."""
    evidence, criteria = report.plan.evidence, report.plan.criteria
    scale = Scale(criteria.metric, page.glyphs)
    bound = scale.bound(loss_bound(criteria.metric, criteria.tolerance))
    latency = evidence.latency
    rows = [
        ("loss", f"{scale(evidence.accuracy.loss)} on the search samples"),
        (
            "speed",
            f"{speedup(latency.ratio)} {evidence.fp32_words}'s speed, "
            + "; ".join((milliseconds(latency.seconds), *map(clean, doubts(latency)))),
        ),
        ("digest", report.plan.digest),
    ]
    lines = [
        Text.assemble((f"plan of engine {report.number}", "bold green"), f", within {bound}"),
        Text(),
        page.place("plan", report.path),
        page.place("evidence", report.evidence),
        *page.facts(rows),
    ]
    for line in report.lines:
        lines += page.sentence(line, "! ", "yellow")
    return lines
