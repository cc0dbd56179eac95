"""Writing a lowered graph: one form of a tensor is written once, where it is first needed.

A tensor ``t`` of the original model can exist in several forms. Its FP32 form is always named
``t``, so that graph outputs and subgraphs keep finding it; the others are ``t//half`` (FP16;
``t//bfloat16`` in BF16),
``t//raw`` (before a quantisation that replaces it), ``t//q`` (quantised) and ``t//dq``, ``t//dqh``
(dequantised, where the unquantised one exists as well).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import onnx

from precsearch.core.formats import FLOAT16, FLOAT32, INT8, NumberFormat
from precsearch.core.precision import Precision
from precsearch.core.quantization import QuantScheme, TensorFormat
from precsearch.graph.encode import coded, stored
from precsearch.graph.view import GraphView, NodeView
from precsearch.lowering.qdq.layout import QuantLayout
from precsearch.lowering.qdq.scales import (
    MIN_HALF_SCALE,
    QuantParams,
    quantise_weight,
    stored_scale,
)
from precsearch.lowering.tensor_names import (
    SEPARATOR,
    dequantized_name,
    float_name,
    quantized_stem,
    scale_key,
    short,
)
from precsearch.lowering.weight_only import BLOCK, packed_tensor, packed_weight

__all__ = ["Emitter", "WeightCache", "WeightForm"]

_HALF_SCALE_OPSET = 19


@dataclass
class WeightCache:
    """Serialised constants by name: quantising and retyping a weight is done once a model."""

    protos: dict[str, bytes] = field(default_factory=dict)

    def keep(self, key: str, proto: onnx.TensorProto) -> None:
        """Serialise a constant and keep it under ``key``."""
        self.protos[key] = proto.SerializeToString(deterministic=True)


@dataclass(frozen=True)
class WeightForm:
    """How a weight is quantised.

    Attributes:
        axis: The output-channel axis of the quantised weight, ``None`` for one scale in all.
        around: The float format around it.
        stored_as: What it is quantised to.
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


class Emitter:
    """Builds the nodes and constants of one lowered graph.

    Args:
        graph: The prepared model.
        layout: Its quantised tensors.
        floats: Index of each node that computes in another float format than FP32 → the format.
        scheme: The backend's quantisation.
        around: Precision written with Q/DQ → the float format around it.
        cache: Constants made before.
        float_weights: Whether an INT8 weight stays a float constant with a Q of its own. TensorRT
            8.6 cannot build a transformer around constants that are INT8 already.
        packed: Indices of the nodes whose weights alone are quantized.
    """

    def __init__(
        self,
        graph: GraphView,
        layout: QuantLayout,
        floats: Mapping[int, NumberFormat],
        scheme: QuantScheme,
        around: Callable[[Precision], NumberFormat],
        cache: WeightCache,
        *,
        float_weights: bool = False,
        packed: frozenset[int] = frozenset(),
    ) -> None:
        self.graph = graph
        self.layout = layout
        self.floats = floats
        self.active = frozenset(layout.active)
        self.scheme = scheme
        self.around = around
        self.cache = cache
        self.float_weights = float_weights
        self.packed = packed
        self.nodes: list[onnx.NodeProto] = []
        self.weights: dict[str, bytes] = {}
        self._half_scales = graph.opsets.get("", 1) >= _HALF_SCALE_OPSET
        self._native: dict[str, NumberFormat] = {}
        self._made: set[str] = set()

    # -- constants --------------------------------------------------------------------------

    def float_of(self, node: NodeView) -> NumberFormat:
        """The float format that a node computes in."""
        return self.floats.get(node.index, FLOAT32)

    def constant(self, name: str, proto: Callable[[], onnx.TensorProto]) -> str:
        """A constant that this lowering adds; ``proto`` is asked for it once a model."""
        if name not in self.weights:
            if name not in self.cache.protos:
                self.cache.keep(name, proto())
            self.weights[name] = self.cache.protos[name]
        return name

    def weight(self, name: str, wanted: NumberFormat) -> str:
        """A weight of the model, as it is or rounded to another float format."""
        source = self.graph.weights[name]
        if wanted == FLOAT32:
            self.weights[name] = source.proto_bytes
            return name
        made = float_name(name, wanted)
        return self.constant(made, lambda: stored(made, source.load(), wanted))

    def quantised_weight(self, name: str, form: WeightForm) -> str:
        """A weight as constant → DequantizeLinear; the float form's name is returned.

        With ``float_weights`` as float constant → QuantizeLinear → DequantizeLinear.
        """
        axis, half = form.axis, form.around == FLOAT16
        own = form.stored_as.format
        kind = "i8" if own == INT8 else own.name
        stem = f"{name}{SEPARATOR}{kind}{'h' if half else ''}{form.tag}"
        if stem in self._made:
            return f"{stem}/dq"
        self._made.add(stem)
        if stem not in self.cache.protos:
            weight = np.asarray(self.graph.weights[name].load(), dtype=np.float32)
            if form.transposed:
                weight = np.ascontiguousarray(weight.T)
            q, scale = quantise_weight(
                weight, axis, stored_as=form.stored_as, half=half, floor=form.floor
            )
            written, zeros = FLOAT32 if self.float_weights else own, np.zeros(scale.shape, np.int8)
            for part, proto in (
                (stem, coded(stem, weight if self.float_weights else q, written)),
                (f"{stem}/scale", stored(f"{stem}/scale", scale, FLOAT16 if half else FLOAT32)),
                (f"{stem}/zero", coded(f"{stem}/zero", zeros, own)),
            ):
                self.cache.keep(part, proto)
        scales = [f"{stem}/scale", f"{stem}/zero"]
        for part in (stem, *scales):
            self.weights[part] = self.cache.protos[part]
        nodes = []
        if self.float_weights:
            nodes.append(self.node("QuantizeLinear", [stem, *scales], f"{stem}/q"))
        source = f"{stem}/q" if self.float_weights else stem
        nodes.append(self.node("DequantizeLinear", [source, *scales], f"{stem}/dq"))
        for node in nodes if axis is not None else ():
            node.attribute.append(onnx.helper.make_attribute("axis", axis))
        return f"{stem}/dq"

    def packed_weight(self, node: NodeView, around: NumberFormat) -> str:
        """A weight as INT4 constant → DequantizeLinear by blocks; the float form's name."""
        stem = f"{node.inputs[1]}{SEPARATOR}i4{short(around)}"
        scale = f"{stem}/scale"
        if stem in self._made:
            return f"{stem}/dq"
        self._made.add(stem)
        if stem not in self.cache.protos:
            made = packed_weight(node, self.graph, around)
            self.cache.keep(stem, packed_tensor(stem, made.values))
            self.cache.keep(scale, stored(scale, made.scales, around))
        for part in (stem, scale):
            self.weights[part] = self.cache.protos[part]
        written = self.node("DequantizeLinear", [stem, scale], f"{stem}/dq")
        attributes = {"axis": 0, "block_size": BLOCK}
        written.attribute.extend(onnx.helper.make_attribute(k, v) for k, v in attributes.items())
        return f"{stem}/dq"

    # -- activations ------------------------------------------------------------------------

    def define(self, tensor: str, own: NumberFormat) -> str:
        """The name under which the producer writes ``tensor`` in its own format."""
        self._native[tensor] = own
        if tensor in self.layout.replaced:
            return f"{tensor}{SEPARATOR}raw"
        return float_name(tensor, own)

    def read(
        self, tensor: str, wanted: NumberFormat, *, dequantised: Precision | None = None
    ) -> str:
        """The name of ``tensor`` in ``wanted``; what is missing of it is written first.

        Args:
            tensor: Of the model.
            wanted: The float format that it is read in.
            dequantised: What its values must have been quantised to, ``None``: nothing.
        """
        if not tensor:
            return ""
        if tensor in self.graph.weights:
            return self.weight(tensor, wanted)
        own = self.layout.stored.get(tensor)
        if own is not None and dequantised in (None, own):
            return self._dequantised(tensor, own, wanted, float_name(tensor, wanted))
        if dequantised is not None:
            made = dequantized_name(tensor, dequantised, wanted)
            return self._dequantised(tensor, dequantised, wanted, made)
        return self._float(tensor, wanted)

    def _float(self, tensor: str, wanted: NumberFormat) -> str:
        """The unquantised form in ``wanted``: as produced, or one shared Cast of it."""
        native = self._native.get(tensor, FLOAT32)
        if tensor in self.layout.replaced:
            produced = f"{tensor}{SEPARATOR}raw"
            made = f"{produced}{short(wanted) or 'f'}"
        else:
            produced, made = float_name(tensor, native), float_name(tensor, wanted)
        return produced if wanted == native else self._cast(produced, made, wanted)

    def _cast(self, source: str, made: str, wanted: NumberFormat) -> str:
        if made not in self._made:
            self._made.add(made)
            node = self.node("Cast", [source], made)
            node.attribute.append(onnx.helper.make_attribute("to", wanted.elem_type))
        return made

    def _dequantised(
        self, tensor: str, precision: Precision, wanted: NumberFormat, made: str
    ) -> str:
        if made in self._made:
            return made
        self._made.add(made)
        params = self.layout.params[scale_key(tensor, precision)]
        # An FP16 scale below the normal range loses its digits, and before operator set 19 there
        # is none: such a tensor goes through FP32.
        fits = self._half_scales and params.scale >= float(MIN_HALF_SCALE)
        quantised = self._quantised(tensor, precision, params, fits)
        if wanted != FLOAT32 and not (fits and wanted == FLOAT16):
            wide = self._dequantised(tensor, precision, FLOAT32, f"{made}/wide")
            node = self.node("Cast", [wide], made)
            node.attribute.append(onnx.helper.make_attribute("to", wanted.elem_type))
            return made
        args = [quantised, *self._scale_args(tensor, precision, params, wanted == FLOAT16)]
        self.node("DequantizeLinear", args, made)
        return made

    def _quantised(self, tensor: str, precision: Precision, params: QuantParams, fits: bool) -> str:
        made = f"{quantized_stem(tensor, precision)}q"
        if made not in self._made:
            self._made.add(made)
            half = fits and self._native.get(tensor, FLOAT32) == FLOAT16
            if self.layout.stored.get(tensor, precision) is precision:
                source = self._float(tensor, FLOAT16 if half else FLOAT32)
            else:  # it exists in another quantised form alone
                half, source = False, self.read(tensor, FLOAT32)
            args = [source, *self._scale_args(tensor, precision, params, half)]
            self.node("QuantizeLinear", args, made)
        return made

    def _scale_args(
        self, tensor: str, precision: Precision, params: QuantParams, half: bool
    ) -> list[str]:
        """Names of the scale and zero-point constants; the FP16 scale is rounded up, once for all.

        Where FP16 reads or writes the tensor at all, its FP32 scale is that same rounded value, so
        that both sides of a Q/DQ pair agree.
        """
        halves = self.around(precision) == FLOAT16 and self._half_scales
        scale = stored_scale(params.scale, half=halves)
        stem = quantized_stem(tensor, precision)
        own = self.scheme.activation(precision).format
        tag = f"{scale.hex()}:{params.zero_point}"
        # The cache outlives this graph and a tensor's scale may change with its Concat partners.
        names = [f"{stem}scale{'h' if half else ''}", f"{stem}zero"]
        for name in names:
            key = f"{name}={tag}"
            if key not in self.cache.protos:
                kept = FLOAT16 if half else FLOAT32
                is_scale = name is names[0]
                value = np.asarray(scale if is_scale else params.zero_point)
                proto = stored(name, value, kept) if is_scale else coded(name, value, own)
                self.cache.keep(key, proto)
            self.weights[name] = self.cache.protos[key]
        return names

    # -- nodes ------------------------------------------------------------------------------

    def node(self, op_type: str, inputs: Sequence[str], output: str) -> onnx.NodeProto:
        """Append a node that this lowering adds; it is named after its output and operator."""
        name = f"{output}{SEPARATOR}{op_type}"
        node = onnx.NodeProto(op_type=op_type, input=inputs, output=[output], name=name)
        self.nodes.append(node)
        return node

    def copy(self, node: NodeView, inputs: Sequence[str], outputs: Mapping[int, str]) -> None:
        """Append a node of the model with other inputs and, by position, other outputs."""
        made = onnx.NodeProto()
        made.CopyFrom(node.proto)
        made.input[:] = inputs
        for position, name in outputs.items():
            made.output[position] = name
        self.nodes.append(made)
