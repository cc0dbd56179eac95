"""Precision layer by layer, for TensorRT before 11: what the graph's types do not say there.

The lowered model names, in its metadata, the nodes that may run in FP16 and those that INT8 leaves
to the builder; everything else in floating point must be FP32.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import onnx

from precsearch.backends.tensorrt.layer_names import layer_nodes
from precsearch.core.errors import BuildError
from precsearch.graph.operators import QDQ
from precsearch.lowering.engines.annotate import METADATA_KEY, Annotation

__all__ = [
    "Asked",
    "ConstraintMode",
    "apply_precisions",
    "constraint_modes",
    "near_quantized",
    "read_asked",
]

_MOST_SPARED = 3
_NEVER = frozenset(
    {
        *("CONSTANT", "SHAPE", "CAST", "IDENTITY", "QUANTIZE", "DEQUANTIZE", "ASSERTION"),
        *("TRIP_LIMIT", "RECURRENCE", "ITERATOR", "LOOP_OUTPUT"),
        *("CONDITION", "CONDITIONAL_INPUT", "CONDITIONAL_OUTPUT"),
        *("PLUGIN", "PLUGIN_V2", "PLUGIN_V3", "NMS", "NON_ZERO"),
    }
)
"""Layer types whose precision is not ours: a request there fails the build or changes nothing."""


@dataclass(frozen=True)
class Asked:
    """What a lowered model asks for.

    Attributes:
        fp16: Names of the nodes that may run in FP16.
        free: Names of the nodes that are the builder's to decide, around INT8.
        int8: Whether it holds Q/DQ.
    """

    fp16: frozenset[str] = frozenset()
    free: frozenset[str] = frozenset()
    int8: bool = False

    @property
    def lowered(self) -> bool:
        """Whether anything may be less than FP32."""
        return bool(self.fp16 or self.free or self.int8)


def read_asked(model: onnx.ModelProto) -> Asked:
    """What the metadata and the Q/DQ nodes of a weakly typed model say.

    Raises:
        BuildError: The metadata is malformed.
    """
    int8 = any(n.op_type in QDQ for n in model.graph.node)
    try:
        annotation = Annotation.of(model)
        return Asked(frozenset(annotation.fp16), frozenset(annotation.free), int8)
    except (ValueError, TypeError, KeyError) as error:
        raise BuildError(f"the model's {METADATA_KEY} is malformed: {error}") from error


@dataclass(frozen=True)
class ConstraintMode:
    """How precisions are asked for.

    Attributes:
        obey: Whether a pin is an order; else a wish that TensorRT warns of where it has no kernel.
        spare: Nodes as near as this to a Q or DQ, in tensors, are left to the builder.
    """

    obey: bool = True
    spare: int = 0

    @property
    def said(self) -> str:
        """What the user is told of one that gave way, "" of one that did not."""
        if self.obey:
            return ""
        spared = f", and nodes up to {self.spare} tensors away were left to it" * bool(self.spare)
        return f"TensorRT has no kernels for these pins beside Q/DQ: it took them as wishes{spared}"


def constraint_modes(model: onnx.ModelProto, *, pin_half: bool) -> Iterator[ConstraintMode]:
    """How to ask, and how to give way where TensorRT has no kernels beside Q/DQ: each asks less.

    Raises:
        BuildError: The model's metadata is malformed.
    """
    yield ConstraintMode()
    asked = read_asked(model)
    left = asked.free if pin_half else asked.free | asked.fp16
    pins = {n.name for n in model.graph.node if n.op_type not in QDQ} - left
    if not asked.int8 or not pins:
        return
    yield ConstraintMode(obey=False)
    for hops in range(1, _MOST_SPARED + 1):
        fewer = pins - near_quantized(model, hops)
        if fewer != pins:
            yield ConstraintMode(obey=False, spare=hops)
        pins = fewer


def apply_precisions(
    trt: Any,  # noqa: ANN401 - TensorRT's bindings have no types
    network: Any,  # noqa: ANN401
    config: Any,  # noqa: ANN401
    model: onnx.ModelProto,
    written: Mapping[str, str],
    *,
    pin_half: bool,
    manner: ConstraintMode,
) -> None:
    """Set builder flags and layer precisions.

    A pinned layer gets a precision and a type for every output, and OBEY: without it TensorRT
    takes either as a wish. Where nothing is pinned there is no OBEY either: with it TensorRT 8.6
    finds no kernel for an INT8 convolution whose residual Add is in float, pins or not.

    Args:
        trt: The module.
        network: Parsed from ``model``.
        config: The builder's.
        model: The lowered model.
        written: Tensor → name of the node that writes it.
        pin_half: Whether what may be FP16 is pinned to it.
        manner: How to ask.

    Raises:
        BuildError: The model's metadata is malformed.
    """
    asked = read_asked(model)
    if not asked.lowered:
        return
    flags = trt.BuilderFlag
    config.set_flag(flags.FP16)
    if asked.int8:
        config.set_flag(flags.INT8)
    left = asked.free | near_quantized(model, manner.spare)
    left |= frozenset() if pin_half else asked.fp16
    pinned = False
    for layer, node in layer_nodes(network, written):
        if not node or node in left or not _may_be_set(trt, layer):
            continue
        _pin(layer, trt.float16 if node in asked.fp16 else trt.float32)
        pinned = True
    if pinned:
        order = flags.OBEY_PRECISION_CONSTRAINTS
        config.set_flag(order if manner.obey else flags.PREFER_PRECISION_CONSTRAINTS)


def near_quantized(model: onnx.ModelProto, hops: int) -> frozenset[str]:
    """Names of the nodes that at most ``hops`` tensors separate from a Q or DQ."""
    beside: dict[str, set[str]] = {}
    nodes = {n.name: n for n in model.graph.node}
    for node in nodes.values():
        for tensor in (*node.input, *node.output):
            beside.setdefault(tensor, set()).add(node.name)
    frontier = {n for n, node in nodes.items() if node.op_type in QDQ}
    reached = set(frontier)
    for _ in range(hops):
        tensors = {t for n in frontier for t in (*nodes[n].input, *nodes[n].output) if t}
        frontier = {n for t in tensors for n in beside[t]} - reached
        reached |= frontier
    return frozenset(reached) if hops else frozenset()


def _may_be_set(trt: Any, layer: Any) -> bool:  # noqa: ANN401
    if layer.type.name in _NEVER:
        return False
    outputs = [layer.get_output(i) for i in range(layer.num_outputs)]
    floats = (trt.float32, trt.float16)
    return all(t is None or (t.dtype in floats and t.is_execution_tensor) for t in outputs)


def _pin(layer: Any, kind: Any) -> None:  # noqa: ANN401
    layer.precision = kind
    for i in range(layer.num_outputs):
        tensor = layer.get_output(i)
        if tensor is not None and not tensor.is_network_output:
            layer.set_output_type(i, kind)
