"""The assignments of one model that are built for each target."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.typed.builds import Shapes
from precsearch.backends.tensorrt.rtx.backend import TensorRtRtxBackend
from precsearch.calibration.ranges import Calibration, collect_ranges
from precsearch.core.backend import BackendOptions, Feed
from precsearch.core.precision import Precision
from precsearch.core.problem import Prior
from precsearch.core.space import Assignment
from precsearch.data import input_specs
from precsearch.data.load import load
from precsearch.executors.open import worker_here
from precsearch.graph.reading.read import SourceModel, read_model
from precsearch.hazards.statistics import ScreenStatistics
from precsearch.lowering.lower import Lowering
from precsearch.lowering.qdq.reach import quantizable
from precsearch.lowering.qdq.scales import RangeScales, TensorRange
from precsearch.optimization.stages.screen import priors_of, screen_feeds
from precsearch.setup.target import Target, open_target

TARGETS = ("sm80", "sm89", "sm120")
SAMPLES = 4
_BACKEND = "tensorrt-rtx"


@dataclass(frozen=True)
class TypedSet:
    """One model for one target.

    Attributes:
        target: Such as ``sm89``.
        lowering: Of the model, with ranges.
        shapes: To build for.
        hazards: What the rules say.
        refused: Precision that the target lacks → why.
    """

    target: str
    lowering: Lowering
    shapes: list[Shapes]
    hazards: tuple[Prior, ...]
    refused: Mapping[Precision, str] = field(default_factory=dict)

    def assignments(
        self, count: int, uniform: tuple[Precision, ...]
    ) -> Iterator[tuple[str, Assignment]]:
        """Names and assignments: each precision on all, the same less the hazards, random ones.

        Args:
            count: Random assignments of the model; this target gets each third of them.
            uniform: Precisions that are asked for everywhere.
        """
        space = self.lowering.space
        for precision in (p for p in uniform if p not in self.refused):
            yield f"all {precision}", space.uniform(precision)
            bad = {p.key for p in self.hazards if p.precision.rank <= precision.rank}
            if bad and precision is not Precision.FP32:
                yield f"{precision} less hazards", space.uniform(precision, without=bad)
        for number in range(TARGETS.index(self.target), count, len(TARGETS)):
            rng = np.random.default_rng(number)
            drawn = {g.key: g.choices[rng.integers(len(g.choices))] for g in space.free}
            yield f"random {number}", space.canonical(Assignment.of(drawn))


def typed_sets(folder: Path, precisions: tuple[Precision, ...]) -> Iterator[TypedSet]:
    """A model for each target in turn, in the precisions that the target has."""
    source = read_model(folder / "model.onnx")
    known: dict[str, TensorRange] = {}
    screened: ScreenStatistics | None = None
    for to in TARGETS:
        refused = {p: why for p in precisions if (why := _lacks(to, p))}
        target = _opened(source, to, tuple(p for p in precisions if p not in refused))
        feeds = load(folder / "data.npz", input_specs(target.graph.inputs)).feeds[:SAMPLES]
        shapes: list[Shapes] = [{n: v.shape for n, v in feed.items()} for feed in feeds]
        lowering = _lowering(source, target, feeds, known)
        if screened is None:  # one graph for all targets
            with worker_here(target.source, target.facts) as worker:
                screened = screen_feeds(target, feeds, worker)
        yield TypedSet(to, lowering, shapes, tuple(priors_of(target, screened)), refused)


def _opened(source: SourceModel, to: str, precisions: tuple[Precision, ...]) -> Target:
    return open_target(source, _BACKEND, precisions, "group", 1, build={"target": to})


def _lacks(to: str, precision: Precision) -> str:
    """What a user is told who asks for a precision that a target lacks, "" if it has it."""
    return TensorRtRtxBackend(BackendOptions(build={"target": to})).unavailable({precision})


def _lowering(
    source: SourceModel, target: Target, feeds: Sequence[Feed], known: dict[str, TensorRange]
) -> Lowering:
    graph, scheme, space = target.graph, target.scheme, target.space
    tensors = frozenset().union(*quantizable(graph, scheme, space).values())
    if missing := tuple(sorted(tensors - known.keys())):
        plain = Lowering(graph, space, scheme, RangeScales({}, scheme)).lower(Assignment())
        where = str(source.folder) if source.external else ""
        known |= collect_ranges(Calibration(plain.model, where, missing), feeds)
    return Lowering(graph, space, scheme, RangeScales(known, scheme), target.form)
