"""Several labels a sample: which decisions at a threshold the engine takes otherwise than FP32."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from precsearch.core.backend import Feed
from precsearch.core.errors import DataError
from precsearch.metrics.blocks import Bools
from precsearch.metrics.resample import Floats
from precsearch.metrics.tasks.sampled import (
    Losses,
    SampledMetric,
    floats_of,
    parameters_of,
    probabilities,
    refusal,
)

__all__ = ["Decisions", "decisions"]

_RANK = 2


@dataclass(frozen=True)
class Decisions(SampledMetric):
    """1 - F1 of the classes above a threshold, FP32's being the truth; the mean over thresholds.

    Attributes:
        thresholds: On probabilities; outputs outside of [0, 1] are logits.
    """

    name: str = "decisions"
    thresholds: tuple[float, ...] = (0.3, 0.5, 0.7)

    def losses(self, outputs: Sequence[Feed], reference: Sequence[Feed]) -> Losses:
        """See `SampledMetric.losses`.

        Raises:
            DataError: FP32 gives no class in any sample.
            OptionError: No output is ``[batch, classes]``.
        """
        name = next((n for n, a in floats_of(reference[0]).items() if a.ndim == _RANK), None)
        if name is None:
            raise refusal(self.name, "scores of shape [batch, classes]", reference[0])
        raw = np.concatenate([floats_of(f)[name] for f in reference])
        scores = probabilities(np.concatenate([floats_of(f)[name] for f in outputs]), raw)
        expected = probabilities(raw, raw)
        if not (expected > min(self.thresholds)).any():
            raise DataError(
                f"FP32 gives no class above {min(self.thresholds):g} in any sample, so that "
                f"{self.name} compares nothing; give lower thresholds (decisions@0.1,0.2)"
            )
        rows = [_f1(scores > t, expected > t) for t in self.thresholds]
        return 1 - np.mean(rows, axis=0), np.ones(len(raw))


def decisions(name: str, parameter: str) -> Decisions:
    """``decisions``, or ``decisions@THRESHOLD,…``.

    Raises:
        OptionError: A threshold is no probability.
    """
    return Decisions(name, parameters_of(name, parameter, 0, 1) if parameter else (0.3, 0.5, 0.7))


def _f1(predicted: Bools, expected: Bools) -> Floats:
    """F1 per row; 1 where neither has any."""
    both = (predicted & expected).sum(axis=1)
    total = predicted.sum(axis=1) + expected.sum(axis=1)
    found_f1: Floats = np.where(total > 0, 2 * both / np.maximum(total, 1), 1.0)
    return found_f1
