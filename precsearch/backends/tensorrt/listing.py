"""What an engine is made of, by what its builder writes into the log.

With detailed profiling verbosity TensorRT-RTX logs every layer of a finished engine at VERBOSE, in
the words of the engine inspector and with the types of the constants on top. An engine that was
built without a GPU cannot be opened, so nothing else tells in which types its layers run. The log
is no interface: where a version words it otherwise, no layer is found, and a caller must not take
that for an engine without layers.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from itertools import pairwise
from math import prod

from precsearch.backends.tensorrt.inspector import EngineLayer, computed_in, type_word
from precsearch.backends.tensorrt.layer_names import metadata_nodes

__all__ = ["is_layer", "listing_digest", "read_listing"]

_HEAD = re.compile(r"^Name: (?P<name>.*?), LayerType: (?P<kind>.*?), Inputs: \[")
_TENSOR = re.compile(r"\{ Name: .*?, Dimensions: \[(.*?)\].*?(?:Datatype|Format/Datatype): (\w+)")
_TACTIC = re.compile(r", TacticName: (.*?), StreamId: ")
_PARTS = ("Inputs", "Constants", "Outputs")
_BOOKKEEPING = frozenset({"shape_call", "signal", "wait"})
"""Kinds of layers that compute nothing."""


def is_layer(line: str) -> bool:
    """Whether a line of the log describes a layer of the engine."""
    return _HEAD.match(line) is not None


def read_listing(lines: Iterable[str]) -> tuple[EngineLayer, ...]:
    """The layers that compute or move something, in the order of the log."""
    heads = ((line, _HEAD.match(line)) for line in lines)
    layers = (_layer(line, head) for line, head in heads if head is not None)
    return tuple(layer for layer in layers if layer.kind not in _BOOKKEEPING)


def listing_digest(layers: Iterable[EngineLayer]) -> str:
    """SHA-256 of what was built, as hex: equal for two builds of one model.

    Names are left out, since those that the builder makes up carry counters of the process; for
    the same reason the bytes of two engines of one model differ.
    """
    lines = "\n".join(f"{' '.join(x.constants)} | {x.line}" for x in layers)
    return hashlib.sha256(lines.encode()).hexdigest()


def _layer(line: str, head: re.Match[str]) -> EngineLayer:
    tactic = _TACTIC.search(line, head.end())
    end = tactic.start() if tactic else len(line)
    parts = ((line.find(f", {part}: [", head.start(), end), part) for part in _PARTS)
    marks = [*sorted((at, part) for at, part in parts if at >= 0), (end, "")]
    tensors = {
        part: [(_dims(dims), type_word(word)) for dims, word in _TENSOR.findall(line[at:after])]
        for (at, part), (after, _) in pairwise(marks)
    }
    inputs, constants, outputs = (
        tuple(word for _, word in tensors.get(part, ())) for part in _PARTS
    )
    name, kind = head["name"], head["kind"]
    weight = _weight(tensors.get("Constants", ()))
    metadata = line.rfind("Metadata: ")
    return EngineLayer(
        name,
        kind,
        metadata_nodes(line[metadata:]) if metadata >= 0 else (),
        inputs,
        outputs,
        computed_in(name, kind, inputs, outputs, constants, weight),
        tactic[1] if tactic else "",
        constants,
    )


def _dims(text: str) -> tuple[int, ...]:
    return tuple(int(d) for d in text.split(",") if d.strip().lstrip("-").isdigit())


def _weight(constants: Iterable[tuple[tuple[int, ...], str]]) -> str:
    """The type of the largest constant that is no vector, "" without one.

    Next to a product's weight its kernel has scales, and the bias of an operator that is fused with
    it, which may be in other types.
    """
    matrices = [(prod(d), word) for d, word in constants if sum(n > 1 for n in d) > 1]
    return max(matrices, default=(0, ""), key=lambda pair: pair[0])[1]
