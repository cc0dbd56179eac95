"""The lowering: an assignment becomes an ONNX model with Cast and Q/DQ nodes.

Where the backend's `GraphForm` is annotated there are no Casts: the graph is FP32 with Q/DQ, and
the model's metadata names what computes in another float precision
(`precsearch.lowering.engines.annotate`).
Byte-deterministic: the same model, assignment and scales give the same bytes with every supported
version of Python, NumPy, onnx and protobuf. No inferred shapes, producer or documentation strings
are written, and the bytes of constants are joined rather than serialized again, which also makes a
trial cheap: only its nodes are new.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from precsearch.core.backend import TYPED, GraphForm, QuantScheme
from precsearch.core.precision import Precision
from precsearch.core.space import Assignment, SearchSpace
from precsearch.graph.operators import PRODUCTS
from precsearch.graph.serialize import skeleton_of
from precsearch.graph.view import GraphView
from precsearch.lowering.capabilities import already_quantized
from precsearch.lowering.cast import float_nodes
from precsearch.lowering.context import LoweringContext
from precsearch.lowering.emitter import Emitter, Wanted
from precsearch.lowering.engines.annotate import METADATA_KEY, Annotation, annotate
from precsearch.lowering.engines.fp32_islands import fp32_islands
from precsearch.lowering.engines.kept_apart import packed_behind_attention, recurrent_behind_bf16
from precsearch.lowering.engines.ort_workarounds import engine_forms
from precsearch.lowering.engines.wide_joins import wide_joins
from precsearch.lowering.qdq.layout import QuantLayout
from precsearch.lowering.qdq.scales import QuantParams, ScaleSource
from precsearch.lowering.qdq.shifts import Shifts
from precsearch.lowering.write_node import write_node
from precsearch.lowering.writer import GraphWriter, WeightCache
from precsearch.system.serialized import SerializedModel

__all__ = ["Lowered", "Lowering"]


@dataclass(frozen=True)
class Lowered:
    """A model that a backend can build.

    Attributes:
        content: The serialized ``ModelProto``; external weights stay external.
        digest: Identifies it among the lowerings of one prepared model, cheaper than `sha256`.
        params: Scale and zero point of every quantized activation.
        asked: Name of a node that must compute in less than FP32 → the precision asked of it.
        owners: Name of each node, added ones too → key of the group that it belongs to.
        parts: Group key → digest of its nodes and constants.
        shifts: Name of an INT8 node → what its bias is shifted by.
        dynamic: Names of the INT8 nodes that round by the range of each inference, sorted.
        products: Names of its products in any precision, but for those of floats that the author's
            Q/DQ stands around: what these are asked for, the author has decided.
    """

    content: SerializedModel
    digest: str
    params: Mapping[str, QuantParams]
    asked: Mapping[str, Precision]
    owners: Mapping[str, str]
    parts: Mapping[str, str]
    shifts: Shifts = field(default_factory=dict)
    dynamic: tuple[str, ...] = ()
    products: tuple[str, ...] = ()

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the bytes, as hex."""
        return self.content.sha256

    @property
    def model(self) -> bytes:
        """The bytes of the model, joined anew each time."""
        return bytes(self.content)


class Lowering:
    """Lowers assignments of one prepared model; caches its converted weights.

    Args:
        graph: The prepared model.
        space: Its groups.
        scheme: The backend's quantization.
        scales: Calibrated ranges, or a plan's scales.
        form: What kind of graph is written.
    """

    def __init__(
        self,
        graph: GraphView,
        space: SearchSpace,
        scheme: QuantScheme,
        scales: ScaleSource,
        form: GraphForm = TYPED,
    ) -> None:
        self.graph = graph
        self.space = space
        self.scheme = scheme
        self.scales = scales
        self.form = form
        self.context = LoweringContext(graph, space, scheme, scales, form)
        self._groups = self.context.owners
        self._cache = WeightCache()
        self._hashes: dict[int, tuple[bytes, bytes]] = {}

    def lower(self, assignment: Assignment) -> Lowered:
        """The model for a canonical assignment.

        Raises:
            OptionError: The assignment is outside of the space, or asks for a precision that has
                no form in a graph.
            ModelError: A tensor to quantize was not calibrated.
            PlanError: A plan's scales do not fit.
        """
        layout = self.context.layout(assignment)
        floats = float_nodes(self.context, assignment, layout)
        demand = self._wanted(assignment, layout, floats)
        emitter = Emitter(self.graph, demand, self.scheme, self.context.around, self._cache)
        spans = self._written(emitter)
        nodes = self.graph.nodes
        quantized = sorted((*layout.active, *layout.passive))
        asked = {nodes[i].key: layout.nodes[i] for i in quantized}
        asked |= {nodes[i].key: p for i, p in floats.items() if i not in quantized}
        asked |= {nodes[i].key: Precision.INT8 for i in sorted(layout.dynamic)}
        asked |= {nodes[i].key: assignment[self._group(i)] for i in sorted(demand.packed)}
        notes = self._annotation(emitter.writer, spans, assignment, floats, layout.written)
        lowered = self._assemble(emitter.writer, spans, layout.params, asked, notes)
        shifts = {nodes[i].key: shift for i, shift in layout.shifts.items()}
        dynamic = tuple(sorted(nodes[i].key for i in layout.dynamic))
        return replace(lowered, shifts=shifts, dynamic=dynamic, products=self._products)

    def _wanted(
        self, assignment: Assignment, layout: QuantLayout, floats: Mapping[int, Precision]
    ) -> Wanted:
        formats = {i: p.spec.format for i, p in floats.items()}
        packed = self.context.packed(assignment)
        forms = engine_forms(self.graph, layout, self.scheme)
        forms = replace(forms, split=forms.split | self._gemms(packed))
        if self.form.guard_products:
            islands = fp32_islands(self.graph, layout, formats)
            fed = recurrent_behind_bf16(self.graph, formats)
            behind_floats, widened = packed_behind_attention(self.graph, layout, packed)
            guarded = forms.guarded | islands
            forms = replace(forms, guarded=guarded, fed=fed | behind_floats, widened=widened)
            forms = replace(forms, wide=wide_joins(self.graph, layout, formats))
        typed = {} if self.form.annotated else formats
        return Wanted(layout, typed, packed, forms, float_weights=self.form.annotated)

    def _written(self, emitter: Emitter) -> list[tuple[str, int]]:
        """Write nodes and outputs; for each, the key of its group and the nodes written by then."""
        spans: list[tuple[str, int]] = []
        for node in self.graph.nodes:
            write_node(emitter, node)
            spans.append((self._groups.get(node.key, node.key), len(emitter.writer.nodes)))
        for output in self.graph.outputs:
            if self.graph.is_float(output.name) or output.name in self.graph.weights:
                emitter.read(output.name)
            maker = self.graph.producer.get(output.name)
            key = "" if maker is None else self._groups.get(maker.key, maker.key)
            spans.append((key, len(emitter.writer.nodes)))
        return spans

    @cached_property
    def _products(self) -> tuple[str, ...]:
        return tuple(
            node.key
            for node in self.graph.nodes
            if node.is_op(*PRODUCTS)
            and self.graph.is_float(node.outputs[0])
            and not already_quantized(node, self.graph)
        )

    def _group(self, index: int) -> str:
        return self._groups[self.graph.nodes[index].key]

    def _gemms(self, indices: Iterable[int]) -> frozenset[int]:
        return frozenset(i for i in indices if self.graph.nodes[i].is_op("Gemm"))

    def _annotation(
        self,
        writer: GraphWriter,
        spans: Iterable[tuple[str, int]],
        assignment: Assignment,
        floats: Mapping[int, Precision],
        quantized: Iterable[str],
    ) -> Annotation:
        if not self.form.annotated or not assignment.entries:
            return Annotation()
        owners: dict[str, Precision] = {}
        start = 0
        for key, end in spans:
            owners |= {node.name: assignment[key] for node in writer.nodes[start:end]}
            start = end
        return annotate(self.graph, writer.nodes, owners, floats, quantized)

    def _assemble(
        self,
        writer: GraphWriter,
        spans: Iterable[tuple[str, int]],
        params: Mapping[str, QuantParams],
        asked: Mapping[str, Precision],
        notes: Annotation,
    ) -> Lowered:
        values = {node: p.value.encode() for p, nodes in notes.asked.items() for node in nodes}
        values |= dict.fromkeys(notes.free, b"free")
        owners: dict[str, str] = {}
        pieces: dict[str, list[bytes]] = {}
        start = 0
        for key, end in spans:
            part = pieces.setdefault(key, [])
            for node in writer.nodes[start:end]:
                owners[node.name] = key
                part.append(node.SerializeToString(deterministic=True))
                part += [self._hash(writer.weights.get(t, b"")) for t in node.input]
                part.append(values.get(node.name, b""))
            start = end
        parts = {k: hashlib.sha256(b"".join(p)).hexdigest()[:16] for k, p in pieces.items()}
        skeleton = skeleton_of(
            self.graph,
            writer.nodes,
            self.graph.inputs,
            self.graph.outputs,
            {METADATA_KEY: notes.to_json()} if notes else {},
        )
        digest = hashlib.sha256(skeleton.body)
        for key, short in sorted(parts.items()):
            digest.update(f"{key}={short}\n".encode())
        content = skeleton.with_weights(writer.weights.values())
        return Lowered(content, digest.hexdigest(), params, asked, owners, parts)

    def _hash(self, constant: bytes) -> bytes:
        """Of a serialized constant, made once a model; it is the same object in every trial.

        It is found by identity: as a key, all of its bytes would be hashed once more.
        """
        if not constant:
            return b""
        known = self._hashes.get(id(constant))
        if known is None:  # the constant is kept, so that no other one gets its identity
            known = self._hashes[id(constant)] = constant, hashlib.sha256(constant).digest()
        return known[1]
