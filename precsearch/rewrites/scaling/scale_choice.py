"""Choosing scales of channels by the error that INT8 is predicted to make in what reads them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from precsearch.calibration.channels import ChannelStatistics
from precsearch.codec.vectors import encode_vector
from precsearch.graph.operators import PRODUCTS
from precsearch.graph.view import GraphView, NodeView
from precsearch.rewrites.scaling.absorbers import absorber
from precsearch.rewrites.scaling.channels import Axis, ChannelClasses, Ids
from precsearch.rewrites.scaling.equalize import MOST, first_labels, name_of
from precsearch.rewrites.scaling.homogeneity import channel_classes
from precsearch.rewrites.scaling.smooth import smoothable

__all__ = ["chosen_scales", "scalable_axes", "smooth_scales", "smoothable_axes"]

Doubles = npt.NDArray[np.float64]

_EXPONENTS = tuple(i / 8 for i in range(9))
_GAIN = 0.5
"""A block is left alone unless its predicted squared error falls below this share."""

_FLOOR = 2.0**-MOST
"""Channels that never rise above this share of their tensor's peak count as if they did."""


@dataclass(frozen=True, eq=False)
class _Reader:
    """An operator with weights that reads channels.

    Attributes:
        axis: What it reads.
        labels: Classes of its input channels; the count of classes where there is none.
        weight: Largest absolute weight, shape ``(outputs, inputs)``; 0 where there is none.
        energy: Sum of squared weights, of the same shape.
        size: Weights between an input and an output channel.
        found: Statistics of its input.
    """

    axis: Axis
    labels: Ids
    weight: Doubles
    energy: Doubles
    size: int
    found: ChannelStatistics

    def error(self, scales: Doubles) -> float:
        """Predicted squared error of the output over its mean square, for scales by class.

        Rounding adds step ** 2 / 12 to each input and each weight, all independent.
        """
        statistics, scale = self.found, scales[self.labels]
        levels = 255 / 2 if statistics.signed else 255
        step = float((statistics.peak / scale).max()) / levels
        energy = self.energy * scale**2
        rows = (self.weight * scale).max(axis=1) / 127
        squares = statistics.mean_square / scale**2
        used = (self.energy > 0).astype(np.float64) @ squares * self.size
        error = step**2 * energy.sum(axis=1) + rows**2 * used
        signal = energy @ squares
        return float(error.sum() / 12 / max(float(signal.sum()), 1e-30))


def scalable_axes(graph: GraphView) -> tuple[Axis, ...]:
    """The axes whose channels may be scaled and that an operator with weights reads."""
    labels = channel_classes(graph).labels
    read = {_read(n, graph) for n in graph.nodes}
    return tuple(axis for axis in labels if axis in read and (labels[axis] >= 0).any())


def _read(node: NodeView, graph: GraphView) -> Axis | None:
    """What an operator with weights reads, if it takes its scale up."""
    operator = absorber(node, graph) if node.is_op(*PRODUCTS) else None
    return None if operator is None else operator.takes


def chosen_scales(graph: GraphView, statistics: Mapping[Axis, ChannelStatistics]) -> dict[str, str]:
    """Parameters for `precsearch.rewrites.scaling.equalize.equalized`.

    Classes that meet in one tensor are a block. Of each block, the scale of a channel is its peak
    to some power over its weights' to another, as in SmoothQuant's equation 4; the power is the one
    with the least predicted error, and a block that gains little stays as it is.

    Args:
        graph: The prepared model.
        statistics: Of each of its `scalable_axes`; axes without are left alone.
    """
    classes = channel_classes(graph)
    steps = _chosen(graph, classes, statistics)
    scales = {name_of(a): np.where(i >= 0, steps[i], 0) for a, i in first_labels(classes).items()}
    return {name: encode_vector(vector) for name, vector in scales.items() if vector.any()}


def smoothable_axes(graph: GraphView) -> tuple[Axis, ...]:
    """The last axes of what `precsearch.rewrites.scaling.smooth` can scale in front of products."""
    return tuple((tensor, len(graph.shapes[tensor]) - 1) for tensor in smoothable(graph))


def smooth_scales(graph: GraphView, statistics: Mapping[Axis, ChannelStatistics]) -> dict[str, str]:
    """Parameters for `precsearch.rewrites.scaling.smooth.smoothed`, chosen as in `chosen_scales`.

    Args:
        graph: The prepared model.
        statistics: Of each of its `smoothable_axes`; axes without are left alone.
    """
    labels: dict[Axis, Ids] = {}
    count = 0
    for axis in smoothable_axes(graph):
        if axis in statistics:
            size = len(statistics[axis].peak)
            labels[axis] = np.arange(count, count + size)
            count += size
    steps = _chosen(graph, ChannelClasses(labels, count), statistics)
    return {
        tensor: encode_vector(steps[ids]) for (tensor, _), ids in labels.items() if steps[ids].any()
    }


def _chosen(
    graph: GraphView, classes: ChannelClasses, statistics: Mapping[Axis, ChannelStatistics]
) -> Ids:
    """Exponent of each class, and one more, 0, for the channels without a class."""
    readers = list(_readers(graph, classes, statistics))
    steps = np.zeros(classes.count + 1, np.int64)
    peaks, weights = _extents(classes, statistics, readers)
    for block, members in _blocks(classes, readers):
        around = [r for r in readers if r in members]
        plain = sum(r.error(_scales(steps)) for r in around)
        best, least = steps, plain * _GAIN
        for power in _EXPONENTS:
            tried = steps.copy()
            wanted = power * np.log2(peaks[block]) - (1 - power) * np.log2(weights[block])
            tried[block] = np.clip(np.rint(wanted - np.median(wanted)), -MOST, MOST)
            error = sum(r.error(_scales(tried)) for r in around)
            if error < least:
                best, least = tried, error
        steps = best
    return steps


def _scales(steps: Ids) -> Doubles:
    return np.asarray(np.ldexp(1.0, steps), np.float64)


def _readers(
    graph: GraphView, classes: ChannelClasses, statistics: Mapping[Axis, ChannelStatistics]
) -> Iterator[_Reader]:
    for node in graph.nodes:
        axis = _read(node, graph)
        if axis is None or axis not in statistics or axis not in classes.labels:
            continue
        labels = classes.labels[axis]
        weight = np.abs(_by_channels(node, graph))
        peak = weight.max(axis=2, initial=0.0)
        energy = np.square(weight).sum(axis=2)
        yield _Reader(
            axis,
            np.where(labels < 0, classes.count, labels),
            peak,
            energy,
            weight.shape[2],
            statistics[axis],
        )


def _by_channels(node: NodeView, graph: GraphView) -> Doubles:
    """A weight as ``(outputs, inputs, rest)``, zero between channels of different groups."""
    weight = np.asarray(graph.weights[node.inputs[1]].load(), np.float64)
    if node.is_op("MatMul") or (node.is_op("Gemm") and not node.int_attribute("transB", 0)):
        return np.asarray(weight.T[:, :, None], np.float64)
    if node.is_op("Gemm"):
        return weight[:, :, None]
    flat = weight.reshape(*weight.shape[:2], -1)
    groups = node.int_attribute("group", 1)
    if node.is_op("ConvTranspose"):  # [in, out / groups, …]
        split = flat.reshape(groups, -1, *flat.shape[1:]).transpose(0, 2, 1, 3)
    else:  # [out, in / groups, …]
        split = flat.reshape(groups, -1, *flat.shape[1:])
    _, outer, inner, rest = split.shape
    whole = np.zeros((groups, outer, groups, inner, rest))
    index = np.arange(groups)
    whole[index, :, index] = split
    return whole.reshape(groups * outer, groups * inner, rest)


def _extents(
    classes: ChannelClasses,
    statistics: Mapping[Axis, ChannelStatistics],
    readers: Sequence[_Reader],
) -> tuple[Doubles, Doubles]:
    """Largest peak and weight of each class, relative to the tensor's and the row's largest."""
    peaks = np.full(classes.count + 1, _FLOOR)
    weights = np.full(classes.count + 1, _FLOOR)
    for axis, channel in statistics.items():
        whole = float(channel.peak.max(initial=0.0))
        if axis in classes.labels and whole > 0:
            np.maximum.at(peaks, classes.labels[axis], channel.peak / whole)
    for reader in readers:
        rows = reader.weight.max(axis=1, keepdims=True)
        relative = np.divide(reader.weight, rows, out=np.zeros_like(reader.weight), where=rows > 0)
        np.maximum.at(weights, reader.labels, relative.max(axis=0))
    return peaks, weights


def _blocks(
    classes: ChannelClasses, readers: Sequence[_Reader]
) -> Iterator[tuple[Ids, list[_Reader]]]:
    """Classes that meet in an input, with the operators that read them."""
    left = list(readers)
    while left:
        members, left = [left[0]], left[1:]
        block = set(members[0].labels.tolist()) - {classes.count}
        while True:
            more = [r for r in left if not block.isdisjoint(r.labels.tolist())]
            if not more:
                break
            members += more
            left = [r for r in left if r not in more]
            for reader in more:
                block |= set(reader.labels.tolist()) - {classes.count}
        yield np.array(sorted(block), np.int64), members
