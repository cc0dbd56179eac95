"""The order in which corrections are tried, and which of them are kept together."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from precsearch.core.errors import ModelError
from precsearch.executors.client import ReferenceClient
from precsearch.optimization.stages.correction.judge import clearest, gain
from precsearch.optimization.stages.correction.ranges import Ask
from precsearch.optimization.stages.corrections_file import Corrections
from precsearch.plan.evidence import CorrectionEvidence

__all__ = ["Candidate", "Candidates", "Losses", "Trials"]

_HELPS = 0.9
"""A correction that leaves more of INT8's loss than this only rounds otherwise."""

_BEYOND_DOUBT = 0.5
"""A correction that leaves less than this is not tried left out: no other is expected to make up
for it, and each such trial costs as much as the corrections behind it did."""

_BARELY = 0.87
"""A rewrite of the model that leaves more than this waits until the others were tried without it.
They are made for the model as it is, so that a rewrite that hardly helps can cost what they gain
and the time to find that out."""

_FOR_THE_LAST = 0.25
"""Of the time, what the others leave for the last correction, which takes little: bias."""


@dataclass(frozen=True)
class Candidate:
    """A form of a correction, beside those kept before it.

    Attributes:
        judged: What is measured.
        whole: What is kept if it is the best, made of all samples only then; ``None`` if that is
            the same. Raises `ModelError` where there is no time for all samples.
    """

    judged: Corrections
    whole: Callable[[], Corrections] | None = None

    def kept(self) -> Corrections:
        """``whole``, or what was judged where there is no time for more."""
        if self.whole is None:
            return self.judged
        try:
            return self.whole()
        except ModelError:
            return self.judged


Candidates = Callable[[str, Corrections, Ask], Iterator[Candidate]]
"""The forms of a correction beside those kept before it."""

Losses = Callable[[Corrections, float], tuple[float, ...] | None]
"""Losses of INT8 by assignment, and until when they may be measured; ``None`` where corrections
do not fit the model.

Raises:
    TimeoutError: That time has come.
"""


@dataclass(frozen=True)
class _Standing:
    """What is kept at some point.

    Attributes:
        kept: The corrections so far, and the evidence of all that were tried.
        losses: Of INT8 with them, by assignment.
        steps: Each correction that is kept: its name, the share of the loss that it leaves, and
            what stood before it.
        waiting: Rewrites that barely help: name, what stood before, and what stands with it.
    """

    kept: Corrections
    losses: tuple[float, ...]
    steps: tuple[tuple[str, float, _Standing], ...] = ()
    waiting: tuple[tuple[str, _Standing, _Standing], ...] = ()


@dataclass(frozen=True)
class Trials:
    """Tries corrections one after the other, and then each that was kept left out.

    An early correction can take away what later ones would gain, and more (docs/adr/0070).

    Attributes:
        names: Of corrections, in the order in which they are tried.
        candidates: Forms of a correction.
        losses: Judges them.
        worker: Runs the reference.
        start: Time of the monotonic clock, in seconds, when the first one began.
        seconds: For all of them since then; infinite for as long as it takes.
    """

    names: Sequence[str]
    candidates: Candidates
    losses: Losses
    worker: ReferenceClient
    start: float
    seconds: float = math.inf

    def best(self, plain: tuple[float, ...]) -> Corrections:
        """The corrections to keep.

        Args:
            plain: Losses without any.
        """
        standing = self._one_by_one(_Standing(Corrections(), plain), self.names, waits=True)
        for name, before, after in standing.waiting:
            standing = self._with(standing, name, before, after)
        settled = {name for name, _, _ in standing.waiting}
        while doubted := _most_doubtful(standing, settled):
            if self._left <= 0:
                break
            settled.add(doubted[0])
            standing = self._without(standing, *doubted)
        return standing.kept

    @property
    def _left(self) -> float:
        return self.start + self.seconds - time.monotonic()

    def _with(
        self, standing: _Standing, name: str, before: _Standing, after: _Standing
    ) -> _Standing:
        """What stands if a rewrite that waited is kept, and those behind it are tried again."""
        if standing.steps == before.steps:  # nothing was kept since: there is nothing to try again
            tried = len(before.kept.evidence) + 1
            evidence = (*after.kept.evidence, *standing.kept.evidence[tried:])
            kept = replace(after.kept, evidence=evidence)
            return replace(after, kept=kept, waiting=standing.waiting)
        if self._left <= 0:
            return standing
        other = self._one_by_one(after, self.names[self.names.index(name) + 1 :])
        helps = gain(standing.losses, other.losses) <= _HELPS
        return replace(other, waiting=standing.waiting) if helps else standing

    def _without(self, standing: _Standing, name: str, before: _Standing) -> _Standing:
        """What stands if a correction is left out and those behind it are tried again.

        It stays in where the others do not leave at most nine tenths of the loss without it: less
        than that is the choice of samples.
        """
        behind = self.names[self.names.index(name) + 1 :]
        if not behind:
            return standing
        other = self._one_by_one(before, behind)
        if gain(standing.losses, other.losses) > _HELPS:
            return standing
        # The assignment that shows why: without the correction its loss is the lowest.
        with_it, without = clearest(standing.losses, other.losses)
        row = CorrectionEvidence(name, False, _short(without), _short(with_it))
        first = len(before.kept.evidence)
        evidence = (*other.kept.evidence[:first], row, *other.kept.evidence[first:])
        return replace(other, kept=replace(other.kept, evidence=evidence))

    def _one_by_one(
        self, standing: _Standing, names: Sequence[str], *, waits: bool = False
    ) -> _Standing:
        """Try corrections in their order, each beside those kept before.

        Args:
            standing: What is kept before.
            names: What to try.
            waits: Whether rewrites that barely help wait.
        """
        end, left = self.start + self.seconds, self._left
        for name in names:
            last = name == self.names[-1]
            until = end if last or left == math.inf else end - _FOR_THE_LAST * left
            ask = Ask(self.worker, until)
            if ask.seconds >= 0:
                tried = self._tried(standing, name, ask)
                standing = _waiting(standing, tried) if waits else tried
        return standing

    def _tried(self, standing: _Standing, name: str, ask: Ask) -> _Standing:
        kept, before = standing.kept, standing.losses
        best: Candidate | None = None
        least = before
        for candidate in self._in_time(name, kept, ask):
            try:
                losses = self.losses(candidate.judged, ask.until)
            except TimeoutError:
                break
            if losses is not None and gain(least, losses) < 1:
                best, least = candidate, losses
        if best is None:
            return standing
        share = gain(before, least)
        old, new = clearest(before, least)
        row = CorrectionEvidence(name, share <= _HELPS, _short(old), _short(new))
        evidence = (*kept.evidence, row)
        if not row.kept:
            return replace(standing, kept=replace(kept, evidence=evidence))
        steps = (*standing.steps, (name, share, standing))
        kept = replace(best.kept(), evidence=evidence)
        return replace(standing, kept=kept, losses=least, steps=steps)

    def _in_time(self, name: str, kept: Corrections, ask: Ask) -> Iterator[Candidate]:
        """The candidates of a correction that there is time for."""
        try:
            for candidate in self.candidates(name, kept, ask):
                yield candidate
                if ask.seconds < 0:
                    return
        except ModelError:  # a model with statistics that does not run, or no time for its samples
            return


def _waiting(before: _Standing, after: _Standing) -> _Standing:
    """What stands after a trial if a rewrite that barely helps waits."""
    rewrites = after.kept.rewrites != before.kept.rewrites
    if not rewrites or after.steps[-1][1] <= _BARELY:
        return after
    row = after.kept.evidence[-1]
    evidence = (*before.kept.evidence, replace(row, kept=False))
    kept = replace(before.kept, evidence=evidence)
    waiting = (*before.waiting, (row.name, before, after))
    return replace(before, kept=kept, waiting=waiting)


def _most_doubtful(standing: _Standing, settled: set[str]) -> tuple[str, _Standing] | None:
    """The correction that gains least of those kept and not yet tried left out."""
    doubted = [s for s in standing.steps if s[0] not in settled and s[1] > _BEYOND_DOUBT]
    if not doubted:
        return None
    name, _, before = max(doubted, key=lambda step: step[1])
    return name, before


def _short(value: float) -> float:
    return float(f"{value:.4g}")
