"""What a node can do in INT8 or another float type: what grouping and lowering ask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

import onnx

from precsearch.core.formats import NumberFormat
from precsearch.core.precision import Precision
from precsearch.core.quantization import QuantScheme, Quirk, Trait
from precsearch.graph.operators import CONVOLUTIONS, QDQ
from precsearch.graph.residual import residual
from precsearch.graph.view import GraphView, NodeView

__all__ = [
    "already_quantized",
    "cast_capable",
    "cast_outputs",
    "cast_slots",
    "data_slots",
    "is_product",
    "operator_takes",
    "quantized_trait",
    "weight_slot",
]

_FLOAT = onnx.TensorProto.FLOAT

# Their cast form loses what they are there for, or TensorRT's parser wants FP32 (roi, scales).
_KEEP_FP32 = frozenset({*QDQ, "Cast", "NonMaxSuppression", "If", "Loop", "Scan"})


def weight_slot(node: NodeView, graph: GraphView) -> int | None:
    """The input slot that holds an FP32 constant weight of an active op, ``None`` without one."""
    if len(node.inputs) < 2:
        return None
    weight = graph.weights.get(node.inputs[1])
    return 1 if weight is not None and weight.elem_type == _FLOAT else None


def data_slots(node: NodeView, graph: GraphView) -> tuple[int, ...]:
    """The input slots whose FP32 activations are quantized if the node runs in INT8."""
    if node.is_op(*CONVOLUTIONS, "Gemm"):
        return (0,)
    slots = range(1) if node.is_op("MatMul") and weight_slot(node, graph) == 1 else None
    if slots is None:
        slots = range(len(node.inputs))
    return tuple(s for s in slots if node.inputs[s] and graph.is_float(node.inputs[s]))


def quantized_trait(
    node: NodeView, graph: GraphView, scheme: QuantScheme, precision: Precision
) -> Trait:
    """How ``scheme`` can treat ``node`` at a precision that Q/DQ writes."""
    none = Trait.NON_QUANTIZABLE
    if node.domain or node.captures or not node.outputs or not node.outputs[0]:
        return none
    if not graph.is_float(node.outputs[0]) or already_quantized(node, graph):
        return none
    trait, quirks = scheme.of(node.op_type, precision).trait, scheme.quirks
    if trait is Trait.INPUTS_QUANTIZABLE:
        product = node.is_op("MatMul") and weight_slot(node, graph) is None
        counts = is_product(node, graph) and not (product and Quirk.FLOAT_PRODUCTS in quirks)
        return trait if counts else none
    if trait is Trait.FOLLOWS:
        if (
            node.is_op("Add")
            and Quirk.ADDS_AFTER_CONVOLUTIONS in quirks
            and not _fused(node, graph)
        ):
            return none
        constant = any(t in graph.weights and graph.is_float(t) for t in node.inputs)
        return none if constant or not data_slots(node, graph) else trait
    if trait is Trait.QUANTIZATION_AGNOSTIC and graph.is_float(node.inputs[0]):
        # One quantized tensor in, one out: a second output (MaxPool's indices) has no such form.
        single = sum(1 for o in node.outputs if o) == 1
        return trait if single and node.inputs[0] not in graph.weights else none
    return none


def _fused(node: NodeView, graph: GraphView) -> bool:
    """Whether an Add is residual and can be fused into a convolution; found once for a graph."""
    known = cast("dict[str, bool]", graph.memo.setdefault("Adds after a convolution", {}))
    if node.key not in known:
        split = residual(node, graph)
        known[node.key] = split is not None and split.op_type in CONVOLUTIONS
    return known[node.key]


def already_quantized(node: NodeView, graph: GraphView) -> bool:
    """Whether the model's author has put Q/DQ around this node: it is left as it is."""
    before = (graph.producer.get(t) for t in node.inputs if t)
    after = (u for t in node.outputs if t for u in graph.users(t))
    return any(n is not None and n.is_op("DequantizeLinear") for n in before) or any(
        n.is_op("QuantizeLinear") for n in after
    )


def is_product(node: NodeView, graph: GraphView) -> bool:
    """Whether a Conv, ConvTranspose, Gemm or MatMul has a form that low-precision kernels take."""
    if not graph.is_float(node.inputs[0]) or node.inputs[0] in graph.weights:
        return False
    if node.is_op("MatMul"):
        weight = graph.weights.get(node.inputs[1])
        return graph.is_float(node.inputs[1]) and (weight is None or len(weight.shape) >= 2)
    if weight_slot(node, graph) is None:
        return False
    if node.is_op("Gemm"):
        # alpha and beta other than 1 have no integer kernel; transA would quantize by column.
        return (
            node.int_attribute("transA", 0) == 0
            and node.float_attribute("alpha", 1.0) == 1.0
            and node.float_attribute("beta", 1.0) == 1.0
            and (len(node.inputs) < 3 or not node.inputs[2] or node.inputs[2] in graph.weights)
        )
    return True


@dataclass(frozen=True)
class _Schema:
    """Type parameters that may be another type wherever they may be FP32, "" elsewhere."""

    inputs: tuple[str, ...]
    variadic_input: bool
    outputs: tuple[str, ...]
    variadic_output: bool

    def input(self, slot: int) -> str:
        return _at(self.inputs, slot, self.variadic_input)

    def output(self, position: int) -> str:
        return _at(self.outputs, position, self.variadic_output)


def _at(parameters: tuple[str, ...], position: int, variadic: bool) -> str:
    if position >= len(parameters) and not (variadic and parameters):
        return ""
    return parameters[min(position, len(parameters) - 1)]


@lru_cache(maxsize=4096)
def _schema(op_type: str, opset: int, other: str) -> _Schema | None:
    if op_type in _KEEP_FP32 or not onnx.defs.has(op_type, opset):
        return None
    schema = onnx.defs.get_schema(op_type, opset)
    allowed = {c.type_param_str: set(c.allowed_type_strs) for c in schema.type_constraints}

    def castable(type_str: str) -> str:
        both = {"tensor(float)", f"tensor({other})"} <= allowed.get(type_str, set())
        return type_str if both else ""

    def variadic(parameters: Sequence[onnx.defs.OpSchema.FormalParameter]) -> bool:
        many = onnx.defs.OpSchema.FormalParameterOption.Variadic
        return bool(parameters) and parameters[-1].option == many

    inputs = [castable(p.type_str) for p in schema.inputs]
    if op_type == "Resize":
        inputs[1:] = [""] * len(inputs[1:])  # TensorRT's parser wants roi and scales in FP32
    outputs = tuple(castable(p.type_str) for p in schema.outputs)
    return _Schema(tuple(inputs), variadic(schema.inputs), outputs, variadic(schema.outputs))


_Form = tuple[tuple[int, ...], tuple[int, ...]]
_NO_FORM: _Form = (), ()


def _form(node: NodeView, graph: GraphView, number_format: NumberFormat) -> _Form:
    """`_find_form`, found once for each node of a graph: grouping asks many times."""
    known = cast("dict[str, _Form]", graph.memo.setdefault(f"{number_format.name} forms", {}))
    form = known.get(node.key)
    if form is None:
        form = known[node.key] = _find_form(node, graph, number_format)
    return form


def _find_form(node: NodeView, graph: GraphView, number_format: NumberFormat) -> _Form:
    """The input slots and outputs in a format when the node computes in it, none if it cannot.

    All tensors of a type parameter must be known to be FP32, or none of its inputs is: with one of
    unknown type among them, the others must stay as they are.
    """
    opset = graph.opsets.get("", 1)
    if (
        node.domain
        or node.captures
        or opset < number_format.min_opset
        or not number_format.elem_type
    ):
        return _NO_FORM
    schema = _schema(node.op_type, opset, _type_name(number_format))
    if schema is None:
        return _NO_FORM
    slots: dict[str, list[int]] = {}
    others: set[str] = set()
    for slot, tensor in enumerate(node.inputs):
        parameter = schema.input(slot) if tensor else ""
        if parameter and graph.is_float(tensor):
            slots.setdefault(parameter, []).append(slot)
        elif parameter:
            others.add(parameter)
    outputs: list[int] = []
    for position, tensor in enumerate(node.outputs):
        parameter = schema.output(position) if tensor else ""
        if not parameter or not (graph.is_float(tensor) or parameter in slots):
            continue
        if parameter not in slots or not graph.is_float(tensor):
            return _NO_FORM
        outputs.append(position)
    if not outputs or not others.isdisjoint(slots):
        return _NO_FORM
    return tuple(sorted(s for matching in slots.values() for s in matching)), tuple(outputs)


def operator_takes(op_type: str, opset: int, wanted: NumberFormat) -> bool:
    """Whether an operator set of ONNX has an operator that reads and writes a float format."""
    schema = _schema(op_type, opset, _type_name(wanted))
    return schema is not None and any(schema.inputs) and any(schema.outputs)


def _type_name(number_format: NumberFormat) -> str:
    """The format's name in the type constraints of ONNX's operators."""
    return str(onnx.TensorProto.DataType.Name(number_format.elem_type)).lower()


def cast_capable(node: NodeView, graph: GraphView, number_format: NumberFormat) -> bool:
    """Whether ONNX has a form of the node in a float format: float in, float out, no subgraph.

    The model's operator set decides: it has Conv in bfloat16 from version 22 on, for example.
    """
    return bool(_form(node, graph, number_format)[1])


def cast_slots(node: NodeView, graph: GraphView, number_format: NumberFormat) -> tuple[int, ...]:
    """The input slots that take tensors of the format when the node computes in it."""
    return _form(node, graph, number_format)[0]


def cast_outputs(node: NodeView, graph: GraphView, number_format: NumberFormat) -> tuple[int, ...]:
    """The outputs that are of the format when the node computes in it."""
    return _form(node, graph, number_format)[1]
