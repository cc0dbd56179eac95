"""A diagnosis on a terminal."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.text import Text

from precsearch.cli.cells import clean, magnitude, many, middle
from precsearch.core.formats import FLOAT16

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from precsearch.cli.output.page import Page
    from precsearch.diagnosis.miscompilation import Checked
    from precsearch.diagnosis.reproducer import Miscompiled
    from precsearch.diagnosis.result import Diagnosis, Layer
    from precsearch.rewrites.search import Suggestion

__all__ = ["engine_lines", "lines"]

_HARMLESS = ", and the infinity that it becomes does no harm"
_MATTERS = 0.1
_SMALL = 0.01
_WORST, _WIDE = 20, 110
_NARROW = ("diff", "cosine", "absmax", "inf", "subn", "in")
_HEADS = ("diff", "cosine", "euclid", "max abs", "sqnr", "absmax", "inf", "subn", "in")


def lines(diagnosis: Diagnosis, page: Page, order: str) -> list[Text]:
    """A diagnosis for people."""
    out = [Text(_verdict(diagnosis), style="bold"), Text()]
    out += page.facts(
        [
            ("samples", f"{diagnosis.samples}{' of random numbers' if diagnosis.random else ''}"),
            ("looked", diagnosis.how),
            ("memory", f"{magnitude(diagnosis.held_bytes)}B of tensors at a time"),
        ]
    )
    for sentence in _sentences(diagnosis, page):
        out += page.sentence(sentence, "! ", "yellow")
    out += [Text(), *_table(diagnosis, page, order)]
    for suggestion in diagnosis.suggestions:
        mark, style = (page.glyphs.done, "green") if suggestion.helps else (page.glyphs.bad, "dim")
        out += page.sentence(_told(suggestion, page), f"{mark} ", style)
    for note in diagnosis.notes:
        out += page.sentence(note, "! ", "yellow")
    return [*out, Text()]


def _verdict(diagnosis: Diagnosis) -> str:
    """How far the outputs are off, as far as they can be compared."""
    head, off = (
        f"{clean(diagnosis.model)}: {clean(diagnosis.asked)}",
        f"off by {_short(diagnosis.loss)}",
    )
    if not diagnosis.resized:
        return f"{head} is {off} from FP32"
    names = ", ".join(repr(clean(name)) for name in diagnosis.resized)
    feeds = many(max(diagnosis.resized.values()), "feed")
    sentence = f"{head} has another size than FP32 in {feeds}: {names}"
    return (
        sentence
        if diagnosis.resized.keys() >= diagnosis.losses.keys()
        else f"{sentence}; the rest is {off}"
    )


def _told(s: Suggestion, page: Page) -> str:
    arrow = page.glyphs.arrow
    where = f"{s.name} ({many(len(s.sites), 'place')}): {s.what}"
    if not s.exact:
        return f"{where}; not exact here, it moves FP32 by {_short(s.fp32)}"
    return f"{where}; {_short(s.before)} {arrow} {_short(s.after)}, FP32 moves by {_short(s.fp32)}"


def _sentences(diagnosis: Diagnosis, page: Page) -> Iterator[str]:
    """Where it begins."""
    for constant in sorted(diagnosis.constants, key=lambda c: c.harmless)[:3]:
        yield (
            f"constant {constant.tensor!r} holds {constant.absmax:.3g}, which FP16 has no number "
            f"for; {constant.readers[0]!r} reads it{_HARMLESS if constant.harmless else ''}"
        )
    for layer in _causes(diagnosis)[:2]:
        place = " / ".join(p for p in (layer.block, layer.kind, layer.op_type) if p)
        alike, arrow = layer.likeness, page.glyphs.arrow
        why = _why(layer, diagnosis)
        alone = f"; this group alone costs {_short(layer.alone)}" if layer.alone is not None else ""
        yield (
            f"{place}, {layer.tensor!r}: {_short(layer.before)} {arrow} "
            f"{_short(alike.relative)}{why}{alone}"
        )


def _why(layer: Layer, diagnosis: Diagnosis) -> str:
    alike = layer.likeness
    if alike.reference_absmax > FLOAT16.largest:
        return f" (it reaches {alike.reference_absmax:.3g}, FP16 ends at {FLOAT16.largest:g})"
    if layer.op_type in ("Log", "Div", "Reciprocal", "Pow", "Sqrt") and alike.nonfinite:
        sources = [r for r in diagnosis.layers if r.tensor in layer.reads]
        small = max((r.likeness.subnormal for r in sources), default=0.0)
        if small >= _SMALL:
            return f" ({small:.0%} of what it reads is under FP16's normal range)"
    return ""


def _causes(diagnosis: Diagnosis) -> list[Layer]:
    """Jumps whose group alone explains a good part of the loss, in graph order; else all jumps."""
    least = _MATTERS * min(diagnosis.loss, 1.0)
    jumps = list(diagnosis.jumps)
    strong = [r for r in jumps if r.alone is not None and not r.alone < least]
    return strong or jumps


def _table(diagnosis: Diagnosis, page: Page, order: str) -> list[Text]:
    causes = {r.tensor for r in _causes(diagnosis)}
    if order == "graph":
        rows: Sequence[Layer] = diagnosis.layers
    else:
        ranked = diagnosis.worst_first()
        first = [r for r in diagnosis.layers if r.tensor in causes]
        rows = [*first, *(r for r in ranked if r.tensor not in causes)][:_WORST]
    heads = _HEADS if page.width >= _WIDE else _NARROW
    cells = [(_cells(r, heads), r) for r in rows]
    widths = [
        max(len(h), *(len(c[i]) for c, _ in cells)) if cells else len(h)
        for i, h in enumerate(heads)
    ]
    room = max(page.width - sum(widths) - 2 * len(widths) - 4, 12)
    out = [
        Text(
            "  " + "  ".join(h.rjust(w) for h, w in zip(heads, widths, strict=True)) + "  tensor",
            style="dim",
        )
    ]
    for row, layer in cells:
        mark = (
            page.glyphs.best if layer.tensor in causes else page.glyphs.arrow if layer.jump else " "
        )
        name = middle(clean(f"{layer.tensor} {layer.op_type}"), room, page.glyphs)
        text = "  ".join(c.rjust(w) for c, w in zip(row, widths, strict=True))
        pad = " " * max(2 - cell_len(mark), 1)
        out.append(
            Text(f"{mark}{pad}{text}  {name}", style="bold" if layer.tensor in causes else "")
        )
    left = len(diagnosis.layers) - len(rows)
    if left > 0:
        out.append(Text(f"  {many(left, 'tensor')} more: --order graph shows all", style="dim"))
    return out


def _cells(layer: Layer, heads: Sequence[str]) -> tuple[str, ...]:
    a = layer.likeness
    cells = {
        "diff": "size" if a.resized else _short(a.relative),
        "cosine": "-" if math.isnan(a.cosine) else f"{a.cosine:.4f}",
        "euclid": _short(a.euclidean),
        "max abs": _short(a.max_abs),
        "sqnr": "-" if not math.isfinite(a.sqnr_db) else f"{a.sqnr_db:.0f}",
        "absmax": _short(a.reference_absmax),
        "inf": _share(a.nonfinite),
        "subn": _share(a.subnormal),
        "in": (layer.achieved or layer.precision).value,
    }
    return tuple(cells[head] for head in heads)


def _share(value: float) -> str:
    return "-" if value == 0 else f"{value:.0%}" if value >= 0.01 else "<1%"


def _short(value: float) -> str:
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else str(value)
    return f"{value:.2g}" if 1e-3 <= abs(value) < 1e4 else f"{value:.1e}"


def engine_lines(checked: Checked, folder: Path, page: Page) -> list[Text]:
    """The same for people."""
    miscompiled = checked.found
    if miscompiled is None:
        sentence = (
            f"{clean(checked.model)}: the FP32 engine of {checked.backend} gives what FP32 gives"
        )
        return [Text(sentence, style="bold green")]
    head = f"{clean(checked.model)}: the FP32 engine of {checked.backend} is wrong"
    where = (
        f"the first wrong tensor is {miscompiled.tensor!r}, by {miscompiled.op_type} "
        f"{miscompiled.node!r}, off by {_short(miscompiled.difference)}"
    )
    nodes = f"{many(len(miscompiled.nodes), 'node')} of {checked.nodes} still show it"
    effort = (
        f"{many(miscompiled.builds, 'engine')} to find it, {miscompiled.shrunk} to make it small"
    )
    return [
        Text(head, style="bold red"),
        *page.sentence(where, "! ", "yellow"),
        *(page.sentence(_not_built(miscompiled), "! ", "yellow") if miscompiled.not_built else ()),
        Text(),
        *page.facts([("shrunk", nodes), ("effort", effort)]),
        page.place("folder", folder),
    ]


def _not_built(miscompiled: Miscompiled) -> str:
    sentence = (
        f"{many(miscompiled.not_built, 'engine')} of a part of the model did not build or run"
    )
    if not miscompiled.before:
        return f"{sentence}; those beside them told enough"
    return f"{sentence}: the fault may be up to {many(miscompiled.before, 'node')} earlier"
