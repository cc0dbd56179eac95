"""Which nodes of a lowered model each node of ONNX Runtime's optimized graph computes.

ONNX Runtime gives a fused node a name of its own. Its tensors keep their names, so that what it
computes is what lies between its outputs and its inputs in the model that was given to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx

__all__ = ["fused_nodes", "uncomputed"]


def fused_nodes(
    lowered: onnx.ModelProto, optimized: onnx.ModelProto
) -> Mapping[str, tuple[str, ...]]:
    """Name of each node of the optimized graph → names of the lowered nodes that it computes.

    A node that ONNX Runtime removed belongs to its reader; one whose value it computed once and
    stored belongs to the first reader of that value. Each lowered node belongs to one node at most.

    Args:
        lowered: What ONNX Runtime was given.
        optimized: What it wrote as its optimized model, nodes in the order of execution.
    """
    producer = {t: n for n in lowered.graph.node for t in n.output if t}
    named = {n.name: n for n in lowered.graph.node}
    given = {v.name for v in optimized.graph.input}
    computed = {t for n in optimized.graph.node for t in n.output if t} | given
    claimed: set[str] = set()
    fused: dict[str, tuple[str, ...]] = {}
    for node in optimized.graph.node:
        mine: list[str] = []
        same = named.get(node.name)
        if same is not None and same.name not in claimed:
            claimed.add(same.name)
            mine.append(same.name)
        outside = computed - set(node.output)
        pending = list(node.output) if same is None else [*node.output, *same.input]
        while pending:
            tensor = pending.pop()
            maker = producer.get(tensor)
            if tensor in outside or maker is None or maker.name in claimed:
                continue
            claimed.add(maker.name)
            mine.append(maker.name)
            pending.extend(maker.input)
        fused[node.name] = (*fused.get(node.name, ()), *mine)
    return fused


def uncomputed(lowered: onnx.ModelProto, fused: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Names of the lowered nodes that no node of the optimized graph computes."""
    owned = {name for names in fused.values() for name in names}
    return tuple(n.name for n in lowered.graph.node if n.name not in owned)
