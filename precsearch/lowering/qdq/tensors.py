"""Q/DQ nodes around activations and weights."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx

from precsearch.core.formats import FLOAT16, FLOAT32, INT8, NumberFormat
from precsearch.core.precision import Precision
from precsearch.core.quantization import QuantScheme, TensorFormat
from precsearch.graph.encode import coded, stored
from precsearch.graph.view import NodeView
from precsearch.lowering.capabilities import weight_slot
from precsearch.lowering.cast import FloatTensors
from precsearch.lowering.qdq.layout import QuantLayout
from precsearch.lowering.qdq.scales import QuantParams, fits_half, stored_scale
from precsearch.lowering.qdq.weights import quantize_weight, scale_floor, weight_axis
from precsearch.lowering.tensor_names import (
    SEPARATOR,
    dequantized_name,
    float_name,
    quantized_stem,
    scale_key,
)

__all__ = ["QuantizedTensors"]

_HALF_SCALE_OPSET = 19


@dataclass(frozen=True)
class _WeightForm:
    """How a weight is quantized.

    Attributes:
        axis: The output-channel axis of the quantized weight, ``None`` for one scale in all.
        around: The float format around it.
        stored_as: What it is quantized to.
        transposed: Transpose the (two-dimensional) weight first.
        floor: Least scale per channel.
    """

    axis: int | None
    around: NumberFormat
    stored_as: TensorFormat
    transposed: bool = False
    floor: npt.NDArray[np.float32] | None = None

    @property
    def tag(self) -> str:
        """Tells this form from the others of the same weight."""
        axis = "" if self.axis is None else str(self.axis)
        axis = f"{axis}{'t' if self.transposed else ''}"
        if self.floor is None:
            return axis
        return f"{axis}f{hashlib.sha256(self.floor.tobytes()).hexdigest()[:8]}"


class QuantizedTensors:
    """Tensors that went through QuantizeLinear and DequantizeLinear.

    Args:
        floats: The unquantized forms, and where all are written.
        layout: Which tensors are quantized, and where.
        scheme: The backend's quantization.
        around: Precision written with Q/DQ → the float format around it.
        float_weights: Whether a quantized weight stays a float constant with a Q of its own.
            TensorRT 8.6 cannot build a transformer around constants that are INT8 already.
        split: Indices of the Gemms that are written as MatMul.
    """

    def __init__(
        self,
        floats: FloatTensors,
        layout: QuantLayout,
        scheme: QuantScheme,
        around: Callable[[Precision], NumberFormat],
        *,
        float_weights: bool,
        split: Collection[int],
    ) -> None:
        self.writer = floats.writer
        self.graph = floats.graph
        self.layout = layout
        self.active = frozenset(layout.active)
        self._floats = floats
        self._scheme = scheme
        self._around = around
        self._float_weights = float_weights
        self._split = split
        self._half_scales = self.graph.opsets.get("", 1) >= _HALF_SCALE_OPSET

    def operand(self, node: NodeView, slot: int, number_format: NumberFormat, /) -> str | None:
        """See `precsearch.lowering.writer.EncodedTensors.operand`."""
        tensor = node.inputs[slot]
        if node.index in self.active and slot == weight_slot(node, self.graph):
            return self._weight(tensor, self._weight_form(node, number_format))
        if not tensor or tensor in self.graph.weights or not self.graph.is_float(tensor):
            return None
        asked = self.layout.nodes[node.index] if (node.index, slot) in self.layout.reads else None
        return self.read(tensor, number_format, asked)

    def read(
        self, tensor: str, number_format: NumberFormat, asked: Precision | None = None
    ) -> str | None:
        """The name of a dequantized activation; ``None`` if it is read unquantized.

        Args:
            tensor: Of the model.
            number_format: The float format that it is read in.
            asked: What its values must have been quantized to, ``None``: nothing.
        """
        own = self.layout.stored.get(tensor)
        if own is not None and asked in (None, own):
            return self._dequantized(tensor, own, number_format, float_name(tensor, number_format))
        if asked is None:
            return None
        return self._dequantized(
            tensor, asked, number_format, dequantized_name(tensor, asked, number_format)
        )

    def _dequantized(
        self, tensor: str, precision: Precision, number_format: NumberFormat, output: str
    ) -> str:
        if not self.writer.begins(output):
            return output
        params = self.layout.params[scale_key(tensor, precision)]
        # An FP16 scale below the normal range loses its digits, and before operator set 19 there
        # is none: such a tensor goes through FP32.
        fits = self._half_scales and fits_half(params.scale)
        quantized = self._quantized(tensor, precision, params, fits)
        if number_format != FLOAT32 and not (fits and number_format == FLOAT16):
            wide = self._dequantized(tensor, precision, FLOAT32, f"{output}/wide")
            return self._floats.cast(wide, output, number_format)
        args = [quantized, *self._scale_args(tensor, precision, params, number_format == FLOAT16)]
        self.writer.node("DequantizeLinear", args, output)
        return output

    def _quantized(self, tensor: str, precision: Precision, params: QuantParams, fits: bool) -> str:
        output = f"{quantized_stem(tensor, precision)}q"
        if self.writer.begins(output):
            half = fits and self._floats.native(tensor) == FLOAT16
            own = self.layout.stored.get(tensor, precision)
            if own is precision:
                source = self._floats.read(tensor, FLOAT16 if half else FLOAT32)
            else:  # it exists in another quantized form alone
                half, plain = False, float_name(tensor, FLOAT32)
                source = self._dequantized(tensor, own, FLOAT32, plain)
            args = [source, *self._scale_args(tensor, precision, params, half)]
            self.writer.node("QuantizeLinear", args, output)
        return output

    def _scale_args(
        self, tensor: str, precision: Precision, params: QuantParams, half: bool
    ) -> list[str]:
        """Names of the scale and zero-point constants; the FP16 scale is rounded up, once for all.

        Where FP16 reads or writes the tensor at all, its FP32 scale is that same rounded value, so
        that both sides of a Q/DQ pair agree.
        """
        halves = self._around(precision) == FLOAT16 and self._half_scales
        scale = stored_scale(params.scale, half=halves)
        stem = quantized_stem(tensor, precision)
        own = self._scheme.activation(precision).format
        tag = f"{scale.hex()}:{params.zero_point}"
        cache, weights = self.writer.cache, self.writer.weights
        # The cache outlives this graph and a tensor's scale may change with its Concat partners.
        names = [f"{stem}scale{'h' if half else ''}", f"{stem}zero"]
        for name in names:
            key = f"{name}={tag}"
            if key not in cache.protos:
                kept = FLOAT16 if half else FLOAT32
                is_scale = name is names[0]
                value = np.asarray(scale if is_scale else params.zero_point)
                proto = stored(name, value, kept) if is_scale else coded(name, value, own)
                cache.keep(key, proto)
            weights[name] = cache.protos[key]
        return names

    def _weight_form(self, node: NodeView, around: NumberFormat) -> _WeightForm:
        """How a node's weight is quantized: per output channel where it has one axis for it."""
        axis, precision = weight_axis(node, self.graph), self.layout.nodes[node.index]
        stored_as = self._scheme.weight(node.op_type, precision)
        step = self.layout.params[scale_key(node.inputs[0], precision)].scale
        floor = scale_floor(self.graph, node, step, stored_as)
        if node.is_op("Gemm") and node.index in self._split:
            return _WeightForm(1, around, stored_as, transposed=axis == 0, floor=floor)
        return _WeightForm(axis, around, stored_as, floor=floor)

    def _weight(self, name: str, form: _WeightForm) -> str:
        """A weight as constant → DequantizeLinear; the float form's name is returned.

        With ``float_weights`` as float constant → QuantizeLinear → DequantizeLinear.
        """
        own, half = form.stored_as.format, form.around == FLOAT16
        kind = "i8" if own == INT8 else own.name
        stem = f"{name}{SEPARATOR}{kind}{'h' if half else ''}{form.tag}"
        if not self.writer.begins(stem):
            return f"{stem}/dq"
        if stem not in self.writer.cache.protos:
            self._keep_weight(name, stem, form)
        scales = [f"{stem}/scale", f"{stem}/zero"]
        for part in (stem, *scales):
            self.writer.weights[part] = self.writer.cache.protos[part]
        nodes = []
        if self._float_weights:
            nodes.append(self.writer.node("QuantizeLinear", [stem, *scales], f"{stem}/q"))
        source = f"{stem}/q" if self._float_weights else stem
        nodes.append(self.writer.node("DequantizeLinear", [source, *scales], f"{stem}/dq"))
        for node in nodes if form.axis is not None else ():
            node.attribute.append(onnx.helper.make_attribute("axis", form.axis))
        return f"{stem}/dq"

    def _keep_weight(self, name: str, stem: str, form: _WeightForm) -> None:
        """Put a weight, its scales and zero points into the cache."""
        own, half = form.stored_as.format, form.around == FLOAT16
        weight = np.asarray(self.graph.weights[name].load(), dtype=np.float32)
        if form.transposed:
            weight = np.ascontiguousarray(weight.T)
        q, scale = quantize_weight(
            weight, form.axis, stored_as=form.stored_as, half=half, floor=form.floor
        )
        written = FLOAT32 if self._float_weights else own
        zeros = np.zeros(scale.shape, np.int8)
        self.writer.cache.keep_weight(stem, weight if self._float_weights else q, written)
        for part, proto in (
            (f"{stem}/scale", stored(f"{stem}/scale", scale, FLOAT16 if half else FLOAT32)),
            (f"{stem}/zero", coded(f"{stem}/zero", zeros, own)),
        ):
            self.writer.cache.keep(part, proto)
