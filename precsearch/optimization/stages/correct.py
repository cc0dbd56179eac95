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
from functools import cached_property, partial

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
from precsearch.lowering.qdq.shifts import bias_holder, weight_axis
from precsearch.measurement.service import ReferenceSplit
from precsearch.optimization.stages.calibrate import calibrated
from precsearch.optimization.stages.corrected import Corrected, CorrectedLowerings
from precsearch.optimization.stages.correction.judge import Judge
from precsearch.optimization.stages.correction.ranges import Ask, RangeCandidate, range_candidates
from precsearch.optimization.stages.correction.trials import Candidate, Trials
from precsearch.optimization.stages.corrections_file import (
    Corrections,
    corrections_path,
    read_corrections,
    write_corrections,
)
from precsearch.rewrites.scaling.equalize import EQUALIZE
from precsearch.rewrites.scaling.scale_choice import (
    chosen_scales,
    scalable_axes,
    smooth_scales,
    smoothable_axes,
)
from precsearch.rewrites.scaling.smooth import SMOOTH
from precsearch.setup.config import OptimizeConfig
from precsearch.setup.inputs import Inputs
from precsearch.setup.target import Target

__all__ = ["BIAS", "RANGES", "SHARE_OF_BUDGET", "Correcting"]

SHARE_OF_BUDGET = 0.15
"""Of the time budget: no further correction is tried beyond it."""

_STATISTICS_SAMPLES = 64
"""Calibration samples that channels are looked at on: peaks and means change little from there."""

_ENOUGH_TO_HALVE = 8
"""Samples from which on half of them are enough to judge by."""

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
        """The corrections that help together."""
        start = time.monotonic()
        space, graph = self.target.space, self.target.graph
        first = len(self.searched.data) // 2 if self._shared else 0
        judge = Judge(space, graph, self.inputs.metric, self.searched, self.worker, first)

        def losses(tried: Corrections, until: float) -> tuple[float, ...] | None:
            corrected = self._made(tried)
            return None if corrected is None else judge.losses(corrected.lowering, until)

        budget = self.config.time_budget
        seconds = math.inf if budget is None else SHARE_OF_BUDGET * budget
        names = self.config.corrections
        trials = Trials(names, self._candidates, losses, self.worker, start, seconds)
        return trials.best(judge.losses(self.lowering))

    @property
    def _shared(self) -> bool:
        """Whether ranges come from the samples that losses are measured on.

        Then the first half gives the ranges to judge and the second half judges them: what fits
        few samples to the last value is no better on others.
        """
        parts = self.inputs.parts
        alike = parts.calibration.digest == parts.search.digest
        return alike and len(self.searched.data) >= _ENOUGH_TO_HALVE

    def _candidates(self, name: str, kept: Corrections, ask: Ask) -> Iterator[Candidate]:
        if name == RANGES:
            yield from self._ranges(kept, ask)
            return
        found: Iterator[Corrections] = iter(())
        if name == EQUALIZE or (
            name == SMOOTH and Quirk.CHEAP_FACTORS in self.target.scheme.quirks
        ):
            found = self._scaled(kept, name, ask)
        elif name == DYNAMIC:
            found = self._dynamic(kept)
        elif name == BIAS:
            found = self._shifts(kept, ask)
        yield from map(Candidate, found)

    def _scaled(self, kept: Corrections, name: str, ask: Ask) -> Iterator[Corrections]:
        """With channels scaled, in the weights alone or by a Mul in front of products."""
        made = self._made(kept)
        if made is None:
            return
        target = made.target
        graph = target.graph
        axes = (scalable_axes if name == EQUALIZE else smoothable_axes)(graph)
        ranks = {tensor: len(graph.shapes[tensor]) for tensor, _ in axes}
        folder = target.options.model_folder
        request = ChannelRequest(_bare(target), folder, axes, ranks, ask.seconds)
        feeds = self.inputs.parts.calibration.holding(_STATISTICS_SAMPLES).feeds
        found = self.worker.channels(request, feeds)
        scales = (chosen_scales if name == EQUALIZE else smooth_scales)(graph, found)
        if scales:
            yield replace(kept, rewrites=(*kept.rewrites, (name, scales)))

    def _dynamic(self, kept: Corrections) -> Iterator[Corrections]:
        graph, scheme = self.target.graph, self.target.scheme
        groups = self.target.space.groups
        decided = {n for g in groups if Precision.INT8 in g.choices for n in g.nodes}
        nodes = (n for n in graph.nodes if n.key in decided)
        candidates = tuple(n.key for n in nodes if can_be_dynamic(n, graph, scheme))
        if candidates:
            yield replace(kept, dynamic=candidates)

    def _ranges(self, kept: Corrections, ask: Ask) -> Iterator[Candidate]:
        corrected = self._made(kept)
        feeds, method = self.inputs.parts.calibration.feeds, self.config.calibration_method
        if corrected is None:
            return
        for found in range_candidates(corrected.target, ask, feeds, method, self._shared):
            yield Candidate(replace(kept, ranges=found.judged), partial(_with_ranges, kept, found))

    def _shifts(self, kept: Corrections, ask: Ask) -> Iterator[Corrections]:
        corrected = self._made(kept)
        if corrected is None:
            return
        target, lowering = corrected.target, corrected.lowering
        lowered = lowering.lower(target.space.uniform(Precision.INT8))
        graph = target.graph
        holders = {n.key: bias_holder(n, graph) for n in graph.nodes}
        layers = tuple(
            ShiftedLayer(
                *(node.key, lowered.params[node.inputs[0]], graph.rank(node.outputs[0]) or 0),
                weight_axis(node),
            )
            for node in graph.nodes
            if holders[node.key] is not None
            and lowered.asked.get(node.key) is Precision.INT8
            and node.inputs[0] in lowered.params
            and graph.rank(node.outputs[0])
        )
        folder = target.options.model_folder
        request = ShiftRequest(_bare(target), folder, layers, target.scheme, ask.seconds)
        feeds = self.inputs.parts.calibration.holding(_STATISTICS_SAMPLES).feeds
        shifts = self.worker.shifts(request, feeds)
        held = {
            one.key: encode_halves(shifts[k]) for k, one in holders.items() if one and k in shifts
        }
        if held:
            yield replace(kept, shifts=held)


def _with_ranges(kept: Corrections, found: RangeCandidate) -> Corrections:
    return replace(kept, ranges=found.whole())


def _bare(target: Target) -> bytes:
    """The model of a target in FP32, serialized."""
    scales = RangeScales({}, target.scheme)
    return Lowering(target.graph, target.space, target.scheme, scales).lower(Assignment()).model
