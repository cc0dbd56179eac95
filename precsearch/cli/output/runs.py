"""What finished runs reached, for people: the front of one, or several beside each other."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from precsearch.cli.cells import Scale, clean, milliseconds, speedup
from precsearch.cli.output.page import Page
from precsearch.formatting import loss_bound, many
from precsearch.measurement.timing.certainty import doubts
from precsearch.optimization.front.plan_at import PlanAtReport
from precsearch.optimization.front.points import Point
from precsearch.report import Member, other_groups, sentences
from precsearch.report.side_by_side.members import TITLES

__all__ = ["front_lines", "plan_at_lines", "side_by_side_lines"]

_ABSENT = "-"


def front_lines(metric: str, points: Sequence[Point], page: Page) -> list[Text]:
    """A line for each engine that no other beats in both loss and speed."""
    scale = Scale(metric, page.glyphs)
    lines = [Text.assemble(("the fastest engines of this run", "bold"), " by their loss"), Text()]
    losses = [scale(p.loss) for p in points]
    width = max(map(len, losses), default=0)
    where = max((len(p.backend) for p in points), default=0)
    for point, loss in zip(points, losses, strict=True):
        seen = "seen on the holdout" if point.on_holdout else "on the search samples alone"
        own = "; the plan of this run" if point.chosen else ""
        lines.append(
            Text.assemble(
                f"  {speedup(1 / point.speed):>7}  off by {loss:<{width}}  ",
                f"{clean(point.backend):<{where}}  " if where else "",
                (f"engine {point.trial.number}, {seen}{own}", "dim"),
            )
        )
    if where:
        lines += [Text(), Text("speeds are over the fastest FP32 engine of all")]
    lines += [Text(), Text("write the plan of one: --at T takes the best within T, -o FILE")]
    return lines


def plan_at_lines(report: PlanAtReport, page: Page) -> list[Text]:
    """What was written, what is known of the engine, and what is not."""
    evidence, criteria = report.plan.evidence, report.plan.criteria
    scale = Scale(criteria.metric, page.glyphs)
    bound = scale.bound(loss_bound(criteria.metric, criteria.tolerance))
    latency = evidence.latency
    where = f" on {clean(report.backend)}" if report.backend else ""
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
        Text.assemble(
            (f"plan of engine {report.number}{where}", "bold green"), f", within {bound}"
        ),
        Text(),
        page.place("plan", report.path),
        page.place("evidence", report.evidence),
        *page.facts(rows),
    ]
    for line in report.lines:
        lines += page.sentence(line, "! ", "yellow")
    return lines


def side_by_side_lines(runs: Sequence[Member], page: Page) -> list[Text]:
    """What each run reached, what follows from it, and the groups that differ."""
    lines = [Text(f"{many(len(runs), 'run')} beside each other", style="bold")]
    for member in runs:
        cells = zip(TITLES[1:], member.cells[1:], strict=True)
        labels = {"speed over FP32": "speed"}
        rows = [("bound", member.bound), *((labels.get(k, k), v) for k, v in cells)]
        lines += [Text(), Text(clean(member.name), style="bold")]
        lines += page.facts([(label, value) for label, value in rows if value])
    for sentence in sentences(runs):
        lines += page.sentence(sentence, "")
    groups = other_groups(runs)
    if not groups:
        return [*lines, Text(), Text("Every group has the same precision in all runs.")]
    lines += [Text(), Text(f"{many(len(groups), 'group')} without the same precision in all runs:")]
    titles = [clean(m.name) for m in runs]
    table = [(clean(g.key), [p.value if p else _ABSENT for p in g.precisions]) for g in groups]
    width = max(len(key) for key, _ in table)
    for key, chosen in [("", titles), *table]:
        columns = (f"{c:<{max(len(t), 4)}}" for c, t in zip(chosen, titles, strict=True))
        lines.append(Text(f"  {key:<{width}}  {'  '.join(columns)}".rstrip()))
    return lines
