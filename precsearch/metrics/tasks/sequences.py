"""Text: the edit distance between what the engine's and FP32's outputs read as.

Greedy decoding of connectionist temporal classification (Graves et al., 2006): the best class of
every step, repetitions as one, blanks left out. The loss is the number of insertions, deletions and
substitutions (Levenshtein, 1966) over the length of FP32's text: a character error rate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from precsearch.core.backend import Feed
from precsearch.core.errors import DataError
from precsearch.metrics.resample import Floats
from precsearch.metrics.tasks.sampled import (
    Losses,
    SampledMetric,
    floats_of,
    parameters_of,
    refusal,
)

__all__ = ["EditDistance", "edit_distance", "edits"]

_RANK = 3


@dataclass(frozen=True)
class EditDistance(SampledMetric):
    """Character error rate against FP32's own text.

    Attributes:
        blank: Class of the blank; ``None`` is the one that FP32 gives most often.
    """

    name: str = "edit-distance"
    blank: int | None = None

    def losses(self, outputs: Sequence[Feed], reference: Sequence[Feed]) -> Losses:
        """See `SampledMetric.losses`; a sample weighs as much as its text is long, at least 1.

        Raises:
            DataError: FP32 reads nothing in any sample.
            OptionError: No output is ``[batch, steps, classes]``.
        """
        name = next((n for n, a in floats_of(reference[0]).items() if a.ndim == _RANK), None)
        if name is None:
            raise refusal(self.name, "scores of shape [batch, steps, classes]", reference[0])
        expected = [row for feed in reference for row in floats_of(feed)[name].argmax(axis=2)]
        sequences = [row for feed in outputs for row in floats_of(feed)[name].argmax(axis=2)]
        blank = self.blank
        if blank is None:
            blank = int(np.bincount(np.concatenate(expected)).argmax())
        texts = [_text(row, blank) for row in expected]
        if not any(len(t) for t in texts):
            raise DataError(
                f"FP32 reads nothing in any sample, if {blank} is the blank, so that {self.name} "
                "compares nothing; give samples with text, or the blank's class (edit-distance@0)"
            )
        lengths = [max(len(t), 1) for t in texts]
        errors = [
            edits(_text(row, blank), text) / length
            for row, text, length in zip(sequences, texts, lengths, strict=True)
        ]
        return np.array(errors), np.array(lengths, dtype=np.float64)


def edit_distance(name: str, parameter: str) -> EditDistance:
    """``edit-distance``, or ``edit-distance@BLANK``.

    Raises:
        OptionError: The parameter is no class.
    """
    blank = int(parameters_of(name, parameter, 0, 1e6)[0]) if parameter else None
    return EditDistance(name, blank)


def _text(classes: npt.NDArray[np.generic], blank: int) -> tuple[int, ...]:
    """Repetitions as one, without blanks."""
    steps = [int(c) for c in classes]
    return tuple(c for i, c in enumerate(steps) if c != blank and (i == 0 or c != steps[i - 1]))


def edits(a: Sequence[int], b: Sequence[int]) -> int:
    """Fewest insertions, deletions and substitutions that make ``a`` into ``b``."""
    row: Floats = np.arange(len(b) + 1, dtype=np.float64)
    other = np.asarray(b)
    for i, symbol in enumerate(a, 1):
        changed = row[:-1] + (other != symbol)
        new = np.concatenate([[i], np.minimum(changed, row[1:] + 1)])
        # Insertions go from left to right: the least of what is to the left, a step each.
        row = np.minimum.accumulate(new - np.arange(len(new))) + np.arange(len(new))
    return int(row[-1])
