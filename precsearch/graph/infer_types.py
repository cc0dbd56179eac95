"""Element types that shape inference leaves open, from what the operators' definitions say."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import onnx

from precsearch.graph.view import NodeView

__all__ = ["complete_types"]


@lru_cache(maxsize=4096)
def _parameters(op_type: str, opset: int) -> tuple[tuple[str, ...], bool, tuple[str, ...], bool]:
    """Type parameters of inputs and outputs that stand for one tensor type each, "" elsewhere."""
    if not onnx.defs.has(op_type, opset):
        return (), False, (), False
    schema = onnx.defs.get_schema(op_type, opset)
    tensors = {
        c.type_param_str
        for c in schema.type_constraints
        if all(t.startswith("tensor(") for t in c.allowed_type_strs)
    }

    def named(
        formal: Iterable[onnx.defs.OpSchema.FormalParameter],
    ) -> tuple[tuple[str, ...], bool]:
        formal = tuple(formal)
        many = onnx.defs.OpSchema.FormalParameterOption.Variadic
        variadic = bool(formal) and formal[-1].option == many
        mixed = variadic and not formal[-1].is_homogeneous
        types = [p.type_str if p.type_str in tensors else "" for p in formal]
        return (*types[:-1], "") if mixed else tuple(types), variadic

    return (*named(schema.inputs), *named(schema.outputs))


def complete_types(nodes: Iterable[NodeView], types: dict[str, int], opset: int) -> None:
    """Fill in element types that follow from those of a node's other tensors.

    The outputs of an operator that nothing here knows are of unknown type, and shape inference
    then knows none of what comes after; but a product with an FP32 weight is FP32.

    Args:
        nodes: In topological order.
        types: Element type by tensor name; what is found is added.
        opset: Version of the default operator set.
    """
    forward = [n for n in nodes if not n.domain]
    known = -1
    while known < len(types):
        known = len(types)
        for node in (*forward, *reversed(forward)):
            _complete(node, types, opset)


def _complete(node: NodeView, types: dict[str, int], opset: int) -> None:
    inputs, many_in, outputs, many_out = _parameters(node.op_type, opset)
    bound: dict[str, int] = {}
    open_: list[tuple[str, str]] = []
    for tensors, parameters, many in (
        (node.inputs, inputs, many_in),
        (node.outputs, outputs, many_out),
    ):
        for position, tensor in enumerate(tensors):
            inside = position < len(parameters) or (many and bool(parameters))
            parameter = parameters[min(position, len(parameters) - 1)] if inside else ""
            if not tensor or not parameter:
                continue
            if types.get(tensor):
                bound[parameter] = types[tensor]
            else:
                open_.append((tensor, parameter))
    types.update({t: bound[p] for t, p in open_ if p in bound})
