"""Which ONNX nodes' layers a weak plan sets, and to what, for tools outside of precsearch.

A weak model is an FP32 graph; what computes in FP16 is a note in its metadata. Whoever builds it by
other means must set the precision of every layer that may be set, and of no other one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import count

import onnx
from onnx.shape_inference import infer_shapes

from precsearch.backends.tensorrt.building.precision_constraints import read_asked
from precsearch.core.precision import Precision
from precsearch.graph.operators import MEASURING, PASSING, QDQ
from precsearch.lowering.engines.annotate import METADATA_KEY

__all__ = ["Pin", "Pins", "pins", "renamed"]

_UNSET = frozenset(
    {
        *(*PASSING, *MEASURING, "Cast", "CastLike", "Constant", "ConstantOfShape"),
        *(*QDQ, "DynamicQuantizeLinear"),
        *("If", "Loop", "Scan", "NonMaxSuppression", "NonZero"),
    }
)
"""Operators whose layers take no precision: TensorRT refuses, or the build fails."""

_FLOAT = onnx.TensorProto.FLOAT
_PLAIN = re.compile(r"[A-Za-z0-9_./-]+")


@dataclass(frozen=True)
class Pin:
    """A node and the precision of its layers.

    Attributes:
        node: Its name.
        outputs: Its outputs that are there.
        inner: For each output, whether it is no output of the graph; those stay FP32.
        precision: FP32 or FP16; ``None`` leaves it to the builder.
        settable: Whether its layers may be given one, as far as ONNX tells.
    """

    node: str
    outputs: tuple[str, ...]
    inner: tuple[bool, ...]
    precision: Precision | None
    settable: bool


@dataclass(frozen=True)
class Pins:
    """What a weak plan asks of its engine.

    Attributes:
        nodes: Every node, in graph order.
        fp16: Whether the builder may use FP16.
        int8: Whether it may use INT8.
    """

    nodes: tuple[Pin, ...]
    fp16: bool
    int8: bool

    @property
    def to_set(self) -> tuple[Pin, ...]:
        """Those that a tool which goes by layer names can set."""
        return tuple(p for p in self.nodes if p.precision is not None and p.settable)


def pins(model: onnx.ModelProto, *, pin_half: bool) -> Pins:
    """What a weak model asks for, the same as the tensorrt backend makes of it.

    Args:
        model: With its note of what may run in FP16.
        pin_half: Pin what may be FP16 to it; else it is left to the builder.

    Raises:
        BuildError: The note is malformed.
    """
    asked = read_asked(model)
    graph = infer_shapes(model).graph
    values = (*graph.value_info, *graph.output, *graph.input)
    types = {v.name: v.type.tensor_type.elem_type for v in values}
    ends = {o.name for o in graph.output}

    def precision(node: onnx.NodeProto) -> Precision | None:
        if not asked.lowered or node.name in asked.free or node.op_type in _UNSET:
            return None
        if node.name in asked.fp16:
            return Precision.FP16 if pin_half else None
        return Precision.FP32

    def settable(node: onnx.NodeProto) -> bool:
        known = node.domain in ("", "ai.onnx") and node.op_type not in _UNSET
        return known and all(types.get(o) == _FLOAT for o in node.output if o)

    constraints = []
    for node in graph.node:
        outputs = tuple(filter(None, node.output))
        inner = tuple(o not in ends for o in outputs)
        constraints.append(Pin(node.name, outputs, inner, precision(node), settable(node)))
    return Pins(tuple(constraints), asked.lowered, asked.int8)


def renamed(model: onnx.ModelProto, names: Iterable[str], longest: int) -> dict[str, str]:
    """Give nodes names that trtexec can be told, in place.

    It separates layers by commas and has no way to escape one; a quotation mark, an asterisk or a
    colon means something to it as well, and blanks do to a shell.

    Args:
        model: Its nodes and the note are changed.
        names: The nodes that must be named.
        longest: If the names have more characters than this together, all become short ones.

    Returns:
        Old name → new name, of those that changed.
    """
    remaining = list(names)
    taken = {node.name for node in model.graph.node}
    short = sum(map(len, remaining)) > longest
    changed: dict[str, str] = {}
    for number, name in enumerate(remaining):
        if _PLAIN.fullmatch(name) and not short:
            continue
        stem = f"n{number}" if short else re.sub(r"[^A-Za-z0-9_./-]+", "_", name) or "n"
        tries = (f"{stem}_{again}" for again in count(1))
        new = stem
        while new in taken:
            new = next(tries)
        taken.add(new)
        changed[name] = new
    if changed:
        _rename(model, changed)
    return changed


def _rename(model: onnx.ModelProto, changed: dict[str, str]) -> None:
    for node in model.graph.node:
        node.name = changed.get(node.name, node.name)
    for entry in model.metadata_props:
        if entry.key == METADATA_KEY:
            lists = json.loads(entry.value)
            new = {k: [changed.get(name, name) for name in v] for k, v in lists.items()}
            entry.value = json.dumps(new, sort_keys=True, separators=(",", ":"))
