"""The finished trials of a journal, which a resumed search replays."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from precsearch.errors import InputError
from precsearch.events import TrialFinished
from precsearch.journal.reading import event_of
from precsearch.trial import KILLED, Fidelity, Outcome, Proposal, Trial

__all__ = ["Memo"]

_Key = tuple[str, tuple[tuple[str, str], ...]]


class Memo(Mapping[Proposal, Trial]):
    """The finished trials of a journal, by canonical proposal; decoded when asked for.

    Without those whose worker something outside killed.

    Attributes:
        seconds: What the search has taken so far.
        noise: The latency noise that it works with, 0 if it had not begun.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self.noise = 0.0
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


def _trial(line: bytes) -> Trial:
    try:
        event = event_of(line)
    except ValueError as error:
        raise InputError(
            f"a trial in the journal is damaged: {error}; restore the journal, or start afresh "
            "with --force"
        ) from error
    assert isinstance(event, TrialFinished)
    return event.trial
