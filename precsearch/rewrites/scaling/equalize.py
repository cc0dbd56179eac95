"""Equalization: channels of one tensor are scaled to like ranges, which INT8 then covers better.

A Conv, Gemm or norm writes its channels smaller or larger, and what reads them takes the scale back
(Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction, 2019; Xiao et
al., SmoothQuant, 2023). Scales are powers of two, which FP32 multiplies with exactly: operators
round as they did before, and a plan has a small whole number for each channel.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress

import numpy as np
import numpy.typing as npt
import onnx

from precsearch.codec.vectors import decode_vector
from precsearch.graph.operators import CONVOLUTIONS, PRODUCTS
from precsearch.graph.view import GraphView, NodeView, Weight
from precsearch.rewrites.rewrite import NamedRewrite, Parameters, Rewrite
from precsearch.rewrites.scaling.absorbers import absorber
from precsearch.rewrites.scaling.channels import Axis, ChannelClasses, Ids
from precsearch.rewrites.scaling.homogeneity import channel_classes

__all__ = [
    "EQUALIZE",
    "MOST",
    "Steps",
    "axis_of",
    "equalized",
    "first_labels",
    "name_of",
    "scale_of",
]

EQUALIZE = "equalize"
"""Name of the rewrite."""

MOST = 12
"""Largest exponent: scales stay within 2 ** -12 and 2 ** 12."""

Steps = npt.NDArray[np.int64]
"""An exponent for each channel: x becomes x / 2 ** k."""

Floats = npt.NDArray[np.float32]


def scale_of(steps: Steps) -> Floats:
    """2 ** steps in FP32."""
    return np.asarray(np.ldexp(np.float32(1), steps.astype(np.int32)), np.float32)


def name_of(axis: Axis) -> str:
    """How a plan names the channels of a tensor."""
    return f"{axis[1]}:{axis[0]}"


def axis_of(name: str) -> Axis | None:
    """The reverse of `name_of`; ``None`` if it is no such name."""
    number, colon, tensor = name.partition(":")
    return (tensor, int(number)) if colon and number.isdecimal() else None


def equalized(graph: GraphView, parameters: Parameters) -> NamedRewrite | None:
    """The graph with channels scaled.

    Args:
        graph: The prepared model.
        parameters: Exponents by `name_of` a tensor's axis, as `precsearch.codec.vectors` writes
            them, at most `MOST` in size. A class of channels takes its exponent from the first that
            names one of them. Channels that must keep their scale ignore theirs.

    Returns:
        ``None`` if nothing is scaled.
    """
    classes = channel_classes(graph)
    steps = _by_class(classes, _vectors(parameters))
    rewrite = Rewrite()
    for node in graph.nodes:
        scaled = _scaled(node, graph, classes, steps, rewrite)
        if scaled is not None:
            rewrite.instead[node.index] = [scaled]
            rewrite.sites.append(node.key)
    what = "scale channels of unequal range in the weights before and after them"
    return NamedRewrite(EQUALIZE, what, rewrite, parameters) if rewrite.sites else None


def _vectors(parameters: Parameters) -> dict[str, Steps]:
    vectors: dict[str, Steps] = {}
    for name, text in parameters.items():
        with suppress(ValueError):
            vectors[name] = decode_vector(str(text))
    return vectors


def _by_class(classes: ChannelClasses, vectors: Mapping[str, Steps]) -> Steps:
    """Exponent of each class; one more, 0, for the channels without a class."""
    steps = np.zeros(classes.count + 1, np.int64)
    for name in reversed(list(vectors)):
        axis = axis_of(name)
        labels = None if axis is None else classes.labels.get(axis)
        if labels is not None and len(labels) == len(vectors[name]):
            steps[labels] = np.clip(vectors[name], -MOST, MOST)
    steps[-1] = 0  # label -1
    return steps


def _steps(axis: Axis | None, classes: ChannelClasses, steps: Steps) -> Steps | None:
    """Exponents along an axis; ``None`` if all are 0."""
    labels = None if axis is None else classes.labels.get(axis)
    group_steps = None if labels is None else steps[labels]
    return group_steps if group_steps is not None and group_steps.any() else None


def _scaled(
    node: NodeView, graph: GraphView, classes: ChannelClasses, steps: Steps, rewrite: Rewrite
) -> onnx.NodeProto | None:
    """The node with constants that take up scales; ``None`` if it stays as it is."""
    changed: dict[int, Floats] = {}
    operator = absorber(node, graph)
    if operator is not None:
        takes, gives = (
            _steps(operator.takes, classes, steps),
            _steps(operator.gives, classes, steps),
        )
        if takes is not None or gives is not None:
            changed = _absorbed(node, graph, takes, gives)
    elif node.is_op("Add", "Sub"):
        changed = _shifted(node, graph, classes, steps)
    if not changed:
        return None
    copy = onnx.NodeProto()
    copy.CopyFrom(node.proto)
    for slot, values in changed.items():
        name = f"{node.key}/{EQUALIZE}/{slot}"
        copy.input[slot] = rewrite.constant(graph, name, values)
    return copy


def _absorbed(
    node: NodeView, graph: GraphView, takes: Steps | None, gives: Steps | None
) -> dict[int, Floats]:
    """New constants by input slot."""
    if node.is_op(*PRODUCTS):
        weight = _multiplied(node, graph, takes, gives)
        return {1: weight, **_given(node, graph, (2,), gives)}
    if node.is_op("BatchNormalization"):
        mean = _times(_values(node, graph, 3), _negative(takes), 0)
        scale = _times(_values(node, graph, 1), takes, 0)
        return {
            1: _times(scale, _negative(gives), 0),
            2: _times(_values(node, graph, 2), _negative(gives), 0),
            3: mean,
        }
    if node.is_op("LayerNormalization", "InstanceNormalization"):
        return _given(node, graph, (1, 2), gives)
    slot = 0 if node.inputs[0] in graph.weights else 1
    values = _values(node, graph, slot)
    axis = next(d for d, size in enumerate(values.shape) if size != 1)
    signs = (takes, _negative(gives)) if node.is_op("Mul") else (_negative(takes), gives)
    for one in signs:
        values = _times(values, one, axis)
    return {slot: values}


def _multiplied(
    node: NodeView, graph: GraphView, takes: Steps | None, gives: Steps | None
) -> Floats:
    """A weight with the scales of its input and output channels."""
    weight = _values(node, graph, 1)
    if not node.is_op(*CONVOLUTIONS):
        rows = node.is_op("Gemm") and bool(node.int_attribute("transB", 0))
        inner, outer = (1, 0) if rows else (0, 1)
        return _times(_times(weight, takes, inner), _negative(gives), outer)
    groups, shape = node.int_attribute("group", 1), weight.shape
    split = weight.reshape(groups, shape[0] // groups, *shape[1:])
    # A Conv has [out, in / groups, …], a ConvTranspose [in, out / groups, …].
    first, second = (_negative(gives), takes) if node.is_op("Conv") else (takes, _negative(gives))
    split = _times_grouped(_times_grouped(split, first, (0, 1)), second, (0, 2))
    return split.reshape(shape)


def _times_grouped(weight: Floats, steps: Steps | None, axes: tuple[int, int]) -> Floats:
    if steps is None:
        return weight
    shape = [1] * weight.ndim
    for axis in axes:
        shape[axis] = weight.shape[axis]
    return np.asarray(weight * scale_of(steps).reshape(shape), np.float32)


def _given(
    node: NodeView, graph: GraphView, slots: Iterable[int], gives: Steps | None
) -> dict[int, Floats]:
    """Constants that are added to an output or multiplied with it, such as a bias."""
    present = [s for s in slots if s < len(node.inputs) and node.inputs[s]]
    if gives is None:
        return {}
    return {s: _times(_values(node, graph, s), _negative(gives), -1) for s in present}


def _shifted(
    node: NodeView, graph: GraphView, classes: ChannelClasses, steps: Steps
) -> dict[int, Floats]:
    """The constant term of a sum, scaled as the sum is."""
    slot = next((s for s, t in enumerate(node.inputs) if t in graph.weights), None)
    rank = graph.rank(node.outputs[0])
    if slot is None or rank is None or not graph.is_float(node.inputs[slot]):
        return {}
    values, changed = _values(node, graph, slot), False
    for axis in dict.fromkeys((1, rank - 1)):
        shift = _steps((node.outputs[0], axis), classes, steps)
        if shift is not None:
            values = values.reshape((1,) * (rank - values.ndim) + values.shape)
            values = _times(values, _negative(shift), axis)
            changed = True
    return {slot: values} if changed else {}


def _times(values: Floats, steps: Steps | None, axis: int) -> Floats:
    """Values times 2 ** steps along an axis; a size of 1 is spread over it."""
    if steps is None:
        return values
    if values.ndim == 0:
        values = values.reshape(1)
    shape = [1] * values.ndim
    shape[axis] = len(steps)
    return np.asarray(values * scale_of(steps).reshape(shape), np.float32)


def _negative(steps: Steps | None) -> Steps | None:
    return None if steps is None else -steps


def _values(node: NodeView, graph: GraphView, slot: int) -> Floats:
    weight: Weight = graph.weights[node.inputs[slot]]
    return np.asarray(weight.load(), np.float32)


def first_labels(classes: ChannelClasses) -> dict[Axis, Ids]:
    """The axes that suffice to name every class: in graph order, each that has a new one."""
    seen = np.zeros(classes.count + 1, np.bool_)
    seen[-1] = True
    labels: dict[Axis, Ids] = {}
    for axis, ids in classes.free():
        if not seen[ids].all():
            labels[axis] = ids
            seen[ids] = True
    return labels
