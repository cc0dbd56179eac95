"""What `build`, `verify` and `inspect` found, for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from rich.text import Text

from precsearch.api import BuildReport, Inspection, VerifyReport
from precsearch.cli.page import Page
from precsearch.cli.summary import loss_bound
from precsearch.cli.text import (
    Scale,
    clean,
    magnitude,
    middle,
    milliseconds,
    speedup,
    speedup_interval,
)
from precsearch.space import LayerGroup

__all__ = ["build_lines", "inspect_lines", "verify_lines"]

_KEY_AT_LEAST = 16
_FIXED = "  {kind:<13} {nodes:>5}  {choices:<14} {macs:>7}  {block}"


def build_lines(report: BuildReport, page: Page) -> list[Text]:
    """The summary of a replay."""
    return [
        Text.assemble(
            (f"{clean(report.path.name)}: {report.verdict}", "bold green"),
            " to what the plan promises",
        ),
        Text(),
        page.place("model", report.path),
        *page.facts(
            [("size", f"{magnitude(report.size)}B"), ("sha256", report.sha256)],
        ),
    ]


def verify_lines(report: VerifyReport, page: Page) -> list[Text]:
    """The summary of a verification."""
    scale = Scale(report.metric, page.glyphs)
    bound = loss_bound(report.metric, report.tolerance)
    share = scale.share(report.loss, bound)
    over = report.loss > bound or report.loss != report.loss
    latency = report.latency
    interval = speedup_interval(latency.ratio_low, latency.ratio_high)
    verdict = ("verified", "bold green") if report.passed else ("not verified", "bold red")
    reasons = []
    if over:
        reasons.append("the loss is over the bound")
    if report.slower:
        reasons.append("it is slower than FP32 on this machine")
    why = f": {' and '.join(reasons)}" if reasons else f", within {scale.bound(bound)}"
    rows = [
        ("model", f"{report.verdict} to what the plan promises"),
        ("loss", f"{scale(report.loss)}{f' ({share} of the bound)' if share else ''}"),
        (
            "speed",
            f"{speedup(latency.ratio)} FP32's speed{f' ({interval})' if interval else ''}, "
            f"{milliseconds(latency.seconds)}",
        ),
    ]
    lines = [Text.assemble(verdict, why), Text(), *page.facts(rows)]
    for line in report.lines:
        lines += page.sentence(line, "! ", "yellow")
    return lines


@dataclass(frozen=True, slots=True)
class _Repeat:
    """Groups of equal blocks in a row, of which the first is shown."""

    groups: tuple[LayerGroup, ...]
    blocks: tuple[str, ...]


def inspect_lines(found: Inspection, page: Page) -> list[Text]:
    """The summary of a model and the table of its groups."""
    space = found.space
    rows = [
        ("inputs", ", ".join(found.inputs)),
        ("outputs", ", ".join(found.outputs)),
        ("nodes", f"{found.nodes}, opset {found.opset}"),
        ("weights", f"{magnitude(found.weights_bytes)}B"),
        ("sha256", found.sha256),
        ("groups", f"{len(space.free)} to decide of {len(space.groups)} ({space.granularity})"),
    ]
    lines = [Text(clean(found.model), style="bold"), Text(), *page.facts(rows)]
    if space.free:
        lines += [Text(), *_table(space.free, page)]
    fixed = Counter(g.kind for g in space.groups if len(g.choices) == 1)
    if fixed:
        kinds = ", ".join(f"{count} {clean(kind)}" for kind, count in fixed.most_common())
        lines += page.sentence(f"always FP32: {kinds}", "", "dim")
    return lines


def _table(groups: Sequence[LayerGroup], page: Page) -> list[Text]:
    blocks = any(g.block for g in groups)
    fixed = 13 + 6 + 13 + 8 + (14 if blocks else 0)
    room = max(page.width - fixed - 4, _KEY_AT_LEAST)
    width = min(room, max(len(clean(g.key)) for g in groups))
    width = max(width, len("group"))

    def row(cells: tuple[str, str, str, str, str, str], style: str = "") -> Text:
        key, kind, nodes, choices, macs, block = cells
        name = middle(clean(key), width, page.glyphs)
        text = Text(f"{name}", style=style, no_wrap=True)
        text.append(" " * max(width - text.cell_len, 0))
        text.append(f" {clean(kind)[:13]:<13} {nodes:>5} {choices:<12} {macs:>7}")
        text.append(f" {middle(clean(block), 13, page.glyphs)}" if blocks else "")
        text.rstrip()
        return text

    lines = [row(("group", "kind", "nodes", "choices", "MACs", "block"), "dim")]
    for repeat in _repeats(groups):
        for group in repeat.groups:
            choices = "/".join(c.value.removeprefix("fp") for c in group.choices)
            macs = magnitude(group.macs) if group.macs else ""
            size = str(len(group.nodes))
            lines.append(row((group.key, group.kind, size, choices, macs, group.block)))
        if repeat.blocks:
            more = f"{len(repeat.blocks)} more like {repeat.groups[0].block}"
            names = middle(", ".join(map(clean, repeat.blocks)), 40, page.glyphs)
            lines.append(Text(f"  {page.glyphs.ellipsis} {more}: {names}", style="dim"))
    return lines


def _repeats(groups: Sequence[LayerGroup]) -> list[_Repeat]:
    """Runs of groups in one block each; equal blocks in a row become one."""
    runs = [tuple(members) for _, members in groupby(groups, key=lambda g: g.block)]
    repeats: list[_Repeat] = []
    for run in runs:
        last = repeats[-1] if repeats else None
        if last is not None and run[0].block and _alike(last.groups, run):
            repeats[-1] = _Repeat(last.groups, (*last.blocks, run[0].block))
        else:
            repeats.append(_Repeat(run, ()))
    return repeats


def _alike(a: Sequence[LayerGroup], b: Sequence[LayerGroup]) -> bool:
    def shape(groups: Sequence[LayerGroup]) -> list[tuple[object, ...]]:
        return [(g.kind, len(g.nodes), g.choices, g.signature) for g in groups]

    return bool(a[0].block) and shape(a) == shape(b)
