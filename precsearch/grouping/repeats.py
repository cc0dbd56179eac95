"""What repeats: structural signatures of groups, repeated sequences of them, and their size."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import cast

import numpy as np
import numpy.typing as npt

from precsearch.graph.view import GraphView, NodeView
from precsearch.graph.work import total_work

__all__ = ["block_names", "fixed_batch", "macs", "repeated_blocks", "signature"]


def signature(nodes: Sequence[NodeView], graph: GraphView) -> str:
    """A hash of operators, attributes, wiring and known shapes; equal for repeats of a layer."""
    known = cast("dict[tuple[int, ...], str]", graph.memo.setdefault("signatures", {}))
    key = tuple(n.index for n in nodes)
    if key not in known:
        known[key] = _signature(nodes, graph)
    return known[key]


def _signature(nodes: Sequence[NodeView], graph: GraphView) -> str:
    inner: dict[str, tuple[int, int]] = {}
    outer: dict[str, int] = {}

    def label(tensor: str) -> object:
        weight = graph.weights.get(tensor)
        if weight is not None:
            return ("constant", weight.elem_type, weight.shape)
        if tensor in inner:
            return inner[tensor]
        if not tensor:
            return None
        return (outer.setdefault(tensor, len(outer)), graph.shapes.get(tensor))

    rows: list[object] = []
    for position, node in enumerate(nodes):
        attributes = sorted(a.SerializeToString(deterministic=True) for a in node.proto.attribute)
        inputs = [label(t) for t in node.inputs]
        shapes = [graph.shapes.get(t) for t in node.outputs]
        rows.append((node.domain, node.op_type, attributes, inputs, shapes))
        inner.update({t: (position, i) for i, t in enumerate(node.outputs) if t})
    return hashlib.sha256(repr(rows).encode()).hexdigest()[:16]


def macs(nodes: Iterable[NodeView], graph: GraphView) -> int:
    """Multiply-accumulates for one sample; unknown dimensions count as 1."""
    return total_work(nodes, graph).macs // fixed_batch(graph)


def fixed_batch(graph: GraphView) -> int:
    """The fixed batch: what the first input and the first output have as leading dimension."""
    leading = {
        next((d.dim_value for d in value.type.tensor_type.shape.dim), 0)
        for value in (*graph.inputs[:1], *graph.outputs[:1])
    }
    return max(leading.pop(), 1) if len(leading) == 1 else 1


def block_names(
    parts: Sequence[Sequence[int]], signatures: Sequence[str], graph: GraphView
) -> list[str]:
    """For every group the repeated block that it is in: ``block0``, ``block1`` …, or "".

    Groups without floating-point results neither make nor break a repetition; those in the midst
    of a block belong to it.

    Args:
        parts: Node indices of the groups, in graph order.
        signatures: Theirs.
        graph: The prepared model.
    """
    floats = [
        number
        for number, part in enumerate(parts)
        if any(graph.is_float(t) for i in part for t in graph.nodes[i].outputs if t)
    ]
    widths = _cut_widths(parts, graph)
    names = [""] * len(parts)
    cuts = [widths[n] for n in floats] + [0]
    ranges = repeated_blocks([signatures[n] for n in floats], cuts)
    for count, (start, end) in enumerate(ranges):
        for number in range(floats[start], floats[end - 1] + 1):
            names[number] = f"block{count}"
    return names


def _cut_widths(parts: Sequence[Sequence[int]], graph: GraphView) -> list[int]:
    """How many groups before each one write an FP32 tensor that it or a later one reads."""
    place = {i: number for number, part in enumerate(parts) for i in part}
    changes = [0] * (len(parts) + 1)
    for number, part in enumerate(parts):
        tensors = (t for i in part for t in graph.nodes[i].outputs if graph.is_float(t))
        read = max((place[u.index] for t in tensors for u in graph.users(t)), default=number)
        if read > number:
            changes[number + 1] += 1
            changes[read + 1] -= 1
    return list(accumulate(changes[:-1]))


@dataclass(frozen=True)
class _Run:
    """``count`` repeats of ``period`` positions, with room for ``slack`` other starts."""

    start: int
    period: int
    count: int
    slack: int


def repeated_blocks(signatures: Sequence[str], widths: Sequence[int]) -> list[tuple[int, int]]:
    """Find sequences that repeat back to back, at least twice.

    Args:
        signatures: Of the groups in order.
        widths: Number of groups whose results cross the cut before each group, and after the
            last. Where a sequence could begin at several places it begins at the first narrowest
            cut, or after a chain of equals there: a LayerNorm that feeds the first block is not
            part of it just because every block ends in such a one.

    Returns:
        Half-open ranges of positions, one for each repeat, ascending and disjoint.
    """
    numbers = {s: i for i, s in enumerate(dict.fromkeys(signatures))}
    ids = np.array([numbers[s] for s in signatures], dtype=np.intp)
    repeats: list[tuple[int, int]] = []
    segments = [(0, len(ids))]
    while segments:
        low, high = segments.pop()
        run = _longest(ids[low:high])
        if run is None:
            continue
        first = low + run.start
        length = run.period * run.count
        costs = [
            sum(widths[first + shift : first + shift + length + 1 : run.period])
            for shift in range(run.slack + 1)
        ]
        shift = costs.index(min(costs))
        while costs[shift + 1 : shift + 2] == [costs[shift]]:
            shift += 1
        start = first + shift
        repeats += [(b, b + run.period) for b in range(start, start + length, run.period)]
        segments += [(low, start), (start + length, high)]
    return sorted(repeats)


def _longest(ids: npt.NDArray[np.intp]) -> _Run | None:
    """The repetition that covers most, of equals the one with the shortest period."""
    best: _Run | None = None
    if not len(ids) or bool((ids == ids[0]).all()):
        return None  # one layer over and over is no block
    for period in range(2, len(ids) // 2 + 1):
        if not _may_repeat(ids, period):
            continue
        same = np.concatenate([[False], ids[:-period] == ids[period:], [False]])
        edges = np.flatnonzero(same[1:] != same[:-1]).reshape(-1, 2)
        for start, end in edges[edges[:, 1] - edges[:, 0] >= period].tolist():
            if len(set(ids[start : start + period].tolist())) < 2:
                continue
            count, slack = divmod(end - start + period, period)
            if best is None or count * period > best.count * best.period:
                best = _Run(start, period, count, slack)
        if best is not None and best.count * best.period == len(ids):
            break  # nothing covers more
    return best


_PROBES = 8


def _may_repeat(ids: npt.NDArray[np.intp], period: int) -> bool:
    """Whether a repetition of that period is possible, from a few positions in each period.

    In a repetition at least ``period`` positions in a row are like those a period later, and so
    are all of at least ``_PROBES - 1`` positions that lie an eighth of the period apart.
    """
    step = max(period // _PROBES, 1)
    probed = ids[::step]
    later = ids[period::step]
    same = probed[: len(later)] == later
    least = period // step - 1
    if least < 2:
        return bool(same.any())
    # A run of at least `least` probes: the sums of that many in a row reach it.
    sums = np.concatenate([[0], np.cumsum(same)])
    return bool((sums[least:] - sums[:-least] == least).any())
