"""What an engine is made of, by TensorRT's own engine inspector.

Two generations of JSON: up to 10 a tensor says ``Format/Datatype`` in one field, from 11 on
``Datatype`` by itself. Types are read from the tensors that a layer reads and writes; the names of
kernels are no interface.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from precsearch.backends.tensorrt.layer_names import metadata_nodes
from precsearch.core.errors import BuildError
from precsearch.core.precision import Precision

__all__ = ["EngineLayer", "engine_layers", "read_layers"]

_OPAQUE = ("myelin", "foreignnode")
_MOVES = frozenset({"Reformat", "NoOp", "Constant", "Shuffle", "Slice"})
_TOKEN = re.compile(r"PWN\(|[(){}\[\]]")


@dataclass(frozen=True)
class EngineLayer:
    """One layer of a built engine.

    Attributes:
        name: As the profiler calls it.
        kind: ``LayerType``, such as ``CaskConvolution``.
        nodes: ONNX nodes that it computes, as far as it says.
        inputs, outputs: Data types of its tensors, lower case.
        precision: What it computes in; ``None`` where that cannot be told: a fused region of many
            layers shows its outer tensors alone.
        tactic: Name of the kernel, "" if none is given.
    """

    name: str
    kind: str
    nodes: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    precision: Precision | None
    tactic: str

    @property
    def line(self) -> str:
        """Nodes, types in and out, and kernel, to compare engines by."""
        types = f"{' '.join(self.inputs)} > {' '.join(self.outputs)}"
        tactic = "".join(c for c in self.tactic if c.isprintable())
        return f"{self.kind} | {' + '.join(self.nodes)} | {types} | {tactic}"


def engine_layers(trt: Any, engine: Any, context: Any) -> tuple[EngineLayer, ...]:  # noqa: ANN401
    """The layers of an engine that was built with detailed profiling verbosity.

    Raises:
        BuildError: The inspector's answer cannot be read.
    """
    inspector = engine.create_engine_inspector()
    inspector.execution_context = context
    text = inspector.get_engine_information(trt.LayerInformationFormat.JSON)
    return read_layers(text)


def read_layers(text: str) -> tuple[EngineLayer, ...]:
    """The layers that an inspector's JSON lists.

    Raises:
        BuildError: It is something else.
    """
    try:
        # Kernel names of TensorRT 8.6 hold raw control characters.
        found = json.loads(text, strict=False)
        rows = found["Layers"]
        return tuple(_layer(row) for row in rows)
    except (ValueError, KeyError, TypeError) as error:
        raise BuildError(f"the engine inspector's answer cannot be read: {error}") from error


def _layer(row: Mapping[str, Any] | str) -> EngineLayer:
    if isinstance(row, str):  # an engine without detail lists names alone
        return EngineLayer(row, "", _named(row), (), (), None, "")
    name, kind = str(row.get("Name", "")), str(row.get("LayerType", ""))
    inputs = tuple(_type(t) for t in row.get("Inputs", ()))
    outputs = tuple(_type(t) for t in row.get("Outputs", ()))
    nodes = metadata_nodes(str(row.get("Metadata", ""))) or _named(name)
    return EngineLayer(
        name,
        kind,
        nodes,
        inputs,
        outputs,
        _precision(name, kind, inputs, outputs),
        str(row.get("TacticName", "")),
    )


def _type(tensor: Mapping[str, Any]) -> str:
    """``int8``, ``half``, ``float`` …, from either generation's field."""
    said = str(tensor.get("Datatype") or tensor.get("Format/Datatype") or "").lower()
    for word, kind in _TYPES:
        if word in said:
            return kind
    return said


_TYPES = (
    ("int8", "int8"),
    ("fp16", "half"),
    ("half", "half"),
    ("bf16", "bfloat16"),
    ("fp32", "float"),
    ("float", "float"),
    ("int32", "int32"),
    ("int64", "int64"),
    ("bool", "bool"),
)


def _precision(
    name: str, kind: str, inputs: Iterable[str], outputs: Iterable[str]
) -> Precision | None:
    """What a layer computes in: the type of what it reads, or writes if that is lower."""
    opaque = any(word in f"{name} {kind}".lower() for word in _OPAQUE)
    read, wrote = set(inputs), set(outputs)
    if opaque:
        # Wherever nothing but FP32 goes in and out, its inside may still be anything.
        return None
    if "int8" in read and kind not in _MOVES:
        return Precision.INT8
    if "half" in read | wrote:
        return Precision.FP16
    if "bfloat16" in read | wrote:  # no member of `Precision` stands for it
        return None
    return Precision.FP32 if "float" in read | wrote else None


def _named(name: str) -> tuple[str, ...]:
    """The nodes that a layer's own name lists: ``conv1 + PWN(relu1)``."""
    parts = (_TOKEN.sub("", part).strip() for part in re.split(r" \+ |, |\|\|", name))
    return tuple(dict.fromkeys(p for p in parts if p))
