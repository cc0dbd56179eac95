"""What an engine is made of, by TensorRT's own engine inspector.

Two generations of JSON: up to 10 a tensor says ``Format/Datatype`` in one field, from 11 on
``Datatype`` by itself. Types are read from the tensors that a layer reads and writes, and from its
constants where they are listed; the names of kernels are no interface.
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

__all__ = ["REFORMAT", "EngineLayer", "computed_in", "engine_layers", "read_layers", "type_word"]

_OPAQUE = ("myelin", "foreignnode")
REFORMAT = "Reformat"
"""Layers that only change the type or the memory layout of a tensor."""
_MOVES = frozenset({REFORMAT, "NoOp", "Constant", "Shuffle", "Slice"})
_GENERATED, _PRODUCT = "kgen", "runtime_fusion"
_FUSED = frozenset({_GENERATED, _PRODUCT})
"""Generated code: what is quantized is dequantized there, and the product is one of floats."""
_TOKEN = re.compile(r"PWN\(|[(){}\[\]]")
_WORD = re.compile(r"[a-z0-9]+")
_TYPES = {
    **{"int8": "int8", "half": "half", "fp16": "half", "float": "float", "fp32": "float"},
    **{"bfloat16": "bfloat16", "bf16": "bfloat16"},
    **{"fp8": "fp8", "fp8e4m3": "fp8", "float8e4m3": "fp8", "float8e4m3fn": "fp8"},
    **{"int4": "int4", "fp4": "fp4", "fp4e2m1": "fp4", "uint8": "uint8"},
    **{"int32": "int32", "int64": "int64", "bool": "bool"},
}
"""A word of a type's description → what `EngineLayer` calls it."""
_QUANTIZED = ("int8", "fp8", "fp4", "int4")
_LABELS = {"half": "fp16", "bfloat16": "bf16", "float": "fp32"}
_MEMBERS: Mapping[str, Precision] = {p.value: p for p in Precision}


@dataclass(frozen=True)
class EngineLayer:
    """One layer of a built engine.

    Attributes:
        name: As the profiler calls it.
        kind: ``LayerType``, such as ``CaskConvolution``.
        nodes: ONNX nodes that it computes, as far as it says.
        inputs, outputs: Data types of its tensors, lower case.
        precision: What it computes in; ``None`` where that cannot be told (a fused region of many
            layers shows its outer tensors alone) or no member of `Precision` stands for it.
        tactic: Name of the kernel, "" if none is given.
        constants: Data types of its weights and scales, lower case, as far as they are listed.
    """

    name: str
    kind: str
    nodes: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    precision: Precision | None
    tactic: str
    constants: tuple[str, ...] = ()

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
        listing = json.loads(text, strict=False)
        rows = listing["Layers"]
        return tuple(_layer(row) for row in rows)
    except (ValueError, KeyError, TypeError) as error:
        raise BuildError(f"the engine inspector's answer cannot be read: {error}") from error


def _layer(row: Mapping[str, Any] | str) -> EngineLayer:
    if isinstance(row, str):  # an engine without detail lists names alone
        return EngineLayer(row, "", _named(row), (), (), None, "")
    name, kind = str(row.get("Name", "")), str(row.get("LayerType", ""))
    inputs, outputs, constants = (
        tuple(_type(t) for t in row.get(part, ())) for part in ("Inputs", "Outputs", "Constants")
    )
    nodes = metadata_nodes(str(row.get("Metadata", ""))) or _named(name)
    precision = computed_in(name, kind, inputs, outputs, constants)
    tactic = str(row.get("TacticName", ""))
    return EngineLayer(name, kind, nodes, inputs, outputs, precision, tactic, constants)


def _type(tensor: Mapping[str, Any]) -> str:
    """``int8``, ``half``, ``float`` …, from either generation's field."""
    return type_word(str(tensor.get("Datatype") or tensor.get("Format/Datatype") or ""))


def type_word(description: str) -> str:
    """The type that ``Thirty-two wide channel vectorized row major Int8 format`` names: ``int8``.

    By whole words: ``bfloat16`` is no ``float``, ``uint8`` no ``int8``. A description without a
    known word is returned in lower case.
    """
    lower = description.lower()
    return next((_TYPES[word] for word in _WORD.findall(lower) if word in _TYPES), lower)


def computed_in(
    name: str,
    kind: str,
    inputs: Iterable[str],
    outputs: Iterable[str],
    constants: Iterable[str] = (),
    weight: str = "",
) -> Precision | None:
    """What a layer computes in; ``None`` where that cannot be told, or has no `Precision`.

    A quantized type counts where data of it are read, by something other than a copy, and where
    the weight is of that type, too: one that is dequantized inside of a fused kernel meets data in
    a float type, and the product is one of floats. Of floats the weight's type counts, since a
    product that has swallowed the Casts around it reads and writes what they did; where no weight
    is listed, the lowest of all types. Weights in INT4 alone are INT4. Generated code of several
    types does not tell which of its operators computes in which.

    Args:
        name: Of the layer.
        kind: Its ``LayerType``.
        inputs: Types of what it reads, as `type_word` gives them.
        outputs: Types of what it writes.
        constants: Types of its weights and scales, empty where they are not listed.
        weight: Type of its largest constant that is no vector, "" if there is none or none is told.
    """
    if any(word in f"{name} {kind}".lower() for word in _OPAQUE):
        # Wherever nothing but FP32 goes in and out, its inside may still be anything.
        return None
    read, kept, wrote = set(inputs), set(constants), set(outputs)
    if kind not in _MOVES | _FUSED:
        for word in _QUANTIZED:
            if word in read and weight in ("", word):
                return _MEMBERS.get(word)
    if kind == _GENERATED and weight not in _LABELS:  # one kernel for many operators
        labels = (read | kept) & {*_LABELS, *_QUANTIZED}
        if len(labels) > 1 or labels & set(_QUANTIZED):
            return None
    if weight == "int4":  # whatever float type the product is one of
        return _MEMBERS.get(weight)
    floats = {weight} & _LABELS.keys() or (read | kept if kept else read | wrote)
    if kind == _PRODUCT and not weight:  # what else is fused with it may be in other types
        floats = read & _LABELS.keys()
        if len(floats) > 1:
            return None
    for word in ("half", "bfloat16", "float"):
        if word in floats:
            return _MEMBERS.get(_LABELS[word])
    return None


def _named(name: str) -> tuple[str, ...]:
    """The nodes that a layer's own name lists: ``conv1 + PWN(relu1)``."""
    parts = (_TOKEN.sub("", part).strip() for part in re.split(r" \+ |, |\|\|", name))
    return tuple(dict.fromkeys(p for p in parts if p))
