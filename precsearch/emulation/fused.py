"""Tensors that an engine never rounds, since the kernel that makes them also reads them."""

from __future__ import annotations

from precsearch.core.precision import Encoding, Precision
from precsearch.core.space import LayerGroup
from precsearch.lowering.context import LoweringContext

__all__ = ["in_registers"]


def in_registers(
    context: LoweringContext, group: LayerGroup, precision: Precision
) -> frozenset[str]:
    """The tensors of a group at a float precision that its kernel holds in FP32 alone.

    A kernel computes in FP32 and rounds what it stores. Which kinds of groups are one kernel, the
    backend says (`GraphForm.one_kernel`).

    Args:
        context: The model, and the form that the backend builds from.
        group: The group.
        precision: What it runs in.
    """
    stored_after = context.form.one_kernel.get(group.kind)
    if stored_after is None or precision.spec.encoding is not Encoding.CAST:
        return frozenset()
    graph, own = context.graph, frozenset(group.nodes)
    nodes = [graph.by_key[key] for key in group.nodes]
    stored = [node for node in nodes if node.op_type in stored_after]
    if stored_after and not stored:
        return frozenset()  # another form of the pattern, which that kernel does not compute
    tensors = set()
    for node in nodes:
        if node in stored:
            continue
        for tensor in node.outputs:
            readers = graph.users(tensor)
            inside = all(reader.key in own for reader in readers)
            if readers and inside and tensor not in graph.output_names:
                tensors.add(tensor)
    return frozenset(tensors)
