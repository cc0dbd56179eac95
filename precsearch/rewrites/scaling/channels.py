"""Channels that can be scaled together without a change of what a model computes.

A channel is an index along one axis of a tensor. Relu, MaxPool or a residual Add pass the scale of
a channel on, so their channels belong to one *class*. A Conv, Gemm or LayerNormalization takes a
scale up into its weights, so its input and output belong to different classes. Everything else
(Sigmoid, Softmax, a graph's inputs and outputs) *pins* its channels: their scale stays 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from precsearch.graph.view import GraphView, NodeView

__all__ = ["Axis", "ChannelClasses", "ChannelGraph", "Ids"]

Axis = tuple[str, int]
"""A tensor and one of its axes."""

Ids = npt.NDArray[np.int64]
"""One number for each channel of an `Axis`."""


@dataclass(frozen=True)
class ChannelClasses:
    """The classes of the channels of a graph.

    Attributes:
        labels: Class of each channel, by tensor and axis; -1 where the scale of the class must
            stay 1.
        count: Number of classes; labels are below it.
    """

    labels: dict[Axis, Ids]
    count: int

    def free(self) -> Iterator[tuple[Axis, Ids]]:
        """The axes with a channel whose scale may change, in graph order."""
        return ((axis, ids) for axis, ids in self.labels.items() if (ids >= 0).any())


@dataclass
class ChannelGraph:
    """Collects which channels of a graph share a scale.

    Attributes:
        graph: The prepared model.
    """

    graph: GraphView
    _ids: dict[Axis, Ids] = field(default_factory=dict)
    _ties: list[tuple[Ids, Ids]] = field(default_factory=list)
    _pinned: list[Ids] = field(default_factory=list)
    _count: int = 0

    def axes(self, tensor: str) -> tuple[int, ...]:
        """The axes of a tensor that may hold channels: the second and the last."""
        rank = self.graph.rank(tensor)
        if not tensor or tensor in self.graph.weights or rank is None or rank < 2:
            return ()
        return (1,) if rank == 2 else (1, rank - 1)

    def ids(self, tensor: str, axis: int) -> Ids | None:
        """The channels along an axis; ``None`` if it holds none or its size is not known."""
        if axis not in self.axes(tensor):
            return None
        labels = self._ids.get((tensor, axis))
        size = self.graph.shapes[tensor][axis]
        if labels is None and size is not None:
            labels = np.arange(self._count, self._count + size, dtype=np.int64)
            self._count += size
            self._ids[tensor, axis] = labels
        return labels

    def pin(self, tensor: str, axis: int) -> None:
        """Keep the scale of all channels along an axis at 1."""
        labels = self.ids(tensor, axis)
        if labels is not None:
            self._pinned.append(labels)

    def tie(self, first: Ids | None, second: Ids | None) -> bool:
        """Let channels share their scale one by one.

        Returns:
            Whether there are as many of both; if not, nothing is tied.
        """
        if first is None or second is None or first.shape != second.shape:
            return False
        self._ties.append((first, second))
        return True

    def floats(self, node: NodeView) -> tuple[str, ...]:
        """The FP32 activations that a node or a subgraph of it touches."""
        named = (*node.inputs, *sorted(node.captures), *node.outputs)
        return tuple(dict.fromkeys(t for t in named if t and t not in self.graph.weights))

    def classes(self) -> ChannelClasses:
        """The classes of all channels that were asked for, with the graph's own ends pinned."""
        for value in (*self.graph.inputs, *self.graph.outputs):
            for axis in self.axes(value.name):
                self.pin(value.name, axis)
        roots = _roots(self._count, self._ties)
        held = np.zeros(self._count, np.bool_)
        for ids in self._pinned:
            held[roots[ids]] = True
        numbers = np.full(self._count, -1, np.int64)
        free = np.flatnonzero((roots == np.arange(self._count)) & ~held)
        numbers[free] = np.arange(len(free))
        labels = {axis: numbers[roots[ids]] for axis, ids in self._ids.items()}
        return ChannelClasses(labels, len(free))


def _roots(count: int, ties: Sequence[tuple[Ids, Ids]]) -> Ids:
    """The least member of each member's connected component.

    Every round hooks the root of one end of each tie to the smaller one and halves the paths
    (Shiloach and Vishkin, An O(log n) parallel connectivity algorithm, 1982).
    """
    roots = np.arange(count, dtype=np.int64)
    if not ties:
        return roots
    first = np.concatenate([a for a, _ in ties])
    second = np.concatenate([b for _, b in ties])
    while True:
        a, b = roots[first], roots[second]
        if np.array_equal(a, b):
            return roots
        low = np.minimum(a, b)
        np.minimum.at(roots, a, low)
        np.minimum.at(roots, b, low)
        while not np.array_equal(roots, roots[roots]):
            roots = roots[roots]
