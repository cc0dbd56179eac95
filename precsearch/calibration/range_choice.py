"""Ranges by tensor: of several methods, the one with the least error in what reads the tensor.

All candidates of all tensors are tried in one model: behind each tensor stand, for each candidate,
QuantizeLinear, DequantizeLinear, copies of the operators that read it, and the squared difference
from what they give in FP32. Nothing but these sums leaves the model.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from precsearch.calibration.ranges import Calibration, run_feeds
from precsearch.core.backend import Feed, QuantScheme
from precsearch.core.precision import Precision
from precsearch.graph.operators import PRODUCTS
from precsearch.lowering.qdq.scales import QuantParams, TensorRange
from precsearch.reference.taps import put_behind

__all__ = ["ChosenRange", "RangeRequest", "choose_ranges"]

_CHUNK = 24
"""Tensors that are tried in one model."""

_GAIN = 0.95
"""Another method than min-max must lower the squared error to this share of min-max's."""


@dataclass(frozen=True)
class RangeRequest:
    """What to choose ranges for.

    Attributes:
        calibration: Model and tensors; its method is not used.
        scheme: How the backend quantizes activations.
        ranges: Method → tensor → range: what `precsearch.calibration.ranges.ranges_by_method` found
            on more samples than the choice is made by.
    """

    calibration: Calibration
    scheme: QuantScheme
    ranges: Mapping[str, Mapping[str, TensorRange]]


@dataclass(frozen=True, slots=True)
class ChosenRange:
    """The range of a tensor.

    Attributes:
        method: What gave it.
        found: The range.
        error: Squared error that it causes in what reads the tensor, over min-max's.
    """

    method: str
    found: TensorRange
    error: float


def choose_ranges(request: RangeRequest, feeds: Sequence[Feed]) -> dict[str, ChosenRange]:
    """The range with the least error for each tensor; a tensor that was not finite is left out.

    Zero is always represented exactly, and the range of a tensor that is never negative begins
    there, see `precsearch.lowering.qdq.scales.QuantParams.of`.

    Raises:
        ModelError: ONNX Runtime refuses the model or a feed, or there is no time for all feeds.
    """
    until = time.monotonic() + request.calibration.seconds
    by_method = request.ranges
    plain = by_method["minmax"]
    candidates: dict[str, dict[str, TensorRange]] = {}
    for tensor in plain:
        ranges = {
            m: method_ranges[tensor]
            for m, method_ranges in by_method.items()
            if tensor in method_ranges
        }
        candidates[tensor] = _unlike(ranges, request.scheme)
    chosen = {t: ChosenRange("minmax", method_ranges, 1.0) for t, method_ranges in plain.items()}
    open_ones = [t for t, ranges in candidates.items() if len(ranges) > 1]
    for start in range(0, len(open_ones), _CHUNK):
        some = {t: candidates[t] for t in open_ones[start : start + _CHUNK]}
        for tensor, errors in _errors(request, some, feeds, until).items():
            method = min(errors, key=lambda m: errors[m])
            share = errors[method] / max(errors["minmax"], 1e-300)
            if share < _GAIN:
                chosen[tensor] = ChosenRange(method, candidates[tensor][method], share)
    return chosen


def _unlike(ranges: Mapping[str, TensorRange], scheme: QuantScheme) -> dict[str, TensorRange]:
    """Without the methods that give the parameters of an earlier one."""
    changed: dict[QuantParams, str] = {}
    for method, one in ranges.items():
        changed.setdefault(QuantParams.of(one, scheme.activation(Precision.INT8)), method)
    return {method: ranges[method] for method in changed.values()}


def _errors(
    request: RangeRequest,
    candidates: Mapping[str, Mapping[str, TensorRange]],
    feeds: Sequence[Feed],
    until: float,
) -> dict[str, dict[str, float]]:
    """Sums of squared differences by tensor and method."""
    calibration = request.calibration
    keys = [(t, m) for t, ranges in candidates.items() for m in ranges]
    model = _with_candidates(calibration.model, candidates, request.scheme)
    sums = np.zeros(len(keys))
    for values in run_feeds(model, calibration.model_folder, feeds, until):
        sums += [float(v) for v in values]
    errors: dict[str, dict[str, float]] = {}
    for (tensor, method), error in zip(keys, sums, strict=True):
        errors.setdefault(tensor, {})[method] = float(error)
    return errors


def _with_candidates(
    model: bytes, candidates: Mapping[str, Mapping[str, TensorRange]], scheme: QuantScheme
) -> bytes:
    proto = onnx.ModelProto.FromString(model)
    graph = proto.graph
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        if node.op_type in PRODUCTS and node.input[0] in candidates:
            readers.setdefault(node.input[0], []).append(node)
    last = {node.output[0]: i for i, node in enumerate(graph.node)}
    behind: dict[str, list[onnx.NodeProto]] = {}
    del graph.output[:]
    for index, (tensor, ranges) in enumerate(candidates.items()):
        around = readers.get(tensor, [])
        # The sums need what the readers gave in FP32, so they stand behind the last of them.
        at = max((n.output[0] for n in around), key=lambda t: last[t], default=tensor)
        for method, method_ranges in ranges.items():
            stem = f"precsearch//range_{index}_{method}"
            params = QuantParams.of(method_ranges, scheme.activation(Precision.INT8))
            graph.initializer.extend(_constants(stem, params, scheme))
            behind.setdefault(at, []).extend(_tried(stem, tensor, around))
            graph.output.append(onnx.helper.make_tensor_value_info(f"{stem}_sum", 1, None))
    put_behind(graph, behind)
    return bytes(proto.SerializeToString())


def _constants(stem: str, params: QuantParams, scheme: QuantScheme) -> Iterator[onnx.TensorProto]:
    scale = np.asarray(params.scale, np.float32)
    zero = np.asarray(params.zero_point, np.dtype(scheme.activation(Precision.INT8).format.name))
    for part, array in (("scale", scale), ("zero", zero)):
        yield onnx.numpy_helper.from_array(array, f"{stem}_{part}")


def _tried(stem: str, tensor: str, readers: Sequence[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """The tensor quantized, what its readers make of it, and the sum of squared differences."""
    node = onnx.helper.make_node
    params = [f"{stem}_scale", f"{stem}_zero"]
    yield node("QuantizeLinear", [tensor, *params], [f"{stem}_q"])
    yield node("DequantizeLinear", [f"{stem}_q", *params], [f"{stem}_dq"])
    pairs = [(tensor, f"{stem}_dq")]
    if readers:
        pairs = []
        for number, reader in enumerate(readers):
            copy = onnx.NodeProto()
            copy.CopyFrom(reader)
            copy.name = f"{stem}_reader_{number}"
            copy.input[:] = [f"{stem}_dq" if t == tensor else t for t in reader.input]
            copy.output[:] = [copy.name]
            yield copy
            pairs.append((reader.output[0], copy.name))
    sums = []
    for number, (reference, got) in enumerate(pairs):
        name = f"{stem}_{number}"
        yield node("Sub", [got, reference], [f"{name}_difference"])
        yield node("ReduceSumSquare", [f"{name}_difference"], [f"{name}_square"], keepdims=0)
        yield node("ReduceSumSquare", [reference], [f"{name}_whole"], keepdims=0)
        yield node("Div", [f"{name}_square", f"{name}_whole"], [f"{name}_share"])
        sums.append(f"{name}_share")
    yield node("Sum", sums, [f"{stem}_sum"])
