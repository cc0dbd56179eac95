"""Calibration: the range of every tensor that some assignment may quantize.

``minmax`` reduces inside the graph, so that no tensor leaves it. The other methods need histograms;
tensors are then read a few at a time, within a memory budget, in a second pass. The first one tells
how large they are.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from precsearch.calibration.range_cuts import BINS, CUTS, histogram
from precsearch.core.backend import Feed
from precsearch.core.errors import ModelError, OptionError
from precsearch.lowering.qdq.scales import TensorRange
from precsearch.reference.session import first_line, open_reference, ort_errors
from precsearch.reference.side_by_side import run_in_order
from precsearch.reference.taps import put_behind

__all__ = [
    "METHODS",
    "Calibration",
    "check_method",
    "collect_ranges",
    "ranges_by_method",
    "run_feeds",
]

METHODS = ("minmax", "percentile", "mse", "entropy")

_BUDGET_BYTES = 256 << 20
_AT_ONCE = 64
"""Tensors that are read in one pass, at most."""
_ZERO = "precsearch//zero"
_FLOAT, _INT64 = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64


@dataclass(frozen=True)
class Calibration:
    """What to calibrate.

    Attributes:
        model: The prepared model in FP32, serialized.
        model_folder: Folder of its external weights, if it has any.
        tensors: Names of the tensors to look at.
        method: ``minmax``, ``percentile`` (99.99 % of the values) or ``mse`` (the range with the
            least squared rounding and clipping error) or ``entropy`` (the range whose distribution
            loses least).
        levels: Steps of the quantized type, 255 for eight bits.
        seconds: What it may take.
    """

    model: bytes
    model_folder: str
    tensors: tuple[str, ...]
    method: str = "minmax"
    levels: int = 255
    seconds: float = math.inf

    def __post_init__(self) -> None:
        check_method(self.method)


def check_method(name: str) -> None:
    """Refuse an unknown calibration method.

    Raises:
        OptionError: It is none of `METHODS`.
    """
    if name not in METHODS:
        raise OptionError(
            f"there is no calibration method {name!r}; use one of {', '.join(METHODS)}"
        )


def collect_ranges(calibration: Calibration, feeds: Sequence[Feed]) -> dict[str, TensorRange]:
    """Ranges by tensor name; a tensor that was ever not finite is left out.

    Raises:
        ModelError: ONNX Runtime refuses the model or a feed.
    """
    return ranges_by_method(calibration, feeds, (calibration.method,))[calibration.method]


def ranges_by_method(
    calibration: Calibration, feeds: Sequence[Feed], methods: Sequence[str]
) -> dict[str, dict[str, TensorRange]]:
    """What `collect_ranges` finds with each of some methods, from the same histograms.

    Raises:
        ModelError: ONNX Runtime refuses the model or a feed, or there is no time for all feeds.
    """
    if not calibration.tensors:
        return {method: {} for method in methods}
    until = time.monotonic() + calibration.seconds
    cut = [method for method in methods if method != "minmax"]
    ranges, sizes = _min_max(calibration, feeds, until, sized=bool(cut))
    by_method = {method: dict(ranges) for method in methods}
    for name, counts in _histograms(calibration, feeds, ranges, sizes, until) if cut else ():
        for method in cut:
            by_method[method][name] = CUTS[method](counts, ranges[name], calibration.levels)
    return by_method


def _with_outputs(model: bytes, tensors: Sequence[str]) -> bytes:
    """The model with these tensors as its only outputs."""
    proto = onnx.ModelProto.FromString(model)
    del proto.graph.output[:]
    proto.graph.output.extend(_output(tensor) for tensor in tensors)
    return bytes(proto.SerializeToString())


def _output(tensor: str, elem_type: int = _FLOAT) -> onnx.ValueInfoProto:
    return onnx.helper.make_tensor_value_info(tensor, elem_type, None)


def _with_statistics(model: bytes, tensors: Sequence[str], *, sized: bool) -> bytes:
    """The model with three numbers per tensor as its only outputs: minimum, maximum, finite.

    *Finite* is 0 unless some value is infinite or NaN, which ReduceMin and ReduceMax skip at some
    positions. With ``sized`` a fourth one is the number of elements.
    """
    proto = onnx.ModelProto.FromString(model)
    graph = proto.graph
    graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(0, np.float32), _ZERO))
    behind: dict[str, list[onnx.NodeProto]] = {}
    del graph.output[:]
    for index, tensor in enumerate(tensors):
        nodes = _statistics(tensor, f"precsearch//{index}", sized=sized)
        behind.setdefault(tensor, []).extend(nodes)
        shown = (n for n in nodes if n.op_type != "Mul")
        graph.output.extend(
            _output(n.output[0], _INT64 if n.op_type == "Size" else _FLOAT) for n in shown
        )
    put_behind(graph, behind)
    return bytes(proto.SerializeToString())


def _statistics(tensor: str, stem: str, *, sized: bool) -> list[onnx.NodeProto]:
    node, zeros = onnx.helper.make_node, f"{stem}_zeros"
    size = [node("Size", [tensor], [f"{stem}_size"])] if sized else []
    return [
        node("ReduceMin", [tensor], [f"{stem}_min"], keepdims=0),
        node("ReduceMax", [tensor], [f"{stem}_max"], keepdims=0),
        node("Mul", [tensor, _ZERO], [zeros]),
        node("ReduceSum", [zeros], [f"{stem}_finite"], keepdims=0),
        *size,
    ]


def run_feeds(
    model: bytes, folder: str, feeds: Sequence[Feed], until: float = math.inf
) -> Iterator[list[npt.NDArray[Any]]]:
    """Outputs of a model for each feed, computed as the reference is.

    Args:
        model: Serialized.
        folder: Of its external weights.
        feeds: The samples.
        until: Time of the monotonic clock, in seconds, from which on no further feed is run.

    Raises:
        ModelError: ONNX Runtime refuses the model or a feed, or there is no time for all feeds.
    """
    errors = ort_errors()
    try:
        session = open_reference(model, folder)
        inputs = {i.name for i in session.get_inputs()}
        given = ({k: v for k, v in feed.items() if k in inputs} for feed in feeds)
        yield from run_in_order(session, model, _in_time(given, until))
    except errors as error:
        raise ModelError(f"calibration failed: {first_line(error)}") from error


def _in_time(feeds: Iterable[Feed], until: float) -> Iterator[Feed]:
    for feed in feeds:
        if time.monotonic() > until:
            raise ModelError("calibration failed: no time is left for all samples")
        yield feed


def _min_max(
    calibration: Calibration, feeds: Sequence[Feed], until: float, *, sized: bool
) -> tuple[dict[str, TensorRange], dict[str, int]]:
    """Ranges of the tensors that were always finite; with ``sized`` each one's bytes at most."""
    tensors = calibration.tensors
    model = _with_statistics(calibration.model, tensors, sized=sized)
    low = np.full(len(tensors), np.inf, np.float32)
    high = np.full(len(tensors), -np.inf, np.float32)
    finite = np.ones(len(tensors), np.bool_)
    largest = np.zeros(len(tensors))
    for values in run_feeds(model, calibration.model_folder, feeds, until):
        flat = np.array([float(v) for v in values]).reshape(len(tensors), -1)
        low = np.minimum(low, flat[:, 0].astype(np.float32))
        high = np.maximum(high, flat[:, 1].astype(np.float32))
        finite &= flat[:, 2] == 0
        largest = np.maximum(largest, 4 * flat[:, -1] if sized else 0)
    ranges = {
        t: TensorRange(float(a), float(b))
        for t, a, b, whole in zip(tensors, low, high, finite, strict=True)
        if whole and np.isfinite(a) and np.isfinite(b)
    }
    return ranges, dict(zip(tensors, largest.astype(int).tolist(), strict=True))


def _histograms(
    calibration: Calibration,
    feeds: Sequence[Feed],
    ranges: Mapping[str, TensorRange],
    sizes: Mapping[str, int],
    until: float,
) -> Iterator[tuple[str, npt.NDArray[np.int64]]]:
    """(tensor, counts of `BINS` equal bins over its range), a few tensors in memory at a time."""
    for names in _within_budget([t for t in calibration.tensors if t in ranges], sizes):
        counts = {t: np.zeros(BINS, np.int64) for t in names}
        model = _with_outputs(calibration.model, names)
        for values in run_feeds(model, calibration.model_folder, feeds, until):
            for name, value in zip(names, values, strict=True):
                counts[name] += histogram(value, ranges[name])
        yield from counts.items()


def _within_budget(tensors: Sequence[str], sizes: Mapping[str, int]) -> Iterator[list[str]]:
    """Parts that are read together, within `_BUDGET_BYTES` unless a part is one tensor."""
    part, taken = list[str](), 0
    for tensor in tensors:
        if part and (len(part) == _AT_ONCE or taken + sizes[tensor] > _BUDGET_BYTES):
            yield part
            part, taken = [], 0
        part.append(tensor)
        taken += sizes[tensor]
    if part:
        yield part
