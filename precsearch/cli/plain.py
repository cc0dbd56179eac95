"""Events as plain lines, for logs and terminals that cannot draw."""

from __future__ import annotations

import math

from precsearch.cli.text import (
    UNICODE,
    Glyphs,
    Scale,
    clean,
    counts,
    duration,
    speedup,
)
from precsearch.cli.trials import why
from precsearch.cli.view import View, asked
from precsearch.events import (
    Event,
    FinalistJudged,
    PlanWritten,
    RunStarted,
    SearchFinished,
    SearchStarted,
    StageStarted,
    TrialFinished,
    Warned,
)
from precsearch.goal import Bound
from precsearch.trial import Fidelity, Trial

__all__ = ["PROXIES_PER_LINE", "plain_lines"]

PROXIES_PER_LINE = 100
"""Proxies pass in silence; their count is said this often, and with the next engine."""

_REASONS = {
    "done": "the strategy has no further question",
    "builds": "the budget of engines is spent",
    "time": "the time budget is spent",
    "interrupted": "interrupted",
}


def plain_lines(
    before: View, after: View, event: Event, seconds: float, glyphs: Glyphs = UNICODE
) -> tuple[str, ...]:
    """What to print for one event.

    Args:
        before: The view before the event.
        after: The view after it.
        event: The event.
        seconds: Since the run began, for events that carry no time.
        glyphs: Symbols.

    Returns:
        Lines without line breaks; none for events that say little.
    """
    said = _said(before, after, event, glyphs)
    if not said:
        return ()
    if isinstance(event, (TrialFinished, SearchFinished)):
        seconds = event.elapsed
    return tuple(f"[{duration(seconds):>6}] {line}" for line in said)


def _said(before: View, after: View, event: Event, glyphs: Glyphs) -> list[str]:
    match event:
        case RunStarted():
            return [f"precsearch {clean(event.version)}: {clean(event.model)}"]
        case StageStarted():
            return [f"{clean(event.stage)}: {clean(event.detail)}".rstrip(": ")]
        case Warned():
            return [f"warning: {clean(event.message)}"] if before != after else []
        case SearchStarted():
            return [_search_line(event, glyphs)]
        case TrialFinished():
            return _trial_lines(before, after, event, glyphs)
        case SearchFinished():
            reason = _REASONS.get(event.reason, clean(event.reason))
            done = f"search ended after {event.builds} engines: {reason}"
            return [*_replayed(after), *_proxies(before), done]
        case FinalistJudged():
            verdict = "pass" if event.passed else "over bound"
            scale = Scale(after.search.bound.metric if after.search else "", glyphs)
            return [
                f"finalist {event.number}: loss {scale(event.loss)}, "
                f"{speedup(event.ratio)} FP32's speed, {verdict}"
            ]
        case PlanWritten():
            return [f"plan written: {clean(event.path)}"]
        case _:
            return []


def _search_line(event: SearchStarted, glyphs: Glyphs) -> str:
    scale = Scale(event.bound.metric, glyphs)
    limits = []
    if event.budget.max_builds is not None:
        limits.append(f"at most {event.budget.max_builds} engines")
    if event.budget.seconds is not None:
        limits.append(f"at most {duration(event.budget.seconds)}")
    parts = [
        f"search: {clean(event.strategy)} over {event.groups} groups",
        scale.bound(event.bound.tolerance),
        *limits,
        f"timing noise {glyphs.plus_minus}{event.noise * 100:.1f} %",
        clean(event.device),
    ]
    return ", ".join(part for part in parts if part)


def _trial_lines(before: View, after: View, event: TrialFinished, glyphs: Glyphs) -> list[str]:
    trial = event.trial
    if trial.proposal.fidelity is Fidelity.PROXY:
        due = after.proxies % PROXIES_PER_LINE == 0
        return [f"{after.proxies} proxies scored"] if due else []
    lines = [*_replayed(after)] if before.replayed == after.replayed and _first(before) else []
    lines += _proxies(before)
    if event.replayed:
        return lines
    best = after.best
    mark = "  <- best so far" if best is not None and best is trial else ""
    reason = why(trial)
    return [*lines, f"{_trial_line(after, trial, glyphs)}{mark}{f'  ({reason})' if reason else ''}"]


def _first(before: View) -> bool:
    """Whether everything so far came from a journal."""
    return before.replayed > 0 and before.replayed == len(before.engines) + before.proxies


def _replayed(view: View) -> list[str]:
    return [f"{view.replayed} trials taken from the journal"] if view.replayed else []


def _proxies(before: View) -> list[str]:
    """The count of proxies, if it was not said since the last engine."""
    return []


def _trial_line(view: View, trial: Trial, glyphs: Glyphs) -> str:
    head = f"engine {trial.number}: {counts(asked(trial.assignment), glyphs)}"
    verdict = view.verdict(trial).value
    measurement = trial.measurement
    if measurement is None:
        return f"{head}, {verdict}"
    loss = measurement.accuracy.loss
    bound: Bound | None = view.search.bound if view.search is not None else None
    scale = Scale(bound.metric if bound is not None else "", glyphs)
    share = scale.share(loss, bound.tolerance) if bound is not None else ""
    parts = [head, f"loss {scale(loss) if math.isfinite(loss) else 'inf'}"]
    parts[-1] += f" ({share} of the bound)" if share else ""
    if measurement.latency is not None:
        parts.append(f"{speedup(measurement.latency.ratio)} FP32's speed")
    return ", ".join([*parts, verdict])
