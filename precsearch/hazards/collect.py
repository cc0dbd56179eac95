"""The screening run: statistics of every FP32 tensor, in bounded memory.

Tensors are read as outputs of the reference, as many at a time as fit the budget. For most models
that is all of them, so that each sample costs one run; a first run of one sample learns the sizes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from precsearch.core.backend import Feed
from precsearch.core.errors import ModelError
from precsearch.core.formats import FLOAT16, NumberFormat
from precsearch.hazards.statistics import ScreenStatistics, Tally
from precsearch.reference.session import first_line, open_reference, ort_errors
from precsearch.reference.side_by_side import run_in_order

__all__ = ["Screening", "screen", "with_outputs"]

_FLOAT, _INT64 = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64
_SIZE = "//size"


@dataclass(frozen=True)
class Screening:
    """What to look at.

    Attributes:
        model: The prepared model in FP32, serialized.
        model_folder: Folder of its external weights, if it has any.
        tensors: Names of the FP32 tensors to look at: inputs and outputs of nodes.
        softmax: Tensor that a Softmax reads → the axis of its rows.
        budget: Bytes of tensors in memory at a time; one that is larger is read alone.
        others: Float formats beside FP16 whose rounding is looked at.
    """

    model: bytes
    model_folder: str
    tensors: tuple[str, ...]
    softmax: Mapping[str, int] = field(default_factory=dict)
    budget: int = 256 << 20
    others: tuple[NumberFormat, ...] = ()


class _Collected:
    """Tallies of all tensors."""

    def __init__(self, softmax: Mapping[str, int], others: Sequence[NumberFormat]) -> None:
        self._softmax = softmax
        self._formats = (FLOAT16, *others)
        self._tallies: dict[NumberFormat, dict[str, Tally]] = {f: {} for f in self._formats}
        self._peaks: dict[str, float] = {}

    def add(self, tensor: str, values: npt.NDArray[Any]) -> None:
        for stored_as, tallies in self._tallies.items():
            tallies.setdefault(tensor, Tally(stored_as)).add(values)
        if tensor in self._softmax and values.size and values.ndim:
            peak = float(np.nan_to_num(values.max(axis=self._softmax[tensor])).min())
            self._peaks[tensor] = min(peak, self._peaks.get(tensor, peak))

    def result(self) -> ScreenStatistics:
        statistics = {
            stored_as: {t: s for t, tally in tallies.items() if (s := tally.result()) is not None}
            for stored_as, tallies in self._tallies.items()
        }
        plain = statistics.pop(FLOAT16)
        others = {stored_as.name: rows for stored_as, rows in statistics.items()}
        return ScreenStatistics(plain, dict(self._peaks), others)


def screen(screening: Screening, feeds: Sequence[Feed]) -> ScreenStatistics:
    """Run the model on every feed and look at its tensors.

    Raises:
        ModelError: ONNX Runtime refuses the model or a feed.
    """
    errors = ort_errors()
    collected = _Collected(screening.softmax, screening.others)
    try:
        for feed in feeds:
            for name in screening.tensors:
                if name in feed:
                    collected.add(name, np.asarray(feed[name]))
        for names in _chunks(screening, feeds):
            model = with_outputs(screening.model, names)
            session = open_reference(model, screening.model_folder)
            inputs = {i.name for i in session.get_inputs()}
            given = ({k: v for k, v in feed.items() if k in inputs} for feed in feeds)
            for values in run_in_order(session, model, given, names):
                while values:
                    collected.add(names[len(values) - 1], values.pop())
    except errors as error:
        raise ModelError(f"screening failed: {first_line(error)}") from error
    return collected.result()


def _chunks(screening: Screening, feeds: Sequence[Feed]) -> Iterator[list[str]]:
    """The tensors in graph order, as many at a time as fit the budget."""
    if not feeds:
        return
    largest = max(feeds, key=lambda feed: sum(v.size for v in feed.values()))
    chunk: list[str] = []
    room = screening.budget
    for name, size in _sizes(screening, largest).items():
        bytes_ = 4 * size
        if chunk and bytes_ > room:
            yield chunk
            chunk, room = [], screening.budget
        chunk.append(name)
        room -= bytes_
    if chunk:
        yield chunk


def _sizes(screening: Screening, feed: Feed) -> dict[str, int]:
    """Number of values of each tensor that a node writes, in graph order."""
    proto = onnx.ModelProto.FromString(screening.model)
    graph, looked_at = proto.graph, frozenset(screening.tensors)
    names: list[str] = []
    ordered: list[onnx.NodeProto] = []
    for node in graph.node:
        tensors = [t for t in node.output if t in looked_at]
        # Right behind its producer, which lets ONNX Runtime free the tensor.
        ordered += [node, *(onnx.helper.make_node("Size", [t], [t + _SIZE]) for t in tensors)]
        names += tensors
    body = onnx.GraphProto(node=ordered)
    del graph.node[:], graph.output[:]
    graph.node.extend(body.node)
    graph.output.extend(onnx.helper.make_tensor_value_info(t + _SIZE, _INT64, []) for t in names)
    if not names:
        return {}
    session = open_reference(proto.SerializeToString(), screening.model_folder)
    inputs = {i.name for i in session.get_inputs()}
    sizes = session.run(None, {k: v for k, v in feed.items() if k in inputs})
    return {t: int(size) for t, size in zip(names, sizes, strict=True)}


def with_outputs(model: bytes, tensors: Sequence[str]) -> bytes:
    """The model with these tensors as its only outputs, without what they do not need."""
    proto = onnx.ModelProto.FromString(model)
    graph = proto.graph
    needed = set(tensors)
    kept: list[onnx.NodeProto] = []
    for node in reversed(graph.node):
        if not needed.isdisjoint(node.output):
            needed |= _reads(node)
            kept.append(node)
    body = onnx.GraphProto(node=kept[::-1])
    del graph.node[:], graph.output[:]
    graph.node.extend(body.node)
    graph.output.extend(onnx.helper.make_tensor_value_info(t, _FLOAT, None) for t in tensors)
    return bytes(proto.SerializeToString())


def _reads(node: onnx.NodeProto) -> set[str]:
    """Names that a node and its subgraphs read; names of the subgraphs' own may be among them."""
    names = set(node.input)
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            names |= {o.name for o in graph.output}
            for inner in graph.node:
                names |= _reads(inner)
    return names
