"""Progress of a search in a notebook: one bar that changes in place."""

from __future__ import annotations

from html import escape
from typing import Any

from precsearch.core.events import Event, SearchStarted, StageStarted, TrialFinished
from precsearch.core.trial import Fidelity
from precsearch.formatting import duration, many, speedup

__all__ = ["Bar", "in_notebook"]


def in_notebook() -> bool:
    """Whether this runs in the kernel of a notebook, which can show HTML."""
    try:
        from IPython import get_ipython
    except ImportError:
        return False
    return type(get_ipython()).__name__ == "ZMQInteractiveShell"


class Bar:
    """Takes the events of a search and shows where it is.

    Args:
        max_builds: Most engines, where they are limited.
        time_budget: Most seconds, where they are limited.
    """

    def __init__(self, max_builds: int | None, time_budget: float | None) -> None:
        self._max_builds = max_builds
        self._time_budget = time_budget
        self._stage = "preparing"
        self._builds = 0
        self._elapsed = 0.0
        self._best: float | None = None
        self._admits: SearchStarted | None = None
        self._shown: Any = None

    def __call__(self, event: Event) -> None:
        """Take an event, and show it where it changes anything."""
        match event:
            case StageStarted():
                self._stage = event.stage
            case SearchStarted():
                self._stage, self._admits = "searching", event
            case TrialFinished():
                self._take(event)
            case _:
                return
        self._show()

    def _take(self, event: TrialFinished) -> None:
        self._builds, self._elapsed = event.builds, event.elapsed
        measurement = event.trial.measurement
        engine = event.trial.proposal.fidelity is Fidelity.ENGINE
        if not engine or measurement is None or measurement.latency is None or self._admits is None:
            return
        if measurement.accuracy.loss <= self._admits.bound.target:
            ratio = measurement.latency.ratio
            self._best = ratio if self._best is None else min(self._best, ratio)

    @property
    def share(self) -> float | None:
        """How much of the budget is used, at most 1; ``None`` without a budget."""
        shares = []
        if self._max_builds:
            shares.append(self._builds / self._max_builds)
        if self._time_budget:
            shares.append(self._elapsed / self._time_budget)
        return min(1.0, max(shares)) if shares else None

    @property
    def text(self) -> str:
        """Where the search is, in words."""
        best = "" if self._best is None else f", best so far {speedup(self._best)} FP32's speed"
        built = many(self._builds, "engine")
        return f"precsearch: {self._stage}, {built} in {duration(self._elapsed)}{best}"

    def _show(self) -> None:
        from IPython.display import HTML, display

        share = self.share
        value = "" if share is None else f"value='{share:.3f}'"
        html = HTML(f"<progress max='1' {value}></progress> {escape(self.text)}")
        if self._shown is None:
            self._shown = display(html, display_id=True)
        else:
            self._shown.update(html)
