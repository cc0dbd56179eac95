"""Events as plain lines, for logs and terminals that cannot draw."""

from __future__ import annotations

import math

from precsearch.cli.cells import UNICODE, Glyphs, Scale, clean, counts, duration, many, speedup
from precsearch.cli.progress.trial_table import why
from precsearch.cli.progress.view import View, asked, fold
from precsearch.core.backend import fp32_words
from precsearch.core.events import (
    Event,
    FinalistJudged,
    PlanWritten,
    RunStarted,
    SearchContinued,
    SearchFinished,
    SearchStarted,
    StageStarted,
    TrialFinished,
    Warned,
)
from precsearch.core.problem import Bound
from precsearch.core.strategy import prediction_errors
from precsearch.core.trial import Fidelity, Trial
from precsearch.measurement.timing.certainty import shaky
from precsearch.optimization.explanation.stopping import why_stopped

__all__ = ["PROXIES_PER_LINE", "PlainLog"]

PROXIES_PER_LINE = 100
"""Proxies pass in silence; their count is said this often, and with the next engine."""

_UNSURE = " (unsure)"


class PlainLog:
    """Turns events into lines; holds the view so far and what was not said yet."""

    def __init__(self, glyphs: Glyphs = UNICODE) -> None:
        self._glyphs = glyphs
        self._view = View()
        self._proxies = 0
        self._replayed = 0
        self._ahead = 0.0  # a resumed run has a past

    def lines(self, event: Event, seconds: float) -> tuple[str, ...]:
        """What to print for one event.

        Args:
            event: The event.
            seconds: Since the process began.

        Returns:
            Lines without line breaks; none for events that say little.
        """
        before, self._view = self._view, fold(self._view, event)
        if isinstance(event, SearchStarted):
            self._ahead = event.spent
        lines = self._said(event, new=before != self._view)
        return tuple(f"[{duration(seconds + self._ahead):>6}] {line}" for line in lines)

    def _said(self, event: Event, *, new: bool) -> list[str]:
        match event:
            case RunStarted():
                where = event.identity.get("backend", "")
                on = f" on {clean(where)}" if where else ""
                return [f"precsearch {clean(event.version)}: {clean(event.model)}{on}"]
            case StageStarted():
                return [f"{clean(event.stage)}: {clean(event.detail)}".rstrip(": ")]
            case Warned():
                return [f"warning: {clean(event.message)}"] if new else []
            case SearchStarted():
                return [_search_line(event, self._glyphs)]
            case TrialFinished():
                return self._finished(event)
            case SearchFinished():
                reason = clean(self._why_ended(event))
                return [
                    *self._counted(),
                    f"search ended after {many(event.builds, 'engine')}: {reason}",
                ]
            case FinalistJudged():
                return [_finalist_line(self._view, event, self._glyphs)]
            case SearchContinued():
                return [_continued_line(self._view, event, self._glyphs)]
            case PlanWritten():
                return [f"plan written: {clean(event.path)}"]
            case _:
                return []

    def _why_ended(self, event: SearchFinished) -> str:
        goal = self._view.goal
        predictions = None if goal is None else prediction_errors(goal, self._view.engines)
        return why_stopped(event.reason, event.expected_gain, predictions)

    def _finished(self, event: TrialFinished) -> list[str]:
        trial = event.trial
        if event.replayed:
            self._replayed += 1
            return []
        if trial.proposal.fidelity is Fidelity.PROXY:
            self._proxies += 1
            return self._counted() if self._proxies >= PROXIES_PER_LINE else []
        line = _trial_line(self._view, trial, self._glyphs)
        best = "  <- best so far" if trial is self._view.best else ""
        reason = why(trial)
        return [*self._counted(), f"{line}{best}{f'  ({reason})' if reason else ''}"]

    def _counted(self) -> list[str]:
        """The trials that passed in silence since the last line."""
        lines = []
        if self._replayed:
            lines.append(f"{many(self._replayed, 'trial')} taken from the journal")
        if self._proxies:
            lines.append(f"{many(self._proxies, 'assignment')} scored by proxy")
        self._replayed = self._proxies = 0
        return lines


def _search_line(event: SearchStarted, glyphs: Glyphs) -> str:
    scale = Scale(event.bound.metric, glyphs)
    limits = []
    if event.budget.max_builds is not None:
        limits.append(f"at most {many(event.budget.max_builds, 'engine')}")
    if event.budget.seconds is not None:
        limits.append(f"at most {duration(event.budget.seconds)}")
    parts = [
        f"search: {clean(event.strategy)} over {many(event.groups, 'group')}",
        scale.bound(event.bound.tolerance),
        *limits,
        f"timing noise {glyphs.plus_minus}{event.noise * 100:.1f} %",
        f"FP32 is {fp32_words(event.fp32)}" if event.fp32 else "",
        clean(event.device),
    ]
    return ", ".join(part for part in parts if part)


def _finalist_line(view: View, event: FinalistJudged, glyphs: Glyphs) -> str:
    scale = Scale(view.search.bound.metric if view.search is not None else "", glyphs)
    verdict = "pass" if event.passed else "over bound"
    return (
        f"finalist {event.number}: loss {scale(event.loss)}, {speedup(event.ratio)} FP32's speed"
        f"{_UNSURE if event.unsure else ''}, {verdict}"
    )


def _continued_line(view: View, event: SearchContinued, glyphs: Glyphs) -> str:
    scale = Scale(view.search.bound.metric if view.search is not None else "", glyphs)
    return (
        "faster finalists missed the bound on the holdout: the search goes on with "
        f"{scale.bound(event.tolerance)}"
    )


def _trial_line(view: View, trial: Trial, glyphs: Glyphs) -> str:
    head = f"engine {trial.number}: {counts(asked(trial.assignment), glyphs) or 'all fp32'}"
    verdict = view.verdict(trial).value
    measurement = trial.measurement
    if measurement is None:
        return f"{head}, {verdict}"
    loss = measurement.accuracy.loss
    bound: Bound | None = view.search.bound if view.search is not None else None
    scale = Scale(bound.metric if bound is not None else "", glyphs)
    share = scale.of_bound(loss, bound.tolerance) if bound is not None else ""
    parts = [head, f"loss {scale(loss) if math.isfinite(loss) else 'inf'}"]
    parts[-1] += f" ({share})" if share else ""
    if measurement.latency is not None:
        unsure = _UNSURE if shaky(measurement.latency) else ""
        parts.append(f"{speedup(measurement.latency.ratio)} FP32's speed{unsure}")
    return ", ".join([*parts, verdict])
