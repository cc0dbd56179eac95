"""What `inspect` found, for people."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.text import Text

from precsearch.cli.cells import clean, magnitude, middle, milliseconds
from precsearch.cli.output.work import time_of, undecided_lines, work_of
from precsearch.optimization.explanation.authors_qdq import qdq_note

if TYPE_CHECKING:
    from collections.abc import Sequence

    from precsearch.api import Inspection
    from precsearch.cli.output.page import Page
    from precsearch.core.space import LayerGroup

__all__ = ["inspect_lines"]

_KEY_AT_LEAST = 16
_SHOWN_HAZARDS = 20


@dataclass(frozen=True, slots=True)
class _Repeat:
    """Groups of equal blocks in a row, of which the first is shown."""

    groups: tuple[LayerGroup, ...]
    blocks: tuple[str, ...]


def inspect_lines(inspection: Inspection, page: Page) -> list[Text]:
    """The summary of a model and the table of its groups."""
    space = inspection.space
    rows = [
        ("inputs", ", ".join(inspection.inputs)),
        ("outputs", ", ".join(inspection.outputs)),
        ("nodes", f"{inspection.nodes}, opset {inspection.opset}"),
        ("weights", f"{magnitude(inspection.weights_bytes)}B"),
        ("sha256", inspection.sha256),
        ("groups", f"{len(space.free)} to decide of {len(space.groups)} ({space.granularity})"),
        *work_of(inspection.counted),
        *time_of(inspection, page),
    ]
    lines = [Text(clean(inspection.model), style="bold"), Text(), *page.facts(rows)]
    if space.free:
        lines += [Text(), *_table(inspection, page)]
    fixed = Counter(g.kind for g in space.groups if len(g.choices) == 1)
    if fixed:
        kinds = ", ".join(f"{count} {clean(kind)}" for kind, count in fixed.most_common())
        lines += page.sentence(f"always FP32: {kinds}", "", "dim")
    if note := qdq_note(inspection.kept, inspection.products):
        lines += page.sentence(note, "")
    return lines + undecided_lines(inspection.counted, page) + _hazard_lines(inspection, page)


_HEADING = ("group", "kind", "nodes", "choices", "MACs", "FP32", "block")
_NUMBERS = frozenset({"nodes", "MACs", "FP32"})


def _table(inspection: Inspection, page: Page) -> list[Text]:
    """One row a group; its key gets the width that the other columns leave."""
    groups = inspection.space.free
    repeats = _repeats(groups)
    cells = {g.key: _cells(g, inspection) for g in groups}
    rows = [_HEADING, *cells.values()]
    used = [any(row[n] for row in cells.values()) for n in range(len(_HEADING))]
    columns = zip(zip(*rows, strict=True), used, strict=True)
    widths = [max(map(cell_len, column)) if some else 0 for column, some in columns]
    others = sum(w + 2 for w in widths[1:] if w)
    widths[0] = min(widths[0], max(page.width - others, _KEY_AT_LEAST))
    lines = [_line(_HEADING, widths, page, "dim")]
    for repeat in repeats:
        lines += [_line(cells[g.key], widths, page) for g in repeat.groups]
        if repeat.blocks:
            first, last = repeat.blocks[0], repeat.blocks[-1]
            names = first if first == last else f"{first} to {last}"
            more = f"{len(repeat.blocks)} more like {repeat.groups[0].block}: {names}"
            lines.append(Text(f"  {page.glyphs.ellipsis} {clean(more)}", style="dim"))
    return lines


def _cells(group: LayerGroup, inspection: Inspection) -> tuple[str, ...]:
    more = "+" if group.key in inspection.counted.open_groups else ""
    seconds = 0.0 if inspection.fp32 is None else inspection.fp32.groups.get(group.key, 0.0)
    return (
        clean(group.key),
        clean(group.kind),
        str(len(group.nodes)),
        " ".join(c.value for c in group.choices),
        f"{magnitude(group.macs)}{more}" if group.macs else "",
        milliseconds(seconds) if seconds > 0 else "",
        clean(group.block),
    )


def _line(cells: Sequence[str], widths: Sequence[int], page: Page, style: str = "") -> Text:
    parts = []
    for title, cell, width in zip(_HEADING, cells, widths, strict=True):
        if width:
            shown = middle(cell, width, page.glyphs)
            room = " " * (width - cell_len(shown))
            parts.append(room + shown if title in _NUMBERS else shown + room)
    return Text("  ".join(parts).rstrip(), style=style)


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


def _hazard_lines(inspection: Inspection, page: Page) -> list[Text]:
    """One line a group that would start without a precision, and why; long lists are cut."""
    where = f"{inspection.samples} samples" if inspection.samples else "the constants alone"
    if not inspection.hazards:
        if not (inspection.samples and inspection.judged):
            return []
        names = " or ".join(p.value.upper() for p in inspection.judged)
        sentence = f"no rule finds a hazard of {names} in {where}; only a measurement rules one out"
        return page.sentence(sentence, "", "dim")
    groups = len({p.key for p in inspection.hazards})
    what = " or ".join(sorted({p.precision.value.upper() for p in inspection.hazards}))
    sentence = (
        f"{groups} {'group' if groups == 1 else 'groups'} would start without {what}, judged by "
    )
    lines = page.sentence(f"{sentence}{where}; a measurement overrules a rule", "")
    for prior in inspection.hazards[:_SHOWN_HAZARDS]:
        lines.append(Text.assemble(f"  {clean(prior.key)}  ", (clean(prior.reason), "dim")))
    left = len(inspection.hazards) - _SHOWN_HAZARDS
    if left > 0:
        lines.append(Text(f"  {page.glyphs.ellipsis} {left} more", style="dim"))
    return lines
