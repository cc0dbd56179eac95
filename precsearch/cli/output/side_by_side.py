"""Several runs beside each other, for people."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from precsearch.cli.cells import clean
from precsearch.cli.output.page import Page
from precsearch.formatting import many
from precsearch.report import Member, other_groups, sentences
from precsearch.report.side_by_side.members import TITLES

__all__ = ["side_by_side_lines"]

_ABSENT = "-"


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
