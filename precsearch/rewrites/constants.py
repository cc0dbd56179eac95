"""Rewrite of a constant that FP16 cannot hold, such as the -3.4e38 of an attention mask."""

from __future__ import annotations

import numpy as np
import onnx

from precsearch.core.formats import FLOAT16
from precsearch.graph.view import GraphView
from precsearch.rewrites.rewrite import NamedRewrite, Rewrite

__all__ = ["clamped_constants"]

_LIMIT = 1e4
"""exp(-1e4) is 0 in FP32 as in FP16, and sums with activations stay in range."""

_MASKING = ("Add", "Sub", "Mul", "Where")


def clamped_constants(graph: GraphView) -> NamedRewrite | None:
    """Constants beyond FP16's range that mask something, clamped to ±1e4.

    Exact where they only ever end in a Softmax: verify it.
    """
    rewrite = Rewrite()
    for name, weight in graph.weights.items():
        if not graph.is_float(name) or not weight.size or name in graph.output_names:
            continue
        users = graph.users(name)
        values = np.asarray(weight.load(), np.float32)
        if not (np.abs(values) > FLOAT16.largest).any():
            continue
        if not all(u.is_op(*_MASKING) and not u.captures for u in users):
            continue
        limited = np.clip(values, -_LIMIT, _LIMIT)
        clamped = rewrite.constant(graph, f"{name}/cure/clamped", limited)
        for user in users:
            (node,) = rewrite.instead.get(user.index, [user.proto])
            changed = onnx.NodeProto()
            changed.CopyFrom(node)
            changed.input[:] = [clamped if t == name else t for t in node.input]
            rewrite.instead[user.index] = [changed]
        rewrite.sites.append(name)
    what = "clamp mask constants that FP16 cannot hold to 1e4"
    return NamedRewrite("clamp-constants", what, rewrite) if rewrite.sites else None
