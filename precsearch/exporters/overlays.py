"""What viewers of ONNX models show of a plan: the precision of each node, and why it has it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import onnx

from precsearch.codec.canonical import canonical
from precsearch.core.precision import CONVERSION_COLOUR, Precision
from precsearch.core.trial import UNKNOWN
from precsearch.graph.operators import QDQ
from precsearch.plan.plan import Plan

__all__ = ["NodeNote", "model_explorer_data", "netron_model", "notes_of"]

_CONVERSIONS = frozenset({*QDQ, "Cast"})
_CONVERSION = "conversion"
_ADDED = "//"
"""In the names of the nodes that the lowering adds."""


@dataclass(frozen=True, slots=True)
class NodeNote:
    """What there is to say of a node.

    Attributes:
        group: Key of its group.
        asked: What its group was asked to run in.
        ran: What it ran in, ``unknown`` where the engine does not tell; "" without evidence.
        reason: Why; "" without evidence.
        converts: Whether it only changes the format of numbers.
    """

    group: str
    asked: Precision
    ran: str
    reason: str
    converts: bool

    @property
    def label(self) -> str:
        """The precision, or that it is a conversion."""
        return _CONVERSION if self.converts else self.asked.value

    @property
    def colour(self) -> str:
        """Of the label, as ``#rrggbb``; the report has the same ones."""
        return CONVERSION_COLOUR if self.converts else self.asked.spec.colour


def notes_of(plan: Plan, model: onnx.ModelProto, owners: Mapping[str, str]) -> dict[str, NodeNote]:
    """Notes by node name.

    Args:
        plan: The plan, with or without its evidence.
        model: Its lowered model.
        owners: Node name → group key.
    """
    asked = {g.key: g.precision for g in plan.recipe.groups}
    groups = {g.key: g for g in plan.evidence.groups} if plan.has_evidence else {}
    notes = {}
    for node in model.graph.node:
        key = owners.get(node.name)
        if key is None or key not in asked:
            continue
        evidence = groups.get(key)
        ran = ""
        if evidence is not None:
            ran = UNKNOWN if evidence.achieved is None else evidence.achieved.value
        reason = "" if evidence is None else evidence.reason
        converts = node.op_type in _CONVERSIONS and _ADDED in node.name
        notes[node.name] = NodeNote(key, asked[key], ran, reason, converts)
    return notes


def model_explorer_data(model: onnx.ModelProto, notes: Mapping[str, NodeNote]) -> str:
    """Custom node data of Model Explorer: a label and a colour for each node, as JSON.

    Nodes are named as by its adapter for ONNX (model-explorer-onnx).
    """
    results = {
        name: {"value": note.label, "bgColor": note.colour, "textColor": _contrast(note.colour)}
        for name, note in notes.items()
    }
    return canonical({model.graph.name or "<main>": {"results": results}}) + "\n"


def netron_model(model: onnx.ModelProto, notes: Mapping[str, NodeNote]) -> bytes:
    """A copy of the model whose nodes carry their notes, which Netron shows beside them."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for node in copy.graph.node:
        if node.name in notes:
            for key, value in _facts(notes[node.name]):
                node.metadata_props.add(key=f"precsearch.{key}", value=value)
    data: bytes = copy.SerializeToString(deterministic=True)
    return data


def _facts(note: NodeNote) -> Iterator[tuple[str, str]]:
    yield "group", note.group
    yield "precision", note.label
    if note.ran and not note.converts:
        yield "ran", note.ran
    if note.reason and not note.converts:
        yield "reason", note.reason


def _contrast(colour: str) -> str:
    """Black or white, whichever is easier to read on a colour (WCAG 2, relative luminance)."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "#000000" if (luminance + 0.05) / 0.05 >= 1.05 / (luminance + 0.05) else "#ffffff"
