"""What a compiled model is made of, by its runtime model and its profile.

A layer of the runtime model says which operations it computes (``originalLayersNames``), by which
kernel (``primitiveType``, such as ``brgemm_avx512_bf16``) and in which type (``runtimePrecision``).
A pattern that OpenVINO replaces (LayerNorm by MVN, say) is named after its last operation alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from precsearch.backends.openvino.artifact import NodeLink
from precsearch.core.precision import Precision

__all__ = ["RuntimeLayer", "achieved_precision", "node_layers", "runtime_layers"]

_SUFFIX = re.compile(r"_([A-Za-z]+\d+)$")
_PART = re.compile(r"/WithoutBiases$")
_ORIGINAL = "_original"
"""After the name of an operation on quantized values; its old name goes to what dequantizes."""
_EDGES = frozenset({"Const", "Input", "Output", "Reorder", "Convert"})
"""Layers that hold, hand over or convert values, whatever computes them."""
_CONVERSIONS = frozenset({"Reorder", "Convert", "FakeQuantize"})
_TYPES = {
    "f32": Precision.FP32,
    "bf16": Precision.BF16,
    "f16": Precision.FP16,
    "i8": Precision.INT8,
    "u8": Precision.INT8,
}


@dataclass(frozen=True, slots=True)
class RuntimeLayer:
    """One layer of the executed graph.

    Attributes:
        name: As the profile calls it.
        kind: ``layerType``, such as ``Convolution``.
        nodes: Operations that it computes, as OpenVINO lists them.
        kernel: ``primitiveType``.
        computes: ``runtimePrecision``.
        writes: ``outputPrecisions``.
    """

    name: str
    kind: str
    nodes: tuple[str, ...]
    kernel: str
    computes: str
    writes: str

    @property
    def precision(self) -> Precision | None:
        """What it computes in; ``None`` where no number is computed, or none that we know."""
        return achieved_precision(self.kind, self.kernel, self.computes)

    @property
    def converts(self) -> bool:
        """Whether it only changes the type or the memory layout of a tensor."""
        return self.kind in _CONVERSIONS

    @property
    def line(self) -> str:
        """Kind, kernel and types, to compare engines by."""
        return f"{self.kind} | {self.kernel} | {self.computes} > {self.writes}"


def achieved_precision(kind: str, kernel: str, computes: str) -> Precision | None:
    """The precision of a layer.

    Args:
        kind: ``layerType``.
        kernel: ``primitiveType``: its suffix is what the kernel computes in.
        computes: ``runtimePrecision``, for kernels whose name has no such suffix.
    """
    if kind in _EDGES:
        return None
    suffix = _SUFFIX.search(kernel)
    named = _TYPES.get(suffix.group(1).lower()) if suffix else None
    return named or _TYPES.get(computes.lower())


def runtime_layers(compiled: Any) -> tuple[RuntimeLayer, ...]:  # noqa: ANN401
    """The layers of a compiled model, in the order of execution."""
    layers = []
    for node in compiled.get_runtime_model().get_ordered_ops():
        info = {key: value.astype(str) for key, value in node.get_rt_info().items()}
        names = info.get("originalLayersNames", "")
        layers.append(
            RuntimeLayer(
                node.get_friendly_name(),
                info.get("layerType", ""),
                tuple(filter(None, names.split(","))),
                info.get("primitiveType", ""),
                info.get("runtimePrecision", ""),
                info.get("outputPrecisions", ""),
            )
        )
    return tuple(layers)


def node_layers(
    layers: Iterable[RuntimeLayer], nodes: Sequence[NodeLink]
) -> Mapping[str, RuntimeLayer]:
    """Name of each node of the lowered model → the layer that computes it, where that is known.

    A node that no layer names was replaced together with its readers, if one layer computes all of
    these; else it is left out.

    Args:
        layers: Of the compiled model.
        nodes: In graph order.
    """
    names = {n.name for n in nodes}
    named = [(n, x) for x in layers if x.kind not in ("Const", "Input") for n in x.nodes]
    by_node: dict[str, RuntimeLayer] = {}
    for name, layer in sorted(named, key=lambda row: not row[0].endswith(_ORIGINAL)):
        if known := _known(name.removesuffix(_ORIGINAL), names):
            by_node.setdefault(known, layer)
    readers: dict[str, list[str]] = {}
    for node in nodes:
        for tensor in node.inputs:
            readers.setdefault(tensor, []).append(node.name)
    for node in reversed(nodes):
        if node.name in by_node:
            continue
        after = {r: by_node.get(r) for t in node.outputs for r in readers.get(t, ())}
        computing = list(after.values())
        if computing and computing[0] is not None and all(x is computing[0] for x in computing):
            by_node[node.name] = computing[0]
    return by_node


def _known(name: str, names: set[str]) -> str:
    """The node that an operation stems from, "" if that is not known."""
    while name not in names:
        shorter = _PART.sub("", name)
        if shorter == name:
            return ""
        name = shorter
    return name
