"""Sets of ranges that a run tries: one method for all tensors, and the best one of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

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

__all__ = ["Ranges", "range_candidates"]

_CHOOSING_SAMPLES = 4
"""Calibration samples that ranges are chosen by, tensor by tensor: dozens of candidates run."""

_USEFUL = "useful"

Ranges = Mapping[str, tuple[str, TensorRange]]
"""Tensor → how its range was found, and the range."""


def range_candidates(
    target: Target, feeds: Sequence[Feed], method: str, worker: ReferenceClient
) -> Iterator[Ranges]:
    """Ranges to judge, those that cost little to find first.

    Every set leaves out what saturates behind a tensor (`precsearch.calibration.saturation`).

    Args:
        target: The model.
        feeds: Calibration samples.
        method: Of the run; what it found is not tried again.
        worker: Runs the model.
    """
    tensors = quantizable(target.graph, target.scheme, target.space)
    every = tuple(sorted(frozenset().union(*tensors.values())))
    bare = Lowering(target.graph, target.space, target.scheme, RangeScales({}, target.scheme))
    model = bare.lower(Assignment()).model
    calibration = Calibration(model, target.options.model_folder, every)
    curves = curves_behind(every, target.graph)
    found = worker.ranges_by_method(calibration, feeds, METHODS)
    for name in sorted(METHODS, key=lambda m: m == "minmax"):
        whole = _useful({t: (name, one) for t, one in found[name].items()}, curves)
        if name != method or any(how.endswith(_USEFUL) for how, _ in whole.values()):
            yield whole
    request = RangeRequest(calibration, target.scheme)
    chosen = worker.best_ranges(request, feeds[:_CHOOSING_SAMPLES])
    plain = found["minmax"]
    best = {
        tensor: (one.method, plain[tensor] if one.method == "minmax" else one.found)
        for tensor, one in chosen.items()
        if tensor in plain
    }
    yield _useful(best, curves)


def _useful(ranges: Ranges, curves: Mapping[str, Curves]) -> Ranges:
    made = dict(ranges)
    for tensor in curves.keys() & ranges.keys():
        method, whole = ranges[tensor]
        cut = useful_range(whole, curves[tensor])
        if cut != whole:
            made[tensor] = (f"{method}, {_USEFUL}", cut)
    return made
