"""Sets of ranges that a run tries: one method for all tensors, and the best one of each."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from precsearch.calibration.range_choice import RangeRequest
from precsearch.calibration.ranges import METHODS, Calibration
from precsearch.calibration.saturation import Curves, curves_behind, useful_range
from precsearch.core.backend import Feed
from precsearch.core.space import Assignment
from precsearch.executors.client import ReferenceClient
from precsearch.lowering.lower import Lowering
from precsearch.lowering.qdq.reach import quantizable
from precsearch.lowering.qdq.scales import RangeScales, TensorRange
from precsearch.setup.target import Target

__all__ = ["Ask", "RangeCandidate", "Ranges", "range_candidates"]

_CHOOSING_SAMPLES = 4
"""Calibration samples that ranges are chosen by, tensor by tensor: dozens of candidates run."""

_USEFUL = "useful"

Ranges = Mapping[str, tuple[str, TensorRange]]
"""Tensor → how its range was found, and the range."""


@dataclass(frozen=True)
class Ask:
    """Who runs a model, and until when.

    Attributes:
        worker: Runs it.
        until: Time of the monotonic clock, in seconds.
    """

    worker: ReferenceClient
    until: float

    @property
    def seconds(self) -> float:
        """What is left."""
        return self.until - time.monotonic()

    def within(self, calibration: Calibration) -> Calibration:
        """A calibration that ends by then."""
        return replace(calibration, seconds=self.seconds)


@dataclass(frozen=True)
class RangeCandidate:
    """A set of ranges.

    Attributes:
        judged: From the samples that leave others to judge by.
        whole: Makes the set from all samples. Raises `ModelError` where there is no time for that.
    """

    judged: Ranges
    whole: Callable[[], Ranges]


def range_candidates(
    target: Target, ask: Ask, feeds: Sequence[Feed], method: str, unseen: bool
) -> Iterator[RangeCandidate]:
    """Sets of ranges to judge; those that cost little to find first.

    Every set leaves out what saturates behind a tensor (`precsearch.calibration.saturation`). The
    last ones are left out where there would be no time to make a set from all samples.

    Args:
        target: The model.
        ask: Runs the model.
        feeds: Calibration samples.
        method: Of the run; what it found is not tried again.
        unseen: Whether ranges are judged by samples of the second half of ``feeds``, so that those
            to judge come from the first half alone.

    Raises:
        ModelError: ONNX Runtime refuses the model, or there is no time left.
    """
    tensors = quantizable(target.graph, target.scheme, target.space)
    every = tuple(sorted(frozenset().union(*tensors.values())))
    bare = Lowering(target.graph, target.space, target.scheme, RangeScales({}, target.scheme))
    model = bare.lower(Assignment()).model
    calibration = Calibration(model, target.options.model_folder, every)
    curves = curves_behind(every, target.graph)
    shown = feeds[: len(feeds) // 2] if unseen else feeds
    left = ask.seconds
    ranges = ask.worker.ranges_by_method(ask.within(calibration), shown, METHODS)
    reserved = 2 * (left - ask.seconds) if unseen else 0.0  # all samples are twice as many

    def candidate(methods: Mapping[str, str]) -> RangeCandidate:
        def whole() -> Ranges:
            found = ranges
            if unseen:
                found = ask.worker.ranges_by_method(ask.within(calibration), feeds, METHODS)
            return _useful(_of_methods(methods, found), curves)

        return RangeCandidate(_useful(_of_methods(methods, ranges), curves), whole)

    for name in sorted(METHODS, key=lambda m: m == "minmax"):
        one = candidate(dict.fromkeys(every, name))
        if name != method or any(how.endswith(_USEFUL) for how, _ in one.judged.values()):
            yield one
            if ask.seconds < reserved:
                return
    request = RangeRequest(ask.within(calibration), target.scheme, ranges)
    chosen = ask.worker.best_ranges(request, shown[:_CHOOSING_SAMPLES])
    yield candidate({tensor: one.method for tensor, one in chosen.items()})


def _of_methods(
    methods: Mapping[str, str], found: Mapping[str, Mapping[str, TensorRange]]
) -> Ranges:
    known = ((t, name) for t, name in methods.items() if t in found[name])
    return {tensor: (name, found[name][tensor]) for tensor, name in known}


def _useful(ranges: Ranges, curves: Mapping[str, Curves]) -> Ranges:
    useful = dict(ranges)
    for tensor in curves.keys() & ranges.keys():
        method, whole = ranges[tensor]
        cut = useful_range(whole, curves[tensor])
        if cut != whole:
            useful[tensor] = (f"{method}, {_USEFUL}", cut)
    return useful
