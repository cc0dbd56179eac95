"""What a correction is judged by: the loss of INT8 everywhere and in parts of the model."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from precsearch.core.errors import EngineError, ModelError, WorkerError
from precsearch.core.precision import Precision
from precsearch.core.space import Assignment, SearchSpace
from precsearch.executors.client import ReferenceClient
from precsearch.graph.operators import CONVOLUTIONS
from precsearch.graph.view import GraphView
from precsearch.lowering.lower import Lowering
from precsearch.measurement.service import ReferenceSplit
from precsearch.metrics import Metric, metric

__all__ = ["Judge", "clearest", "gain"]

_SAMPLES = 8
"""To judge by; with a batch, the feeds that hold as many."""


@dataclass(frozen=True)
class Judge:
    """Measures losses of INT8 without an engine: the reference runs the lowered model.

    Attributes:
        space: The groups.
        graph: The prepared model.
        metric: Of the run.
        searched: The search part with the outputs that are wanted.
        worker: Runs the reference.
        first: Of the feeds to judge by; those before it gave the ranges.
    """

    space: SearchSpace
    graph: GraphView
    metric: Metric
    searched: ReferenceSplit
    worker: ReferenceClient
    first: int = 0

    def losses(self, lowering: Lowering, until: float = math.inf) -> tuple[float, ...]:
        """By assignment; infinite where the model does not run.

        Args:
            lowering: Makes the models.
            until: Time of the monotonic clock, in seconds, from which on no further model is run.

        Raises:
            TimeoutError: That time has come before all of them were run.
        """
        part = self.searched.data.holding(_SAMPLES, self.first)
        reference = self.searched.reference[self.first : self.first + len(part)]
        # A few samples resolve relative L2, unlike a number of right answers.
        judge = metric("rel-l2") if self.metric.discrete else self.metric
        losses = []
        for assignment in self._assignments:
            if time.monotonic() > until:
                raise TimeoutError
            try:
                model = lowering.lower(assignment).model
                outputs = self.worker.outputs(part.feeds, model)
            except (ModelError, EngineError, WorkerError):
                losses.append(math.inf)
                continue
            labels = part.flat_labels
            losses.append(judge.score(outputs, reference, labels, sizes=part.sizes).loss)
        return tuple(losses)

    @cached_property
    def _assignments(self) -> tuple[Assignment, ...]:
        every = (self.space.uniform(Precision.INT8), _half(self.space), _weighted(self))
        return tuple(dict.fromkeys(a for a in every if a.keys_at(Precision.INT8)))


def _half(space: SearchSpace) -> Assignment:
    whole = space.uniform(Precision.INT8)
    keys = [key for key, precision in whole.entries if precision is Precision.INT8]
    drawn = np.random.default_rng(0).permutation(len(keys))[: len(keys) // 2]
    out = frozenset(keys[i] for i in drawn)
    return space.canonical(Assignment(tuple(e for e in whole.entries if e[0] not in out)))


def _weighted(judge: Judge) -> Assignment:
    """INT8 where a product has weights alone: attention and sums can drown everything else."""
    weighted = {
        n.key
        for n in judge.graph.nodes
        if n.is_op(*CONVOLUTIONS, "Gemm", "MatMul") and n.inputs[1] in judge.graph.weights
    }
    entries = judge.space.uniform(Precision.INT8).entries
    kept = (e for e in entries if not weighted.isdisjoint(judge.space.by_key[e[0]].nodes))
    return judge.space.canonical(Assignment(tuple(kept)))


def clearest(before: Sequence[float], after: Sequence[float]) -> tuple[float, float]:
    """The losses of the assignment of which least is left."""
    return min(zip(before, after, strict=True), key=lambda pair: pair[1] / max(pair[0], 1e-300))


def gain(before: Sequence[float], after: Sequence[float]) -> float:
    """What is left of the losses, in the geometric mean; infinite if an assignment fails."""
    shares = []
    for old, new in zip(before, after, strict=True):
        if not math.isfinite(new):
            return math.inf
        shares.append(1.0 if old == new else new / old if 0 < old < math.inf else 0.0)
    return math.prod(shares) ** (1 / len(shares))
