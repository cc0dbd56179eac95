"""Calibration: the range of every tensor that some assignment may quantize.

``minmax`` reduces inside the graph, so that no tensor leaves it. The other methods need histograms;
tensors are then read a few at a time, within a memory budget, in a second pass.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from precsearch.core.backend import Feed
from precsearch.core.errors import ModelError, OptionError
from precsearch.lowering.qdq.scales import TensorRange
from precsearch.reference.session import first_line, open_reference, ort_errors
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

_BINS = 2048
_PERCENTILE = 99.99
_BUDGET_BYTES = 256 << 20
_MSE_STEPS = 64
_ZERO = "precsearch_zero"


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
    ranges = _min_max(calibration, feeds, until)
    by_method = {method: dict(ranges) for method in methods}
    cut = [method for method in methods if method != "minmax"]
    for name, counts in _histograms(calibration, feeds, ranges, until) if cut else ():
        for method in cut:
            by_method[method][name] = _CUTS[method](counts, ranges[name], calibration.levels)
    return by_method


def _with_outputs(model: bytes, tensors: Sequence[str]) -> bytes:
    """The model with these tensors as its only outputs."""
    proto = onnx.ModelProto.FromString(model)
    del proto.graph.output[:]
    proto.graph.output.extend(_output(tensor) for tensor in tensors)
    return bytes(proto.SerializeToString())


def _output(tensor: str) -> onnx.ValueInfoProto:
    return onnx.helper.make_tensor_value_info(tensor, onnx.TensorProto.FLOAT, None)


def _with_statistics(model: bytes, tensors: Sequence[str]) -> bytes:
    """The model with three numbers per tensor as its only outputs: minimum, maximum, finite.

    The last is 0 unless some value is infinite or NaN, which ReduceMin and ReduceMax skip at some
    positions.
    """
    proto = onnx.ModelProto.FromString(model)
    graph = proto.graph
    graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(0, np.float32), _ZERO))
    behind: dict[str, list[onnx.NodeProto]] = {}
    del graph.output[:]
    for index, tensor in enumerate(tensors):
        nodes = _statistics(tensor, f"precsearch_{index}")
        behind.setdefault(tensor, []).extend(nodes)
        graph.output.extend(_output(n.output[0]) for n in nodes if n.op_type != "Mul")
    put_behind(graph, behind)
    return bytes(proto.SerializeToString())


def _statistics(tensor: str, stem: str) -> list[onnx.NodeProto]:
    node, zeros = onnx.helper.make_node, f"{stem}_zeros"
    return [
        node("ReduceMin", [tensor], [f"{stem}_min"], keepdims=0),
        node("ReduceMax", [tensor], [f"{stem}_max"], keepdims=0),
        node("Mul", [tensor, _ZERO], [zeros]),
        node("ReduceSum", [zeros], [f"{stem}_finite"], keepdims=0),
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
        for feed in feeds:
            if time.monotonic() > until:
                raise ModelError("calibration failed: no time is left for all samples")
            yield session.run(None, {k: v for k, v in feed.items() if k in inputs})
    except errors as error:
        raise ModelError(f"calibration failed: {first_line(error)}") from error


def _min_max(
    calibration: Calibration, feeds: Sequence[Feed], until: float
) -> dict[str, TensorRange]:
    tensors = calibration.tensors
    model = _with_statistics(calibration.model, tensors)
    low = np.full(len(tensors), np.inf, np.float32)
    high = np.full(len(tensors), -np.inf, np.float32)
    finite = np.ones(len(tensors), np.bool_)
    for values in run_feeds(model, calibration.model_folder, feeds, until):
        flat = np.array([float(v) for v in values], np.float32).reshape(-1, 3)
        low, high = np.minimum(low, flat[:, 0]), np.maximum(high, flat[:, 1])
        finite &= flat[:, 2] == 0
    return {
        t: TensorRange(float(a), float(b))
        for t, a, b, whole in zip(tensors, low, high, finite, strict=True)
        if whole and np.isfinite(a) and np.isfinite(b)
    }


def _histograms(
    calibration: Calibration,
    feeds: Sequence[Feed],
    ranges: Mapping[str, TensorRange],
    until: float,
) -> Iterator[tuple[str, npt.NDArray[np.int64]]]:
    """(tensor, counts of `_BINS` equal bins over its range), a few tensors in memory at a time."""
    left = [t for t in calibration.tensors if t in ranges]
    chunk = 1
    while left:
        names, left = left[:chunk], left[chunk:]
        counts = {t: np.zeros(_BINS, np.int64) for t in names}
        largest = 1
        model = _with_outputs(calibration.model, names)
        for values in run_feeds(model, calibration.model_folder, feeds, until):
            for name, value in zip(names, values, strict=True):
                own = ranges[name]
                width = max(1.0, abs(own.low)) if own.high == own.low else 0.0
                span = (own.low, own.high + width)
                counts[name] += np.histogram(value, bins=_BINS, range=span)[0]
                largest = max(largest, value.nbytes)
        yield from counts.items()
        chunk = max(1, min(64, _BUDGET_BYTES // largest))


def _percentile(counts: npt.NDArray[np.int64], span: TensorRange, levels: int) -> TensorRange:
    """The range that holds `_PERCENTILE` of the values, cut evenly at both ends."""
    total = int(counts.sum())
    tail = (100 - _PERCENTILE) / 200 * total
    below, above = np.cumsum(counts), np.cumsum(counts[::-1])
    edges = np.linspace(span.low, span.high, _BINS + 1)
    low = span.low if span.low >= 0 else float(edges[int(np.searchsorted(below, tail))])
    high = float(edges[_BINS - int(np.searchsorted(above, tail))])
    return TensorRange(low, high)


def _least_error(counts: npt.NDArray[np.int64], span: TensorRange, levels: int) -> TensorRange:
    """The range, shrunk evenly towards zero, with the least expected squared error.

    Rounding costs step² / 12 a value within the range, clipping the squared distance to it
    (Banner et al., Post training 4-bit quantization, 2019, section 3).
    """
    edges = np.linspace(span.low, span.high, _BINS + 1)
    centres = (edges[:-1] + edges[1:]) / 2
    best, best_cost = span, np.inf
    for step in range(_MSE_STEPS):
        share = 1 - step / (_MSE_STEPS * 1.25)
        low, high = min(span.low, 0.0) * share, max(span.high, 0.0) * share
        width = (high - low) / levels
        outside = np.maximum(centres - high, 0) + np.maximum(low - centres, 0)
        inside = outside == 0
        cost = float(np.sum(counts * (outside**2 + inside * width**2 / 12)))
        if cost < best_cost:
            best, best_cost = TensorRange(low, high), cost
    return best


def _least_divergence(counts: npt.NDArray[np.int64], span: TensorRange, levels: int) -> TensorRange:
    """The range, shrunk evenly towards zero, whose quantized distribution is nearest.

    By the Kullback-Leibler divergence from the clipped distribution, as in NVIDIA's 8-bit Inference
    with TensorRT (Migacz, 2017).
    """
    edges = np.linspace(span.low, span.high, _BINS + 1)
    centres = (edges[:-1] + edges[1:]) / 2
    total = max(int(counts.sum()), 1)
    best, least = span, np.inf
    for step in range(_MSE_STEPS):
        share = 1 - step / (_MSE_STEPS * 1.25)
        low, high = min(span.low, 0.0) * share, max(span.high, 0.0) * share
        inside = (centres >= low) & (centres <= high)
        if not inside.any() or high <= low:
            break
        kept = counts[inside].astype(np.float64)
        whole = kept.copy()
        whole[0] += counts[centres < low].sum()
        whole[-1] += counts[centres > high].sum()
        level = np.minimum(((centres[inside] - low) / (high - low) * levels).astype(int), levels)
        used = np.bincount(level, kept, levels + 1)
        bins = np.bincount(level, (kept > 0).astype(np.float64), levels + 1)
        spread = np.divide(used, bins, out=np.zeros_like(used), where=bins > 0)[level]
        spread = np.where(kept > 0, spread, 0.0)
        cost = _divergence(whole / total, spread / max(float(spread.sum()), 1.0))
        if cost < least:
            best, least = TensorRange(low, high), cost
    return best


def _divergence(p: npt.NDArray[np.float64], q: npt.NDArray[np.float64]) -> float:
    """Kullback-Leibler; where q has nothing, a millionth stands in for it."""
    mask = p > 0
    return float(np.sum(p[mask] * np.log(p[mask] / np.maximum(q[mask], 1e-6))))


_CUTS = {"percentile": _percentile, "mse": _least_error, "entropy": _least_divergence}
