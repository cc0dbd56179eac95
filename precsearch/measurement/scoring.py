"""The accuracy of an engine or a proxy on a part of the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from precsearch.core.backend import Array, Feed, Session
from precsearch.core.trial import Accuracy
from precsearch.measurement.config import ReferenceSplit
from precsearch.metrics import metric, with_lost_parts, worst_of

__all__ = ["Scorer"]


class Scorer:
    """Scores outputs by a metric.

    Args:
        name: The metric, as the user named it.
        sha256: Digest of the user's own metric, "" for a built-in one.

    Raises:
        OptionError: The metric is unknown, or is not the one of the digest.
    """

    def __init__(self, name: str, sha256: str) -> None:
        self._metric = metric(name, sha256)

    def of(self, session: Session, part: ReferenceSplit) -> Accuracy:
        """An engine's, at the worst of the sets of input shapes.

        Raises:
            RunError: The engine failed.
        """
        return worst_of(self._whole(session, one) for one in (part, *part.also))

    def of_some(
        self, part: ReferenceSplit, seen: Sequence[int], outputs: Sequence[Mapping[str, Array]]
    ) -> Accuracy:
        """That of the outputs for the feeds at the positions ``seen``."""
        references = tuple(part.reference[i] for i in seen)
        return self._scored(outputs, ReferenceSplit(part.data.take(seen), references))

    def _whole(self, session: Session, part: ReferenceSplit) -> Accuracy:
        outputs = [session.run(feed) for feed in part.data.feeds]
        found = self._scored(outputs, part)
        found = with_lost_parts(self._metric, found, outputs, part.reference)
        return replace(found, shapes=part.name)

    def _scored(self, outputs: Sequence[Feed], part: ReferenceSplit) -> Accuracy:
        labels, sizes = part.data.flat_labels, part.data.sizes
        return self._metric.score(outputs, part.reference, labels, sizes=sizes)
