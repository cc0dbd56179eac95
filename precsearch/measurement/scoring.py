"""The accuracy of an engine or a proxy on a part of the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from precsearch.core.backend import Array, Feed, Session
from precsearch.core.trial import Accuracy, Measurement
from precsearch.measurement.config import ReferenceSplit
from precsearch.metrics import Metric, metric, metric_key, with_lost_parts, worst_of
from precsearch.metrics.elementwise import Elementwise

__all__ = ["Scorer", "Scores"]


@dataclass(frozen=True)
class Scores:
    """How far outputs are off.

    Attributes:
        accuracy: By the metric of the search.
        also: By other metrics, see `precsearch.metrics.metric_key`.
    """

    accuracy: Accuracy
    also: Mapping[str, Accuracy] = field(default_factory=dict)

    def measured(self, build_seconds: float) -> Measurement:
        """As a measurement of an engine that is not timed."""
        return Measurement(self.accuracy, build_seconds=build_seconds, also=self.also)


class Scorer:
    """Scores outputs by a metric, and by others for searches that use the same measurements.

    Args:
        name: The metric, as the user named it.
        sha256: Digest of the user's own metric, "" for a built-in one.
        also: The same of other metrics.

    Raises:
        OptionError: The metric is unknown, or is not the one of the digest.
    """

    def __init__(self, name: str, sha256: str, also: Sequence[tuple[str, str]] = ()) -> None:
        self._metric = metric(name, sha256)
        self._also = {metric_key(m): m for m in (metric(*one) for one in also)}

    @property
    def smooth(self) -> bool:
        """Whether all metrics are distances, none of them a number of right answers."""
        return all(isinstance(m, Elementwise) for m in (self._metric, *self._also.values()))

    def of(self, session: Session, part: ReferenceSplit) -> Accuracy:
        """An engine's, at the worst of the sets of input shapes.

        Raises:
            RunError: The engine failed.
        """
        return self._of(session, part, {"": self._metric})[""]

    def every(self, session: Session, part: ReferenceSplit) -> Scores:
        """`of` by every metric, from the same outputs.

        Raises:
            RunError: The engine failed.
        """
        scores = self._of(session, part, {"": self._metric, **self._also})
        return Scores(scores.pop(""), scores)

    def of_some(
        self, part: ReferenceSplit, seen: Sequence[int], outputs: Sequence[Mapping[str, Array]]
    ) -> Scores:
        """Those of the outputs for the feeds at the positions ``seen``."""
        references = tuple(part.reference[i] for i in seen)
        some = ReferenceSplit(part.data.take(seen), references)
        also = {key: _scored(one, outputs, some) for key, one in self._also.items()}
        return Scores(_scored(self._metric, outputs, some), also)

    def _of(
        self, session: Session, part: ReferenceSplit, metrics: Mapping[str, Metric]
    ) -> dict[str, Accuracy]:
        rows: dict[str, list[Accuracy]] = {key: [] for key in metrics}
        for one in (part, *part.also):
            outputs = [session.run(feed) for feed in one.data.feeds]
            for key, measure in metrics.items():
                accuracy = _scored(measure, outputs, one)
                accuracy = with_lost_parts(measure, accuracy, outputs, one.reference)
                rows[key].append(replace(accuracy, shapes=one.name))
        return {key: worst_of(accuracy) for key, accuracy in rows.items()}


def _scored(measure: Metric, outputs: Sequence[Feed], part: ReferenceSplit) -> Accuracy:
    labels, sizes = part.data.flat_labels, part.data.sizes
    return measure.score(outputs, part.reference, labels, sizes=sizes)
