"""A `View` as lines for a terminal of any size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rich.text import Text

from precsearch.cli.cells import (
    UNICODE,
    Glyphs,
    Scale,
    clean,
    counts,
    duration,
    many,
    middle,
    speedup,
    speedup_interval,
)
from precsearch.cli.progress.phases import phase_line
from precsearch.cli.progress.scatter import MIN_HEIGHT, MIN_WIDTH, Point, sketch
from precsearch.cli.progress.trial_table import trial_table
from precsearch.cli.progress.view import Verdict, View, asked, ran
from precsearch.core.trial import Fidelity
from precsearch.measurement.timing.certainty import doubts

__all__ = ["render"]

_SPINS_PER_SECOND = 10
_BESIDE = 112
"""From this width on, the sketch stands beside the table."""
_PHASES_FROM = 24
"""Lines from which on the phases have one beside the trials, before which there is room anyway."""
_FEWEST_ROWS = 4
_LONGEST_WAIT = 1e8
_MOST_SKETCH = 14


@dataclass(frozen=True, slots=True)
class _Page:
    """What to draw on, the time since the last event, and the clock."""

    width: int
    height: int
    glyphs: Glyphs
    waited: float
    clock: float

    def line(self, text: Text | str, style: str = "") -> Text:
        """``text`` cut to the width."""
        text_line = Text(text, style=style) if isinstance(text, str) else text
        text_line.no_wrap = True
        text_line.truncate(self.width, overflow="ellipsis" if self.glyphs is UNICODE else "crop")
        return text_line

    def ends(self, left: Text, right: Text) -> Text:
        """``left`` and ``right`` at either end of a line; ``right`` goes where they do not fit."""
        room = self.width - left.cell_len - right.cell_len
        if room < 2:
            return self.line(left)
        return self.line(Text.assemble(left, " " * room, right))

    def spinner(self) -> Text:
        frames = self.glyphs.spinner
        return Text(frames[int(self.waited * _SPINS_PER_SECOND) % len(frames)], style="cyan")


def render(
    view: View,
    width: int,
    height: int = 24,
    *,
    glyphs: Glyphs = UNICODE,
    waited: float = 0.0,
    clock: float | None = None,
) -> Text:
    """Draw a run.

    Args:
        view: The run.
        width: Cells of a line; none is longer.
        height: Lines; there are no more, if it is at least 4.
        glyphs: Symbols.
        waited: Seconds since the last event that told the time, for what moves in between.
        clock: Seconds to show; by default those of the search.

    Returns:
        The lines as one text.
    """
    waited = min(max(waited, 0.0), _LONGEST_WAIT) if math.isfinite(waited) else 0.0
    shown = view.elapsed + (0.0 if view.finished else waited) if clock is None else clock
    page = _Page(max(width, 1), height, glyphs, waited, shown)
    foot = [_current(view, page), *_warning(view, page)]
    head = _head(view, page)[: max(height - len(foot), 1)]
    room = height - len(head) - len(foot) - 2
    body = _body(view, page, room) if room >= 2 else []
    spaced = [*head, Text(), *body, Text(), *foot] if body else [*head, *foot]
    return Text("\n", no_wrap=True, end="").join(spaced[: max(height, 1)])


def _head(view: View, page: _Page) -> list[Text]:
    title = Text.assemble(("precsearch", "bold"), "  ", (clean(view.model), "cyan"))
    lines = [page.ends(title, Text(duration(page.clock), style="dim"))]
    if page.height >= _PHASES_FROM or (view.search is None and page.height >= _FEWEST_ROWS):
        lines.append(page.line(phase_line(view, page.glyphs)))
    start = view.search
    if start is None:
        return lines
    dot = f" {page.glyphs.dot} "
    scale = Scale(start.bound.metric, page.glyphs)
    where = dot.join(
        part
        for part in (
            clean(start.device),
            f"{clean(start.strategy)} over {many(start.groups, 'group')}, "
            f"{many(start.nodes, 'node')}",
        )
        if part
    )
    head = Text.assemble(
        "bound ",
        (scale.bound(start.bound.tolerance), "bold"),
        (f"{dot}timing noise {page.glyphs.plus_minus}{start.noise * 100:.1f} %", "dim"),
    )
    lines += [page.line(where, "dim"), page.line(head), _progress(view, page), Text()]
    return lines + _best(view, page, scale)


def _progress(view: View, page: _Page) -> Text:
    """The bar of the budget, or what was done where there is none."""
    assert view.search is not None
    budget = view.search.budget
    parts = []
    if budget.max_builds is not None:
        parts.append(f"{view.builds} of {budget.max_builds} engines")
    else:
        parts.append(many(view.builds, "engine"))
    if view.proxies:
        parts.append(many(view.proxies, "proxy", "proxies"))
    left = view.seconds_left
    if left is not None:
        parts.append(f"{duration(max(left - page.waited, 0.0))} left")
    text = f" {page.glyphs.dot} ".join(parts)
    room = min(page.width - len(text) - 2, 60)
    if view.fraction is None or room < 8:
        return page.line(text)
    filled = round(view.fraction * room)
    return page.line(
        Text.assemble(
            (page.glyphs.full * filled, "green"),
            (page.glyphs.empty * (room - filled), "dim"),
            f"  {text}",
        )
    )


def _best(view: View, page: _Page, scale: Scale) -> list[Text]:
    """Two lines on the best engine so far, or one that says there is none."""
    assert view.search is not None
    best = view.best
    measurement = best.measurement if best is not None else None
    if best is None or measurement is None or measurement.latency is None:
        return [page.line("  no engine within the bound yet", "dim"), Text()]
    latency, loss = measurement.latency, measurement.accuracy.loss
    interval = speedup_interval(latency.ratio_low, latency.ratio_high)
    share = scale.of_bound(loss, view.search.bound.tolerance)
    unsure = doubts(latency) if best.assignment.entries else latency.unsure
    colour = "yellow" if unsure else "green"
    first = Text.assemble(
        (f"{page.glyphs.best} ", f"bold {colour}"),
        (f"{speedup(latency.ratio)} FP32's speed", f"bold {colour}"),
        (f" ({interval})" if interval else "", colour),
        (f", {clean(unsure[0])}" if unsure else "", colour),
        f"   loss {scale(loss)}",
        f", {share}" if share else "",
    )
    requested, got = asked(best.assignment), ran(best)
    fp32 = view.search.groups - sum(requested.values())
    shown = counts({**requested, "fp32": max(fp32, 0)}, page.glyphs)
    lost = sum(count - min(got.get(name, 0), count) for name, count in requested.items())
    missed = f" ({lost} ran higher than asked)" if lost else ""
    second = Text(f"  {shown}{missed}   trial {best.number}", style="dim")
    return [page.line(first), page.line(second)]


def _body(view: View, page: _Page, room: int) -> list[Text]:
    """The table of trials and the sketch, side by side or one above the other."""
    if view.search is None:
        return _stages(view, page, room)
    if not view.engines:
        return []
    points = _points(view)
    scale = Scale(view.search.bound.metric, page.glyphs)
    bound = view.search.bound.tolerance
    if len(points) < 2 or page.width < MIN_WIDTH:
        return list(trial_table(view, page.width, room, scale))
    if page.width >= _BESIDE:
        side = min(page.width * 2 // 5, 64)
        left = page.width - side - 2
        height = min(room, _MOST_SKETCH)
        table = trial_table(view, left, room, scale)
        drawn = sketch(points, bound, side, height, scale) if height >= MIN_HEIGHT else ()
        return _beside(table, drawn, left + 2)
    height = min(room // 2 - 1, _MOST_SKETCH)
    if height < MIN_HEIGHT or room - height - 1 < _FEWEST_ROWS:
        return list(trial_table(view, page.width, room, scale))
    drawn = sketch(points, bound, min(page.width, 100), height, scale)
    return [*drawn, Text(), *trial_table(view, page.width, room - height - 1, scale)]


def _beside(left: Sequence[Text], right: Sequence[Text], column: int) -> list[Text]:
    lines = []
    for number in range(max(len(left), len(right))):
        first = left[number] if number < len(left) else Text()
        second = right[number] if number < len(right) else Text()
        lines.append(Text.assemble(first, " " * max(column - first.cell_len, 0), second))
    return lines


def _points(view: View) -> list[Point]:
    best = view.best
    return [
        Point(m.latency.ratio, m.accuracy.loss, view.verdict(t) is Verdict.PASS, t is best)
        for t in view.timed
        if (m := t.measurement) is not None and m.latency is not None
    ]


def _stages(view: View, page: _Page, room: int) -> list[Text]:
    """The stages that are done, before there are trials."""
    done = view.stages[:-1][-room:]
    return [
        page.line(
            Text.assemble(
                (f"{page.glyphs.done} ", "green"),
                clean(s.stage),
                (f"  {clean(s.detail)}", "dim"),
            )
        )
        for s in done
    ]


def _current(view: View, page: _Page) -> Text:
    """What is going on."""
    if view.written is not None:
        return page.line(f"{page.glyphs.done} plan written: {clean(view.written.path)}", "green")
    head = Text.assemble(page.spinner(), " ")
    if view.stopping:
        return page.line(head.append("stopping: writing the best plan so far", style="yellow"))
    if view.running:
        return page.line(head.append_text(_trial_line(view, page)))
    if view.finished is None and view.search is not None:
        return page.line(head.append("choosing what to try next"))
    if not view.stages:
        return page.line(head.append("reading the model"))
    stage = view.stages[-1]
    judged = f"  {len(view.finalists)} judged" if view.finalists else ""
    return page.line(head.append(clean(stage.stage)).append(f"  {clean(stage.detail)}{judged}"))


def _trial_line(view: View, page: _Page) -> Text:
    started = view.running[0]
    proposal = started.proposal
    what = "proxy" if proposal.fidelity is Fidelity.PROXY else "engine"
    place = f", {view.batch_done + 1} of {view.batch}" if view.batch > 1 else ""
    groups = counts(asked(proposal.assignment), page.glyphs) or "all fp32"
    text = Text(f"{what} {started.number}{place}: {groups}")
    return text.append(f"  {clean(proposal.reason)}", style="dim")


def _warning(view: View, page: _Page) -> list[Text]:
    if not view.warnings:
        return []
    more = f" (+{len(view.warnings) - 1})" if len(view.warnings) > 1 else ""
    room = page.width - 2 - len(more)
    return [page.line(f"! {middle(clean(view.warnings[-1]), room, page.glyphs)}{more}", "yellow")]
