"""Corrections of INT8: each is tried on samples before the search and kept if INT8 gets better.

Nothing is built and nothing timed: the lowered model is run by the reference, which computes what
its QuantizeLinear and DequantizeLinear nodes say. What is kept costs nothing at run time, so an
engine with it is as fast as one without.
"""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

from precsearch.calibration.bias_shift import ShiftedLayer, ShiftRequest
from precsearch.calibration.channels import ChannelRequest
from precsearch.codec.vectors import encode_halves
from precsearch.core.events import Event, StageStarted
from precsearch.core.precision import Precision
from precsearch.core.quantization import Quirk
from precsearch.core.space import Assignment
from precsearch.executors.client import ReferenceClient
from precsearch.lowering.lower import Lowering
from precsearch.lowering.qdq.dynamic import can_be_dynamic
from precsearch.lowering.qdq.scales import RangeScales
from precsearch.lowering.qdq.shifts import can_be_shifted
from precsearch.measurement.service import ReferenceSplit
from precsearch.optimization.stages.calibrate import calibrated
from precsearch.optimization.stages.corrected import Corrected, CorrectedLowerings
from precsearch.optimization.stages.correction_judge import Judge, clearest, gain
from precsearch.optimization.stages.correction_ranges import range_candidates
from precsearch.optimization.stages.corrections_file import (
    Corrections,
    corrections_path,
    read_corrections,
    write_corrections,
)
from precsearch.plan.evidence import CorrectionEvidence
from precsearch.rewrites.equalize import EQUALIZE
from precsearch.rewrites.scale_choice import (
    chosen_scales,
    scalable_axes,
    smooth_scales,
    smoothable_axes,
)
from precsearch.rewrites.smooth import SMOOTH
from precsearch.setup.config import OptimizeConfig
from precsearch.setup.inputs import Inputs
from precsearch.setup.target import Target

__all__ = ["Correcting"]

_HELPS = 0.9
"""A correction that leaves more of INT8's loss than this only rounds otherwise."""

_SHARE_OF_BUDGET = 0.15
"""Of the time budget: no further correction is tried beyond it."""

DYNAMIC = "dynamic"
RANGES = "ranges"
BIAS = "bias"


@dataclass(frozen=True)
class Correcting:
    """What there is to correct.

    Attributes:
        config: What the user asked for.
        target: The model, calibrated.
        lowering: Of it.
        inputs: Its data.
        searched: The search part with the outputs that are wanted.
        worker: Serves the reference.
    """

    config: OptimizeConfig
    target: Target
    lowering: Lowering
    inputs: Inputs
    searched: ReferenceSplit
    worker: ReferenceClient

    @cached_property
    def _corrections(self) -> CorrectedLowerings:
        def calibrated_again(target: Target) -> tuple[Target, Lowering]:
            method, run_dir = self.config.calibration_method, self.config.run_path
            return calibrated(target, self.inputs, method, self.worker, run_dir)[:2]

        return CorrectedLowerings(self.target, self.lowering, calibrated_again)

    def _made(self, corrections: Corrections) -> Corrected | None:
        return self._corrections.made(corrections)

    def events(self) -> Generator[Event, None, Corrected]:
        """Try every correction that the run allows.

        Raises:
            WorkerError: The worker crashed or hung on the model.
        """
        plain = Corrected(self.target, self.lowering)
        whole = self.target.space.uniform(Precision.INT8)
        if not self.config.corrections or not whole.keys_at(Precision.INT8):
            return plain
        path = corrections_path(self.config, self.target, self.inputs)
        known = read_corrections(path)
        if known is None:
            yield StageStarted("correct", "what makes INT8 more accurate")
            known = self._found()
            write_corrections(path, known)
        return self._made(known) or plain

    def _found(self) -> Corrections:
        """The corrections that help, one after the other."""
        deadline = math.inf
        if self.config.time_budget is not None:
            deadline = time.monotonic() + _SHARE_OF_BUDGET * self.config.time_budget
        kept = Corrections()
        space, graph = self.target.space, self.target.graph
        judge = Judge(space, graph, self.inputs.metric, self.searched, self.worker)
        before = judge.losses(self.lowering)
        for name in self.config.corrections:
            if time.monotonic() > deadline:
                break
            best, least = kept, before
            for tried in self._candidates(name, kept):
                made = self._made(tried)
                losses = None if made is None else judge.losses(made.lowering)
                if losses is not None and gain(least, losses) < 1:
                    best, least = tried, losses
                if time.monotonic() > deadline:
                    break
            helps = best is not kept and gain(before, least) <= _HELPS
            if best is not kept:
                old, new = clearest(before, least)
                row = CorrectionEvidence(name, helps, _short(old), _short(new))
                kept = replace(best if helps else kept, evidence=(*kept.evidence, row))
            before = least if helps else before
        return kept

    def _candidates(self, name: str, kept: Corrections) -> Iterator[Corrections]:
        if name == EQUALIZE:
            yield from self._scaled(kept, EQUALIZE)
        elif name == SMOOTH and Quirk.CHEAP_FACTORS in self.target.scheme.quirks:
            yield from self._scaled(kept, SMOOTH)
        elif name == DYNAMIC:
            yield from self._dynamic(kept)
        elif name == RANGES:
            yield from self._ranges(kept)
        elif name == BIAS:
            yield from self._shifts(kept)

    def _scaled(self, kept: Corrections, name: str) -> Iterator[Corrections]:
        """With channels scaled, in the weights alone or by a Mul in front of products."""
        made = self._made(kept)
        if made is None:
            return
        target = made.target
        graph = target.graph
        axes = (scalable_axes if name == EQUALIZE else smoothable_axes)(graph)
        ranks = {tensor: len(graph.shapes[tensor]) for tensor, _ in axes}
        request = ChannelRequest(_bare(target), target.options.model_folder, axes, ranks)
        found = self.worker.channels(request, self.inputs.parts.calibration.feeds)
        scales = (chosen_scales if name == EQUALIZE else smooth_scales)(graph, found)
        if scales:
            yield replace(kept, rewrites=(*kept.rewrites, (name, scales)))

    def _dynamic(self, kept: Corrections) -> Iterator[Corrections]:
        graph, scheme = self.target.graph, self.target.scheme
        groups = self.target.space.groups
        decided = {n for g in groups if Precision.INT8 in g.choices for n in g.nodes}
        nodes = (n for n in graph.nodes if n.key in decided)
        found = tuple(n.key for n in nodes if can_be_dynamic(n, graph, scheme))
        if found:
            yield replace(kept, dynamic=found)

    def _ranges(self, kept: Corrections) -> Iterator[Corrections]:
        made = self._made(kept)
        feeds, method = self.inputs.parts.calibration.feeds, self.config.calibration_method
        if made is not None:
            for ranges in range_candidates(made.target, feeds, method, self.worker):
                yield replace(kept, ranges=ranges)

    def _shifts(self, kept: Corrections) -> Iterator[Corrections]:
        made = self._made(kept)
        if made is None:
            return
        target, lowering = made.target, made.lowering
        lowered = lowering.lower(target.space.uniform(Precision.INT8))
        layers = tuple(
            ShiftedLayer(node.key, lowered.params[node.inputs[0]])
            for node in target.graph.nodes
            if can_be_shifted(node, target.graph)
            and lowered.asked.get(node.key) is Precision.INT8
            and node.inputs[0] in lowered.params
        )
        folder = target.options.model_folder
        request = ShiftRequest(_bare(target), folder, layers, target.scheme)
        found = self.worker.shifts(request, self.inputs.parts.calibration.feeds)
        if found:
            yield replace(kept, shifts={key: encode_halves(row) for key, row in found.items()})


def _bare(target: Target) -> bytes:
    """The model of a target in FP32, serialized."""
    scales = RangeScales({}, target.scheme)
    return Lowering(target.graph, target.space, target.scheme, scales).lower(Assignment()).model


def _short(value: float) -> float:
    return float(f"{value:.4g}")
