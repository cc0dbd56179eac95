"""Feeds that fit a model, and how they are shared out between calibration, search and holdout."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from precsearch.core.backend import Array, Feed
from precsearch.core.errors import DataError

__all__ = ["Dataset", "Parts"]

_ALL_SHARED = 8
"""Below this many samples every part is all of the data."""
_HALVES_SHARED = 64
"""Below this many samples calibration and search use the same ones beside a holdout."""
_OVERLAP = 0.02
"""Share of holdout feeds from which a repetition is worth a note; real data repeats a little."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Checked feeds.

    Attributes:
        feeds: Input name → contiguous read-only array of the input's dtype and shape, per feed.
        sizes: Samples in each feed: its batch, 1 where axis 0 is no batch.
        labels: One entry per sample along axis 0, per feed; ``None`` if there are none.
        references: Output name → the reference output that the user gave, per feed; ``None`` if
            there are none.
        random: Whether the numbers are random, so that no loss over them means much.
        notes: What the user should know: casts, dropped samples, assumptions.
    """

    feeds: tuple[Feed, ...]
    sizes: tuple[int, ...]
    labels: tuple[Array, ...] | None = None
    references: tuple[Feed, ...] | None = None
    random: bool = False
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Number of feeds."""
        return len(self.feeds)

    @property
    def samples(self) -> int:
        """Number of samples in all feeds."""
        return sum(self.sizes)

    @cached_property
    def flat_labels(self) -> Array | None:
        """All labels in order of the samples, along axis 0: what a metric takes."""
        return None if self.labels is None else np.concatenate(self.labels)

    @cached_property
    def feed_digests(self) -> tuple[str, ...]:
        """SHA-256 over one feed's names, dtypes, shapes and bytes as hex, for each feed."""
        return tuple(_digest([feed]) for feed in self.feeds)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over names, dtypes, shapes and bytes of feeds, labels and references, as hex."""
        parts = [*self.feed_digests]
        parts += [_digest([{"labels": a}]) for a in self.labels or ()]
        parts += [
            _digest([{f"__ref__{k}": a for k, a in r.items()}]) for r in self.references or ()
        ]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def take(self, indices: Sequence[int]) -> Dataset:
        """The feeds at these positions, in this order; arrays are shared."""
        labels, references = self.labels, self.references
        return Dataset(
            feeds=tuple(self.feeds[i] for i in indices),
            sizes=tuple(self.sizes[i] for i in indices),
            labels=None if labels is None else tuple(labels[i] for i in indices),
            references=None if references is None else tuple(references[i] for i in indices),
            random=self.random,
        )

    def holding(self, samples: int, first: int = 0) -> Dataset:
        """The fewest feeds from position ``first`` on with so many samples; all, if too few."""
        ends = itertools.accumulate(self.sizes[first:])
        count = 1 + sum(end < samples for end in ends)
        return self.take(range(first, min(first + count, len(self))))

    def split(
        self, holdout: Dataset | None = None, calibration: Dataset | None = None, seed: int = 0
    ) -> Parts:
        """Share the feeds out.

        With a holdout, calibration and search get half each, or all of it under 64 samples.
        Without, calibration, search and holdout get 25, 50 and 25 %; under 8 samples (or 4 feeds)
        everything is shared and nothing held out. A given calibration set leaves its share to the
        others. Which feed goes where is drawn from ``seed``, so that ordered data (by class, by
        day) does not bias a part; within a part the feeds keep their order.

        Args:
            holdout: Data that the search must never see, if the user gave some.
            calibration: Data to calibrate on, if the user gave some.
            seed: Of the draw.

        Raises:
            DataError: Only one of data and holdout has references, which makes losses incomparable.
        """
        if holdout is not None and (self.references is None) != (holdout.references is None):
            raise DataError(
                "only one of --data and --holdout holds reference outputs ('__ref__<output>'); "
                "store them in both or in neither"
            )
        n = len(self)
        start, stop, notes = _shares(self, holdout is not None, calibration is not None)
        order = _shuffled(n, seed)
        search = self._pick(order[start:stop])
        if calibration is None:
            calibration = self._pick(order[:start]) if start else search
        if holdout is None and stop < n:
            holdout = self._pick(order[stop:])
        if holdout is not None:
            notes += _overlap(search, holdout)
        return Parts(calibration, search, holdout, tuple(notes))

    def _pick(self, chosen: Sequence[int]) -> Dataset:
        return self if len(chosen) == len(self) else self.take(sorted(chosen))


@dataclass(frozen=True, eq=False)
class Parts:
    """The data of one search.

    Attributes:
        calibration: Where the ranges for INT8 come from.
        search: What engines are scored on.
        holdout: What confirms the winner, seen by nothing else; ``None`` if there is none.
        notes: What the user should know.
    """

    calibration: Dataset
    search: Dataset
    holdout: Dataset | None
    notes: tuple[str, ...] = ()


def _shares(data: Dataset, has_holdout: bool, has_calibration: bool) -> tuple[int, int, list[str]]:
    """Where the search part starts and stops in the shuffled feeds, and what to say about it.

    Calibration takes what lies before, or shares the search part if nothing does; the holdout
    takes what lies after.
    """
    n, samples = len(data), data.samples
    if not has_holdout and (samples < _ALL_SHARED or n < 4):
        note = (
            f"{samples} samples are too few to hold any out: nothing confirms the result on unseen "
            "data (give --holdout)"
        )
        return 0, n, [note]
    if not has_holdout:
        quarter = n // 4
        return 0 if has_calibration else quarter, n - quarter, []
    if has_calibration:
        return 0, n, []
    if samples < _HALVES_SHARED or n < 2:
        note = f"calibration and search share all {samples} samples (fewer than {_HALVES_SHARED})"
        return 0, n, [note]
    return n // 2, n, []


def _shuffled(n: int, seed: int) -> list[int]:
    # NumPy's Generator may change its streams between versions; a hash never does.
    return sorted(range(n), key=lambda i: hashlib.sha256(f"{seed}:{i}".encode()).digest())


def _overlap(search: Dataset, holdout: Dataset) -> list[str]:
    seen = set(search.feed_digests)
    both = sum(d in seen for d in holdout.feed_digests)
    if both < _OVERLAP * len(holdout):
        return []
    return [
        f"{both} of {len(holdout)} holdout feeds are also searched on, so the holdout confirms "
        "less than it seems"
    ]


def _digest(feeds: Sequence[Feed]) -> str:
    sha = hashlib.sha256()
    for feed in feeds:
        for name in sorted(feed):
            array = feed[name]
            header = f"{len(name)}:{name}:{array.dtype.str}:{array.shape}\n"
            sha.update(header.encode("utf-8", "surrogatepass"))
            sha.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return sha.hexdigest()
