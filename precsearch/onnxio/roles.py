"""What a node can do in INT8 or FP16: the predicates that grouping and lowering share."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

import onnx

from precsearch.backend import QuantScheme
from precsearch.onnxio.graph import GraphView, NodeView

__all__ = [
    "Role",
    "data_slots",
    "fp16_capable",
    "fp16_outputs",
    "fp16_slots",
    "int8_role",
    "weight_slot",
]

_FLOAT = onnx.TensorProto.FLOAT

# Their FP16 form loses what they are there for, or TensorRT's parser wants FP32 (roi, scales).
_KEEP_FP32 = frozenset(
    {"Cast", "NonMaxSuppression", "QuantizeLinear", "DequantizeLinear", "If", "Loop", "Scan"}
)


class Role(str, Enum):
    """What a node does with quantised tensors."""

    ACTIVE = "active"
    """Computes in INT8."""
    PASSIVE = "passive"
    """Keeps its tensors quantised, inputs and output."""
    CARRIED = "carried"
    """Passes a quantised tensor on with its scale."""
    FLOAT = "float"
    """Has no INT8 form."""


def weight_slot(node: NodeView, graph: GraphView) -> int | None:
    """The input slot that holds an FP32 constant weight of an active op, ``None`` without one."""
    if len(node.inputs) < 2:
        return None
    weight = graph.weights.get(node.inputs[1])
    return 1 if weight is not None and weight.elem_type == _FLOAT else None


def data_slots(node: NodeView, graph: GraphView) -> tuple[int, ...]:
    """The input slots whose FP32 activations are quantised if the node runs in INT8."""
    if node.is_op("Conv", "ConvTranspose", "Gemm"):
        return (0,)
    slots = range(1) if node.is_op("MatMul") and weight_slot(node, graph) == 1 else None
    if slots is None:
        slots = range(len(node.inputs))
    return tuple(s for s in slots if node.inputs[s] and graph.is_float(node.inputs[s]))


def int8_role(node: NodeView, graph: GraphView, scheme: QuantScheme) -> Role:
    """How ``scheme`` can treat ``node``."""
    if node.domain or node.captures or not node.outputs or not node.outputs[0]:
        return Role.FLOAT
    if not graph.is_float(node.outputs[0]) or _already_quantised(node, graph):
        return Role.FLOAT
    if node.op_type in scheme.active:
        return Role.ACTIVE if _active(node, graph) else Role.FLOAT
    if node.op_type in scheme.passive:
        constant = any(t in graph.weights and graph.is_float(t) for t in node.inputs)
        return Role.FLOAT if constant or not data_slots(node, graph) else Role.PASSIVE
    if node.op_type in scheme.carried and graph.is_float(node.inputs[0]):
        # One quantised tensor in, one out: a second output (MaxPool's indices) has no such form.
        single = sum(1 for o in node.outputs if o) == 1
        return Role.CARRIED if single and node.inputs[0] not in graph.weights else Role.FLOAT
    return Role.FLOAT


def _already_quantised(node: NodeView, graph: GraphView) -> bool:
    """Whether the model's author has put Q/DQ around this node: it is left as it is."""
    before = (graph.producer.get(t) for t in node.inputs if t)
    after = (u for t in node.outputs if t for u in graph.users(t))
    return any(n is not None and n.is_op("DequantizeLinear") for n in before) or any(
        n.is_op("QuantizeLinear") for n in after
    )


def _active(node: NodeView, graph: GraphView) -> bool:
    if not graph.is_float(node.inputs[0]) or node.inputs[0] in graph.weights:
        return False
    if node.is_op("MatMul"):
        weight = graph.weights.get(node.inputs[1])
        return graph.is_float(node.inputs[1]) and (weight is None or len(weight.shape) >= 2)
    if weight_slot(node, graph) is None:
        return False
    if node.is_op("Gemm"):
        # alpha and beta other than 1 have no integer kernel; transA would quantise by column.
        return (
            node.int_attribute("transA", 0) == 0
            and node.float_attribute("alpha", 1.0) == 1.0
            and node.float_attribute("beta", 1.0) == 1.0
            and (len(node.inputs) < 3 or not node.inputs[2] or node.inputs[2] in graph.weights)
        )
    return True


@dataclass(frozen=True)
class _HalfForm:
    """Which parameters of an operator may be FP16 wherever they may be FP32."""

    inputs: frozenset[int]
    variadic: bool
    outputs: frozenset[int]


@lru_cache(maxsize=4096)
def _half_form(op_type: str, opset: int) -> _HalfForm | None:
    if not onnx.defs.has(op_type, opset):
        return None
    schema = onnx.defs.get_schema(op_type, opset)
    allowed = {c.type_param_str: set(c.allowed_type_strs) for c in schema.type_constraints}

    def takes_half(type_str: str) -> bool:
        return {"tensor(float)", "tensor(float16)"} <= allowed.get(type_str, {type_str})

    outputs = frozenset(i for i, p in enumerate(schema.outputs) if takes_half(p.type_str))
    slots = frozenset(i for i, p in enumerate(schema.inputs) if takes_half(p.type_str))
    if op_type == "Resize":
        slots &= {0}  # TensorRT's parser wants roi and scales in FP32
    last = schema.inputs[-1] if schema.inputs else None
    variadic = last is not None and last.option == onnx.defs.OpSchema.FormalParameterOption.Variadic
    return _HalfForm(slots, variadic, outputs) if outputs else None


def fp16_capable(node: NodeView, graph: GraphView) -> bool:
    """Whether ONNX has an FP16 form of the node: float in, float out, no subgraph."""
    if node.domain or node.captures or node.op_type in _KEEP_FP32:
        return False
    reads = any(t and graph.is_float(t) for t in node.inputs)
    writes = any(o and graph.is_float(o) for o in node.outputs)
    return reads and writes and _half_form(node.op_type, graph.opsets.get("", 1)) is not None


def fp16_slots(node: NodeView, graph: GraphView) -> tuple[int, ...]:
    """The input slots of an FP16-capable node that take FP16 tensors."""
    form = _half_form(node.op_type, graph.opsets.get("", 1))
    if form is None:
        return ()
    last = max(form.inputs, default=-1)
    return tuple(
        s
        for s, t in enumerate(node.inputs)
        if t and graph.is_float(t) and (s in form.inputs or (form.variadic and s > last >= 0))
    )


def fp16_outputs(node: NodeView, graph: GraphView) -> tuple[int, ...]:
    """The outputs of an FP16-capable node that are FP16 when it computes in FP16."""
    form = _half_form(node.op_type, graph.opsets.get("", 1))
    if form is None:
        return ()
    # A variadic output (Split) is one formal parameter for all of them.
    single = form.outputs == {0}
    return tuple(
        i
        for i, t in enumerate(node.outputs)
        if t and graph.is_float(t) and (i in form.outputs or (single and node.is_op("Split")))
    )
