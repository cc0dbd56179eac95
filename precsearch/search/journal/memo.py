"""The finished trials of a journal, which a resumed search replays."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from precsearch.core.errors import InputError
from precsearch.core.events import Event, FinalistJudged, SearchContinued, TrialFinished
from precsearch.core.trial import KILLED, Fidelity, Outcome, Proposal, Trial
from precsearch.search.journal.reading import event_of

__all__ = ["Memo"]

_Key = tuple[str, tuple[tuple[str, str], ...]]


class Memo(Mapping[Proposal, Trial]):
    """The finished trials of a journal, by canonical proposal; decoded when asked for.

    Without those whose worker something outside killed.

    Attributes:
        seconds: What the search has taken so far.
        noise: The latency noise that it works with, 0 if it had not begun.
        fp32: How its FP32 engine was computed, see `precsearch.core.events.SearchStarted`.
        setup_seconds: What it took to begin, 0 if it had not.
        device, runtime: What it ran on, see `precsearch.core.events.SearchStarted`; "" if it had
            not begun.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self.noise = 0.0
        self.fp32 = ""
        self.setup_seconds = 0.0
        self._earlier = 0
        self.device = ""
        self.runtime = ""
        self._judged: list[bytes] = []
        self._rounds: dict[int, tuple[bytes, tuple[bytes, ...]]] = {}
        self._lines: dict[_Key, bytes] = {}
        self._digests: dict[str, bytes] = {}

    def __getitem__(self, proposal: Proposal) -> Trial:
        entries = tuple((k, p.value) for k, p in proposal.assignment.entries)
        return _trial(self._lines[proposal.fidelity.value, entries])

    def __iter__(self) -> Iterator[Proposal]:
        return (_trial(line).proposal for line in self._lines.values())

    def __len__(self) -> int:
        return len(self._lines)

    @property
    def engines(self) -> Mapping[str, Outcome]:
        """Outcomes of the engine trials by model digest."""
        return {digest: _trial(line).outcome for digest, line in self._digests.items()}

    @property
    def earlier(self) -> tuple[Trial, ...]:
        """The trials that the run had from earlier runs, by number."""
        if not self._earlier:
            return ()
        trials = sorted((_trial(s) for s in self._lines.values()), key=lambda t: t.number)
        return tuple(t for t in trials if t.number < self._earlier)

    def went_on(self, number: int) -> tuple[SearchContinued, tuple[FinalistJudged, ...]] | None:
        """How the search went on for the ``number``-th time, and the finalists judged before it.

        Returns:
            ``None`` if it did not. That it is the same search is for the caller to check.
        """
        if number not in self._rounds:
            return None
        line, judged = self._rounds[number]
        event, looks = _event(line), tuple(map(_event, judged))
        assert isinstance(event, SearchContinued)
        return event, tuple(look for look in looks if isinstance(look, FinalistJudged))

    def add(self, line: bytes) -> None:
        """Take note of a line of a journal.

        Raises:
            ValueError: It is not one.
        """
        try:
            data = json.loads(line)
            kind = data["type"]
            self.seconds = max(self.seconds, float(data.get("elapsed", 0.0)))
            if kind == "SearchStarted":
                self.noise = float(data["noise"])
                self.fp32 = str(data.get("fp32", ""))
                self.setup_seconds = float(data.get("setup_seconds", 0.0))
                self._earlier = int(data.get("earlier", 0))
                self.device = str(data.get("device", ""))
                self.runtime = str(data.get("runtime", ""))
            self._look(kind, data, line)
            if kind != "TrialFinished":
                return
            outcome = data["trial"].get("outcome")
            if isinstance(outcome, dict) and outcome.get("kind") == KILLED:
                return  # it says nothing about the engine: tried again
            proposal = data["trial"]["proposal"]
            key = proposal["fidelity"], tuple(sorted(proposal["assignment"].items()))
            self._lines.setdefault(key, line)
            digest = data["trial"]["model_digest"]
            if digest and proposal["fidelity"] == Fidelity.ENGINE.value:
                self._digests.setdefault(digest, line)
        except (KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise ValueError("not an event") from error

    def _look(self, kind: str, data: Mapping[str, Any], line: bytes) -> None:
        """Finalists belong to the continuation that follows them, if one does."""
        if kind in ("RunStarted", "SearchFinished"):
            self._judged = []
        elif kind == "FinalistJudged":
            self._judged.append(line)
        elif kind == "SearchContinued":
            self._rounds[int(data["number"])] = line, tuple(self._judged)
            self._judged = []


def _trial(line: bytes) -> Trial:
    event = _event(line)
    assert isinstance(event, TrialFinished)
    return event.trial


def _event(line: bytes) -> Event:
    try:
        return event_of(line)
    except ValueError as error:
        raise InputError(
            f"a trial in the journal is damaged: {error}; restore the journal, or start afresh "
            "with --force"
        ) from error
