"""What `build`, `verify` and `export` found, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from precsearch.cli.cells import (
    Scale,
    clean,
    magnitude,
    many,
    speedup,
    speedup_interval,
)
from precsearch.cli.output.next_steps import loading
from precsearch.cli.output.optimize import rate_rows
from precsearch.cli.shipped import seconds_words
from precsearch.formatting import loss_bound
from precsearch.measurement.timing.certainty import doubts

if TYPE_CHECKING:
    from precsearch.api import BuildReport, EditReport, ExportReport, VerifyReport
    from precsearch.cli.output.page import Page

__all__ = ["build_lines", "edit_lines", "export_lines", "verify_lines"]


def build_lines(report: BuildReport, page: Page) -> list[Text]:
    """The summary of a replay."""
    same = report.verdict in ("identical", "equivalent")
    return [
        Text.assemble(
            (f"{clean(report.path.name)}: {report.verdict}", "bold green" if same else "bold"),
            " to what the plan promises" if same else "",
        ),
        *(Text(clean(line)) for line in report.lines),
        Text(),
        page.place("model", report.path),
        *page.facts(
            [("size", f"{magnitude(report.size)}B"), ("sha256", report.sha256)],
        ),
        *loading(report.loading),
    ]


def edit_lines(report: EditReport, page: Page) -> list[Text]:
    """What was changed by hand, and that it has not been measured."""
    count = many(len(report.changed), "group")
    lines = [Text.assemble((f"{count} changed", "bold"), ", not measured yet"), Text()]
    for key, (was, now) in report.changed.items():
        lines.append(Text(f"  {clean(key)}: {was} {page.glyphs.arrow} {now}"))
    rows = [("digest", report.digest), ("next", "precsearch verify measures this plan")]
    return [*lines, Text(), page.place("plan", report.path), *page.facts(rows)]


def export_lines(report: ExportReport, page: Page) -> list[Text]:
    """What was exported, and how to use it."""
    other = "nodes with notes" if report.tool == "netron" else "renamed nodes"
    same = "byte for byte what build writes" if report.identical else f"{other}, same numbers"
    what = "script" if report.script.suffix == ".sh" else "overlay"
    lines = [
        Text.assemble((f"exported for {report.tool}", "bold green")),
        Text(),
        page.place("model", report.model),
        *([page.place(what, report.script)] if report.script != report.model else []),
        *(page.place("python", path) for path in report.others),
        *page.facts([("content", same)]),
    ]
    for note in report.notes:
        lines += page.sentence(note, "! ", "yellow")
    return lines


def verify_lines(report: VerifyReport, page: Page) -> list[Text]:
    """The summary of a verification."""
    scale = Scale(report.metric, page.glyphs)
    bound = loss_bound(report.metric, report.tolerance)
    share = scale.of_bound(report.loss, bound)
    over = report.loss > bound or report.loss != report.loss
    latency = report.latency
    took = seconds_words(latency.seconds, report.objective)
    interval = speedup_interval(latency.ratio_low, latency.ratio_high)
    verdict = ("verified", "bold green") if report.passed else ("not verified", "bold red")
    reasons = []
    if over:
        reasons.append(f"the loss is not within {scale.bound(bound)}")
    if report.slower:
        reasons.append("it is slower than FP32 on this machine")
    reasons += report.over
    why = f": {' and '.join(reasons)}" if reasons else f", within {scale.bound(bound)}"
    rows = [
        ("model", f"{report.verdict} to what the plan promises"),
        *([("engine", report.engine)] if report.engine else []),
        ("loss", f"{scale(report.loss)}{f' ({share})' if share else ''}"),
        (
            "speed",
            f"{speedup(latency.ratio)} FP32's speed{f' ({interval})' if interval else ''}, "
            f"{'; '.join((took, *map(clean, doubts(latency))))}",
        ),
        *rate_rows(latency),
        *([("size", f"{magnitude(report.artifact_bytes)}B")] if report.artifact_bytes else []),
        *([("memory", f"{magnitude(report.memory_bytes)}B")] if report.memory_bytes else []),
        ("plan", report.digest),
    ]
    lines = [Text.assemble(verdict, why), Text(), *page.facts(rows)]
    for line in report.lines:
        lines += page.sentence(line, "! ", "yellow")
    return lines
