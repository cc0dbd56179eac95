"""Writing one node of the model in the form that an assignment gives it."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper

from precsearch.core.formats import FLOAT32, INT8, NumberFormat
from precsearch.core.quantization import Quirk, TensorFormat
from precsearch.graph.encode import stored
from precsearch.graph.view import GraphView, NodeView
from precsearch.lowering.capabilities import cast_outputs, cast_slots, weight_slot
from precsearch.lowering.emitter import Emitter, WeightForm
from precsearch.lowering.engines.ort_workarounds import EngineForms
from precsearch.lowering.qdq.scales import grid_scales
from precsearch.lowering.qdq.shifts import shifted_bias
from precsearch.lowering.tensor_names import LIFTED, float_name, scale_key

__all__ = ["scale_floor", "weight_axis", "write_node"]

_MAX_BIAS_STEPS = np.float32(2.0**30)
"""ONNX Runtime stores the bias of an INT8 Conv as int32 in steps of the product of both scales."""


def write_node(emitter: Emitter, node: NodeView, forms: EngineForms) -> None:
    """Append ``node`` and whatever its inputs need before it."""
    graph = emitter.graph
    quantised = node.index in emitter.active
    own = emitter.float_of(node)
    cast = frozenset(cast_slots(node, graph, own) if own != FLOAT32 else ())
    packed = node.index in emitter.packed
    weight = weight_slot(node, graph) if quantised or packed else None
    inputs = list(node.inputs)
    renewed = _renewed_slot(emitter, node, forms)
    for slot, tensor in enumerate(node.inputs):
        if slot == renewed or (slot == 2 and node.index in emitter.layout.shifts):
            continue
        wanted = own if slot in cast else FLOAT32
        if slot == weight and packed:
            inputs[slot] = emitter.packed_weight(node, wanted)
        elif slot == weight:
            form = _weight_form(emitter, node, wanted, node.index in forms.split)
            inputs[slot] = emitter.quantised_weight(tensor, form)
        elif tensor in graph.weights and not graph.is_float(tensor):
            emitter.weight(tensor, FLOAT32)
        elif tensor and graph.is_float(tensor):
            reads = (node.index, slot) in emitter.layout.reads
            dequantised = emitter.layout.nodes[node.index] if reads else None
            inputs[slot] = emitter.read(tensor, wanted, dequantised=dequantised)
    if node.index in emitter.layout.shifts:
        inputs = [*inputs[:2], _shifted(emitter, node, own if quantised else FLOAT32)]
    for tensor in sorted(node.captures):
        if tensor in graph.weights or graph.is_float(tensor):
            emitter.read(tensor, FLOAT32)
    cast = frozenset(cast_outputs(node, graph, own) if own != FLOAT32 else ())
    outputs = {
        position: emitter.define(tensor, own if position in cast else FLOAT32)
        for position, tensor in enumerate(node.outputs)
        if tensor and graph.is_float(tensor)
    }
    _write(emitter, node, inputs, outputs, forms)


def _write(
    emitter: Emitter,
    node: NodeView,
    inputs: list[str],
    outputs: dict[int, str],
    forms: EngineForms,
) -> None:
    final = outputs.get(0, "")
    if node.index in forms.guarded:
        outputs = {**outputs, 0: f"{node.outputs[0]}//inner"}
    if node.index in forms.split:
        _write_gemm(emitter, node, inputs, outputs[0])
    elif (slot := _renewed_slot(emitter, node, forms)) is not None:
        args = [inputs[1 - slot], _negated(emitter, node, slot)]
        _write_as(emitter, node, "Sub", args, outputs[0])
    elif node.index in forms.leaky:
        made = _write_as(emitter, node, "LeakyRelu", inputs, outputs[0])
        made.attribute.append(helper.make_attribute("alpha", 0.0))
    else:
        emitter.copy(node, inputs, outputs)
        if Quirk.KERNEL_SHAPES in emitter.scheme.quirks and node.index in emitter.active:
            _say_kernel_shape(emitter, node)
    if node.index in forms.guarded:
        guard = emitter.node("LeakyRelu", [outputs[0]], final)
        guard.attribute.append(helper.make_attribute("alpha", 1.0))
        guard.name = f"{node.key}//guard"


def _say_kernel_shape(emitter: Emitter, node: NodeView) -> None:
    made, weight = emitter.nodes[-1], emitter.graph.weights.get(node.inputs[1])
    if not node.is_op("Conv", "ConvTranspose") or weight is None:
        return
    if all(a.name != "kernel_shape" for a in made.attribute):
        made.attribute.append(helper.make_attribute("kernel_shape", weight.shape[2:]))


def _write_as(
    emitter: Emitter, node: NodeView, op_type: str, inputs: list[str], output: str
) -> onnx.NodeProto:
    made = emitter.node(op_type, inputs, output)
    made.name = node.key
    return made


def _renewed_slot(emitter: Emitter, node: NodeView, forms: EngineForms) -> int | None:
    """The input slot of a constant bias of which the negative is written instead."""
    if node.index in forms.split:
        return 2 if len(node.inputs) > 2 and node.inputs[2] else None
    if node.index in forms.negated and emitter.float_of(node) == FLOAT32:
        return next(s for s, t in enumerate(node.inputs) if t in emitter.graph.weights)
    return None


def _negated(emitter: Emitter, node: NodeView, slot: int) -> str:
    name, own = node.inputs[slot], emitter.float_of(node)
    stem = float_name(f"{name}//negated", own)
    weight = emitter.graph.weights[name]
    return emitter.constant(stem, lambda: stored(stem, np.negative(np.asarray(weight.array)), own))


def _shifted(emitter: Emitter, node: NodeView, around: NumberFormat) -> str:
    """The bias of an INT8 Conv that takes back what rounding moves its output by."""
    shift = emitter.layout.shifts[node.index]
    stem = float_name(f"{node.outputs[0]}//shifted", around)
    graph = emitter.graph
    return emitter.constant(stem, lambda: stored(stem, shifted_bias(graph, node, shift), around))


def _write_gemm(emitter: Emitter, node: NodeView, inputs: list[str], output: str) -> None:
    has_bias = len(node.inputs) > 2 and bool(node.inputs[2])
    product = f"{node.outputs[0]}//product" if has_bias else output
    _write_as(emitter, node, "MatMul", inputs[:2], product)
    if has_bias:
        sub = emitter.node("Sub", [product, _negated(emitter, node, 2)], output)
        sub.name = f"{node.key}//bias"


def _weight_form(emitter: Emitter, node: NodeView, around: NumberFormat, split: bool) -> WeightForm:
    """How an active node's weight is quantised: per output channel where it has one axis for it."""
    axis, precision = weight_axis(node, emitter.graph), emitter.layout.nodes[node.index]
    stored_as = emitter.scheme.weight(node.op_type, precision)
    step = emitter.layout.params[scale_key(node.inputs[0], precision)].scale
    floor = scale_floor(emitter.graph, node, step, stored_as)
    if node.is_op("Gemm") and split:
        return WeightForm(1, around, stored_as, transposed=axis == 0, floor=floor)
    return WeightForm(axis, around, stored_as, floor=floor)


def weight_axis(node: NodeView, graph: GraphView) -> int | None:
    """The output-channel axis of an active node's weight; ``None``: one scale for all of it."""
    if node.is_op("Conv"):
        return 0
    if node.is_op("ConvTranspose"):
        return 1 if node.int_attribute("group", 1) == 1 else None
    if node.is_op("Gemm"):
        return 0 if node.int_attribute("transB", 0) else 1
    return 1 if len(graph.weights[node.inputs[1]].shape) == 2 else None


def scale_floor(
    graph: GraphView, node: NodeView, step: float, stored_as: TensorFormat
) -> np.ndarray | None:
    """Least weight scales: the author's, or such that the int32 bias of a Conv does not overflow.

    A weight that its author had quantized keeps the author's scales, on which its values lie.

    A channel whose weights are next to nothing beside its bias (a pruned or folded one) would
    otherwise lose the bias; raising its scale costs nothing that the bias does not drown.

    Args:
        graph: The prepared model.
        node: The Conv.
        step: Scale of its input.
        stored_as: What the weight is quantised to; only integers have an int32 bias.
    """
    grid = _author_scales(graph, node) if stored_as.largest == INT8.largest else None
    has_bias = node.is_op("Conv") and len(node.inputs) > 2 and stored_as.format.is_integer
    bias = graph.weights.get(node.inputs[2]) if has_bias else None
    if bias is None:
        return grid
    values = np.abs(np.asarray(bias.array, dtype=np.float32)).reshape(-1)
    floor = values / np.float32(step) / _MAX_BIAS_STEPS
    weight = np.asarray(graph.weights[node.inputs[1]].load(), dtype=np.float32)
    peak = np.max(np.abs(weight.reshape(weight.shape[0], -1)), axis=1, initial=np.float32(0))
    limit = np.float32(stored_as.largest)
    if not np.any(peak / limit < floor):
        return grid
    return floor if grid is None else np.asarray(np.maximum(floor, grid), np.float32)


def _author_scales(graph: GraphView, node: NodeView) -> np.ndarray | None:
    name, axis = node.inputs[1], weight_axis(node, graph)
    if not name.endswith(LIFTED) or axis is None:
        return None
    return grid_scales(np.asarray(graph.weights[name].load(), np.float32), axis)
