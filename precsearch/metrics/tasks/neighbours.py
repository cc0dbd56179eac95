"""Embeddings: whether a sample's nearest neighbours are those that FP32 finds."""

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

__all__ = ["Recall", "recall"]

_RANK = 2


@dataclass(frozen=True)
class Recall(SampledMetric):
    """Share of the ``k`` nearest neighbours, by cosine among all samples, that the engine loses.

    Attributes:
        k: Neighbours of each sample.
    """

    name: str = "recall"
    k: int = 5

    def losses(self, outputs: Sequence[Feed], reference: Sequence[Feed]) -> Losses:
        """See `SampledMetric.losses`.

        Raises:
            DataError: There are not more than ``k + 1`` samples.
            OptionError: No output is ``[batch, features]``.
        """
        name = next((n for n, a in floats_of(reference[0]).items() if a.ndim == _RANK), None)
        if name is None:
            raise refusal(self.name, "embeddings of shape [batch, features]", reference[0])
        expected = np.concatenate([floats_of(f)[name] for f in reference])
        embeddings = np.concatenate([floats_of(f)[name] for f in outputs])
        if len(expected) <= self.k + 1:
            raise DataError(
                f"{len(expected)} samples are too few for {self.k} neighbours of each; give more "
                f"samples, or fewer neighbours (recall@{max(1, len(expected) - 2)})"
            )
        a, b = _nearest(embeddings, self.k), _nearest(expected, self.k)
        common = np.array([len(set(x) & set(y)) for x, y in zip(a, b, strict=True)])
        return 1 - common / self.k, np.ones(len(common))


def recall(name: str, parameter: str) -> Recall:
    """``recall``, or ``recall@K``.

    Raises:
        OptionError: The parameter is no number of neighbours.
    """
    return Recall(name, int(parameters_of(name, parameter, 1, 1e6)[0]) if parameter else 5)


def _nearest(rows: Floats, k: int) -> npt.NDArray[np.intp]:
    """Indices of the ``k`` nearest other rows of each row, ``[rows, k]``."""
    norms = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    unit = rows / np.where(norms > 0, norms, 1)[:, None]
    near = unit @ unit.T
    np.fill_diagonal(near, -np.inf)
    return np.argsort(-near, axis=1, kind="stable")[:, :k]
