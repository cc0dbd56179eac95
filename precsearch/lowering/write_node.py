"""Writing one node of the model in the form that an assignment gives it."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper

from precsearch.core.formats import FLOAT32, NumberFormat
from precsearch.core.quantization import Quirk
from precsearch.graph.encode import stored
from precsearch.graph.operators import CONVOLUTIONS
from precsearch.graph.view import NodeView
from precsearch.lowering.capabilities import cast_outputs, cast_slots
from precsearch.lowering.emitter import Emitter
from precsearch.lowering.qdq.dynamic import write_dynamic
from precsearch.lowering.qdq.shifts import bias_slot, shifted_bias
from precsearch.lowering.tensor_names import float_name

__all__ = ["write_node"]


def write_node(emitter: Emitter, node: NodeView) -> None:
    """Append ``node`` and whatever its inputs need before it."""
    graph, layout = emitter.graph, emitter.layout
    own = emitter.floats.of(node)
    if node.index in layout.dynamic:
        source = emitter.operand(node, 0, FLOAT32)
        output = emitter.floats.define(node.outputs[0], FLOAT32)
        write_dynamic(emitter.writer, node, source, output, emitter.scheme)
        return
    cast = frozenset(cast_slots(node, graph, own) if own != FLOAT32 else ())
    inputs = list(node.inputs)
    read = FLOAT32 if node.index in emitter.forms.wide else own
    renewed = _renewed_slot(emitter, node)
    shifted = bias_slot(node, graph) if node.index in layout.shifts and renewed is None else None
    for slot in range(len(inputs)):
        if slot not in (renewed, shifted):
            inputs[slot] = emitter.operand(node, slot, read if slot in cast else FLOAT32)
    if shifted is not None:
        inputs += [""] * (shifted + 1 - len(inputs))
        inputs[shifted] = _shifted(emitter, node, _around(emitter, node))
    if node.index in emitter.forms.fed:
        inputs[0] = _unchanged(emitter, inputs[0], f"{node.key}//fed")
    if node.index in emitter.forms.widened:
        inputs[0] = _widened(emitter, inputs[0], f"{node.key}//fed", own)
    for tensor in sorted(node.captures):
        if tensor in graph.weights or graph.is_float(tensor):
            emitter.read(tensor)
    cast = frozenset(cast_outputs(node, graph, own) if own != FLOAT32 else ())
    outputs = {
        position: emitter.floats.define(tensor, own if position in cast else FLOAT32)
        for position, tensor in enumerate(node.outputs)
        if tensor and graph.is_float(tensor)
    }
    _write(emitter, node, inputs, outputs)


def _unchanged(emitter: Emitter, tensor: str, name: str) -> str:
    """A tensor behind an operator that changes nothing, and that engines do not see through."""
    guard = emitter.writer.node("LeakyRelu", [tensor], name)
    guard.attribute.append(helper.make_attribute("alpha", 1.0))
    return name


def _widened(emitter: Emitter, tensor: str, name: str, own: NumberFormat) -> str:
    """The same, in FP32 on the way."""
    wide = emitter.writer.node("Cast", [tensor], f"{name}//wide")
    wide.attribute.append(helper.make_attribute("to", FLOAT32.elem_type))
    inner = _unchanged(emitter, wide.output[0], f"{name}//inner")
    narrow = emitter.writer.node("Cast", [inner], name)
    narrow.attribute.append(helper.make_attribute("to", own.elem_type))
    return name


def _write(
    emitter: Emitter,
    node: NodeView,
    inputs: list[str],
    outputs: dict[int, str],
) -> None:
    forms = emitter.forms
    final = outputs.get(0, "")
    if node.index in forms.guarded or node.index in forms.wide:
        outputs = {**outputs, 0: f"{node.outputs[0]}//inner"}
    if node.index in forms.split:
        _write_gemm(emitter, node, inputs, outputs[0])
    elif (slot := _renewed_slot(emitter, node)) is not None:
        args = [inputs[1 - slot], _negated(emitter, node, slot)]
        _write_as(emitter, node, "Sub", args, outputs[0])
    elif node.index in forms.leaky:
        new_node = _write_as(emitter, node, "LeakyRelu", inputs, outputs[0])
        new_node.attribute.append(helper.make_attribute("alpha", 0.0))
    else:
        emitter.writer.copy(node, inputs, outputs)
        if Quirk.KERNEL_SHAPES in emitter.scheme.quirks and node.index in emitter.quantized.active:
            _say_kernel_shape(emitter, node)
    if node.index in forms.guarded:
        guard = emitter.writer.node("LeakyRelu", [outputs[0]], final)
        guard.attribute.append(helper.make_attribute("alpha", 1.0))
        guard.name = f"{node.key}//guard"
    if node.index in forms.wide:
        emitter.floats.cast(outputs[0], final, emitter.floats.of(node))


def _say_kernel_shape(emitter: Emitter, node: NodeView) -> None:
    new_node, weight = emitter.writer.nodes[-1], emitter.graph.weights.get(node.inputs[1])
    if not node.is_op(*CONVOLUTIONS) or weight is None:
        return
    if all(a.name != "kernel_shape" for a in new_node.attribute):
        new_node.attribute.append(helper.make_attribute("kernel_shape", weight.shape[2:]))


def _write_as(
    emitter: Emitter, node: NodeView, op_type: str, inputs: list[str], output: str
) -> onnx.NodeProto:
    new_node = emitter.writer.node(op_type, inputs, output)
    new_node.name = node.key
    return new_node


def _renewed_slot(emitter: Emitter, node: NodeView) -> int | None:
    """The input slot of a constant bias of which the negative is written instead."""
    forms = emitter.forms
    if node.index in forms.split:
        return 2 if len(node.inputs) > 2 and node.inputs[2] else None
    if node.index in forms.negated and emitter.floats.of(node) == FLOAT32:
        return next(s for s, t in enumerate(node.inputs) if t in emitter.graph.weights)
    return None


def _negated(emitter: Emitter, node: NodeView, slot: int) -> str:
    name, own = node.inputs[slot], emitter.floats.of(node)
    graph, shift = emitter.graph, emitter.layout.shifts.get(node.index)
    weight = graph.weights[name]
    if shift is None:
        stem = float_name(f"{name}//negated", own)
        return emitter.writer.constant(
            stem, lambda: stored(stem, np.negative(np.asarray(weight.array)), own)
        )
    stem = float_name(f"{node.outputs[0]}//shifted/negated", own)
    return emitter.writer.constant(
        stem, lambda: stored(stem, np.negative(shifted_bias(graph, node, shift)), own)
    )


def _around(emitter: Emitter, node: NodeView) -> NumberFormat:
    """The float format of a bias that is shifted."""
    inside = node.is_op("Add") or node.index in emitter.quantized.active
    return emitter.floats.of(node) if inside else FLOAT32


def _shifted(emitter: Emitter, node: NodeView, around: NumberFormat) -> str:
    """The bias that takes back what rounding moves the output of an INT8 product by."""
    shift = emitter.layout.shifts[node.index]
    stem = float_name(f"{node.outputs[0]}//shifted", around)
    graph = emitter.graph
    return emitter.writer.constant(
        stem, lambda: stored(stem, shifted_bias(graph, node, shift), around)
    )


def _write_gemm(emitter: Emitter, node: NodeView, inputs: list[str], output: str) -> None:
    has_bias = len(node.inputs) > 2 and bool(node.inputs[2])
    product = f"{node.outputs[0]}//product" if has_bias else output
    _write_as(emitter, node, "MatMul", inputs[:2], product)
    if has_bias:
        sub = emitter.writer.node("Sub", [product, _negated(emitter, node, 2)], output)
        sub.name = f"{node.key}//bias"
