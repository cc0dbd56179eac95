"""What `inspect` says about FP16."""

from __future__ import annotations

from rich.text import Text

from precsearch.api import Inspection
from precsearch.cli.page import Page
from precsearch.cli.text import clean

__all__ = ["hazard_lines"]

_SHOWN = 20


def hazard_lines(found: Inspection, page: Page) -> list[Text]:
    """One line a group that would start without a precision, and why; long lists are cut."""
    where = f"{found.samples} samples" if found.samples else "the constants alone"
    if not found.hazards:
        if not found.samples:
            return []
        said = f"no rule finds an FP16 hazard in {where}; only a measurement rules one out"
        return page.sentence(said, "", "dim")
    groups = len({p.key for p in found.hazards})
    what = " or ".join(sorted({p.precision.value.upper() for p in found.hazards}))
    said = f"{groups} {'group' if groups == 1 else 'groups'} would start without {what}, judged by "
    lines = page.sentence(f"{said}{where}; a measurement overrules a rule", "")
    for prior in found.hazards[:_SHOWN]:
        lines.append(Text.assemble(f"  {clean(prior.key)}  ", (clean(prior.reason), "dim")))
    left = len(found.hazards) - _SHOWN
    if left > 0:
        lines.append(Text(f"  {page.glyphs.ellipsis} {left} more", style="dim"))
    return lines
