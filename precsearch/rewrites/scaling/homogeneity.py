"""What each operator does with the scale of a channel: passes it on or pins it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from precsearch.graph.operators import PASSING
from precsearch.graph.view import GraphView, NodeView
from precsearch.rewrites.scaling.absorbers import absorber
from precsearch.rewrites.scaling.channels import Axis, ChannelClasses, ChannelGraph, Ids

__all__ = ["channel_classes"]


def channel_classes(graph: GraphView) -> ChannelClasses:
    """The classes of all channels of a graph; see `precsearch.rewrites.scaling.channels`."""
    channels = ChannelGraph(graph)
    for node in graph.nodes:
        passed = _passed(node, channels)
        for tensor in channels.floats(node):
            for axis in channels.axes(tensor):
                if (tensor, axis) not in passed:
                    channels.pin(tensor, axis)
    return channels.classes()


def _passed(node: NodeView, channels: ChannelGraph) -> set[Axis]:
    """Ties what a node passes on; the axes that it does not pin."""
    if node.domain or node.captures or not node.outputs or not node.outputs[0]:
        return set()
    operator = absorber(node, channels.graph)
    if operator is not None:
        ends = (axis for axis in (operator.takes, operator.gives) if axis is not None)
        return {axis for axis in ends if channels.ids(*axis) is not None}
    tie = _TIES.get(node.op_type)
    return set() if tie is None else tie(node, channels)


def _alike(node: NodeView, channels: ChannelGraph) -> set[Axis]:
    """f(s x) = s f(x) for s > 0, element by element."""
    return _tied_axes(channels, node.inputs[0], node.outputs[0])


def _tied_axes(
    channels: ChannelGraph, source: str, output: str, only: Sequence[int] | None = None
) -> set[Axis]:
    """Ties the axes of two tensors of one rank."""
    if channels.graph.rank(source) != channels.graph.rank(output):
        return set()
    passed: set[Axis] = set()
    for axis in channels.axes(source):
        tied = only is None or axis in only
        if tied and channels.tie(channels.ids(source, axis), channels.ids(output, axis)):
            passed |= {(source, axis), (output, axis)}
    return passed


def _pooled(node: NodeView, channels: ChannelGraph) -> set[Axis]:
    """One channel's values give that channel's result."""
    return _tied_axes(channels, node.inputs[0], node.outputs[0], (1,))


def _clipped(node: NodeView, channels: ChannelGraph) -> set[Axis]:
    """Clip at 0 alone is a Relu; an upper limit would have to be scaled with each channel."""
    low, high = (_limit(node, channels.graph, slot) for slot in (1, 2))
    return _alike(node, channels) if low == 0.0 and high is None else set()


def _limit(node: NodeView, graph: GraphView, slot: int) -> float | None:
    """A limit of a Clip: ``None`` without one, NaN if it is computed."""
    if slot >= len(node.inputs) or not node.inputs[slot]:
        return None
    weight = graph.weights.get(node.inputs[slot])
    if weight is None or weight.size != 1:
        return float("nan")
    return float(np.asarray(weight.array).reshape(-1)[0])


def _sloped(node: NodeView, channels: ChannelGraph) -> set[Axis]:
    slope = node.inputs[1] in channels.graph.weights
    return _tied_axes(channels, node.inputs[0], node.outputs[0]) if slope else set()


def _added(node: NodeView, channels: ChannelGraph) -> set[Axis]:
    """A sum: its terms and the result share their scales; a constant term is scaled with them."""
    graph, output = channels.graph, node.outputs[0]
    live = [t for t in node.inputs if t not in graph.weights]
    if not all(graph.is_float(t) for t in node.inputs):
        return set()
    passed = set(_axes(channels, output))
    for tensor in live:
        passed &= {(output, axis) for _, axis in _tied_axes(channels, tensor, output)}
    if len(live) < len(node.inputs):
        constant = next(t for t in node.inputs if t in graph.weights)
        if len(graph.weights[constant].shape) > (graph.rank(output) or 0):
            return set()
    return passed | {(t, axis) for t in live for _, axis in passed}


def _axes(channels: ChannelGraph, tensor: str) -> list[Axis]:
    return [(tensor, axis) for axis in channels.axes(tensor)]


_GATES = ("Sigmoid", "HardSigmoid", "Softmax", "Tanh")


def _multiplied(node: NodeView, channels: ChannelGraph) -> set[Axis]:
    """Of two activations: the result has the scale of one, the other one is a gate of scale 1."""
    graph, producer = channels.graph, channels.graph.producer
    scalars = [t in graph.weights and graph.weights[t].size == 1 for t in node.inputs]
    if any(scalars):
        return _tied_axes(channels, node.inputs[1 if scalars[0] else 0], node.outputs[0])
    gates = [t in producer and producer[t].is_op(*_GATES) for t in node.inputs]
    if gates[0] == gates[1]:
        return set()
    value = node.inputs[1 if gates[0] else 0]
    return _tied_axes(channels, value, node.outputs[0])


def _divided(node: NodeView, channels: ChannelGraph) -> set[Axis]:
    divisor = channels.graph.weights.get(node.inputs[1])
    return _alike(node, channels) if divisor is not None and divisor.size == 1 else set()


def _joined(node: NodeView, channels: ChannelGraph) -> set[Axis]:
    graph, output = channels.graph, node.outputs[0]
    rank = graph.rank(output)
    if rank is None or any(graph.rank(t) != rank or t in graph.weights for t in node.inputs):
        return set()
    along = node.int_attribute("axis", 0) % rank
    passed: set[Axis] = set()
    for axis in channels.axes(output):
        parts = [channels.ids(t, axis) for t in node.inputs]
        whole = channels.ids(output, axis)
        known = [p for p in parts if p is not None]
        if whole is None or len(known) < len(parts):
            continue
        wanted = [whole] * len(known) if axis != along else _cut(whole, [len(p) for p in known])
        if all(channels.tie(a, b) for a, b in zip(known, wanted, strict=True)):
            passed |= {(output, axis), *((t, axis) for t in node.inputs)}
    return passed


def _cut(whole: Ids, sizes: Sequence[int]) -> list[Ids]:
    return np.split(whole, np.cumsum(sizes)[:-1])


def _permuted(node: NodeView, channels: ChannelGraph) -> set[Axis]:
    source, output = node.inputs[0], node.outputs[0]
    rank = channels.graph.rank(source) or 0
    order = node.attributes.get("perm") or list(range(rank))[::-1]
    if not isinstance(order, (list, tuple)):
        return set()
    passed: set[Axis] = set()
    for axis in channels.axes(output):
        before = int(order[axis])
        if channels.tie(channels.ids(source, before), channels.ids(output, axis)):
            passed |= {(source, before), (output, axis)}
    return passed


def _reshaped(node: NodeView, channels: ChannelGraph) -> set[Axis]:
    """Channels that are still told apart: those of the last axis, and those before positions.

    The last axis stays if its size does. The second one stays, or becomes runs of equal channels,
    where only dimensions behind the first are changed: [N, C, H, W] to [N, C H W].
    """
    graph, source, output = channels.graph, node.inputs[0], node.outputs[0]
    before, after = graph.shapes.get(source), graph.shapes.get(output)
    if not before or not after or len(after) < 2 or len(before) < 2:
        return set()
    passed: set[Axis] = set()
    ends = (source, len(before) - 1), (output, len(after) - 1)
    if channels.tie(channels.ids(*ends[0]), channels.ids(*ends[1])):
        passed |= set(ends)
    inner, outer = [d for d in before[1:] if d], [d for d in after[1:] if d]
    known = len(inner) == len(before) - 1 and len(outer) == len(after) - 1
    ids, flat = channels.ids(source, 1), channels.ids(output, 1)
    if not known or ids is None or flat is None or np.prod(inner) != np.prod(outer):
        return passed
    if len(flat) % len(ids) == 0 and (len(after) == 2 or len(flat) == len(ids)):
        channels.tie(np.repeat(ids, len(flat) // len(ids)), flat)
        passed |= {(source, 1), (output, 1)}
    return passed


def _sliced(node: NodeView, channels: ChannelGraph) -> set[Axis]:
    """The axes that are not cut."""
    axes = channels.graph.weights.get(node.inputs[3]) if len(node.inputs) > 3 else None
    rank = channels.graph.rank(node.inputs[0])
    if axes is None or rank is None:
        return set()
    cut = {int(a) % rank for a in np.asarray(axes.array).reshape(-1)}
    kept = [axis for axis in channels.axes(node.inputs[0]) if axis not in cut]
    return _tied_axes(channels, node.inputs[0], node.outputs[0], kept)


def _padded(node: NodeView, channels: ChannelGraph) -> set[Axis]:
    graph = channels.graph
    given = len(node.inputs) > 2 and bool(node.inputs[2])
    zero = not given or _limit(node, graph, 2) == 0.0
    known = node.attributes.get("mode", "constant") == "constant" and zero
    return _pooled(node, channels) if known and node.float_attribute("value", 0.0) == 0 else set()


def _resized(node: NodeView, channels: ChannelGraph) -> set[Axis]:
    crops = node.attributes.get("coordinate_transformation_mode") == "tf_crop_and_resize"
    return set() if crops else _pooled(node, channels)


def _averaged(node: NodeView, channels: ChannelGraph) -> set[Axis]:
    """A mean over positions, with the reduced dimensions kept."""
    if not node.int_attribute("keepdims", 1):
        return set()
    return _tied_axes(channels, node.inputs[0], node.outputs[0])


_Tie = Callable[[NodeView, ChannelGraph], set[Axis]]
_TIES: Mapping[str, _Tie] = {
    **dict.fromkeys((*PASSING, "Relu", "LeakyRelu", "Abs", "Neg"), _alike),
    **dict.fromkeys(
        ("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "LpPool"), _pooled
    ),
    **dict.fromkeys(("ReduceMean", "ReduceMax", "ReduceSum"), _averaged),
    **dict.fromkeys(("Flatten", "Reshape"), _reshaped),
    **dict.fromkeys(("Resize", "Upsample"), _resized),
    **dict.fromkeys(("Add", "Sub"), _added),
    "Mul": _multiplied,
    "Div": _divided,
    "Clip": _clipped,
    "PRelu": _sloped,
    "Concat": _joined,
    "Transpose": _permuted,
    "Pad": _padded,
    "Slice": _sliced,
}
