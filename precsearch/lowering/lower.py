"""The lowering: an assignment becomes an ONNX model with Cast and Q/DQ nodes.

Where the backend's `GraphForm` is annotated there are no Casts: the graph is FP32 with Q/DQ, and
the model's metadata names what computes in another float precision
(`precsearch.lowering.engines.annotate`).
Byte-deterministic: the same model, assignment and scales give the same bytes with every supported
version of Python, NumPy, onnx and protobuf. No inferred shapes, producer or documentation strings
are written, and the bytes of constants are joined rather than serialised again, which also makes a
trial cheap: only its nodes are new.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from precsearch.core.backend import TYPED, GraphForm, QuantScheme
from precsearch.core.errors import OptionError
from precsearch.core.formats import FLOAT32
from precsearch.core.precision import Encoding, Precision
from precsearch.core.space import Assignment, SearchSpace
from precsearch.graph.serialize import skeleton_of
from precsearch.graph.view import GraphView
from precsearch.lowering.context import LoweringContext
from precsearch.lowering.emitter import Emitter, WeightCache
from precsearch.lowering.engines.annotate import METADATA_KEY, Annotation, annotate
from precsearch.lowering.engines.fp32_islands import fp32_islands
from precsearch.lowering.engines.ort_workarounds import engine_forms
from precsearch.lowering.qdq.layout import QuantLayout, reads_fine_scale
from precsearch.lowering.qdq.scales import QuantParams, ScaleSource
from precsearch.lowering.qdq.shifts import Shifts
from precsearch.lowering.write_node import write_node

__all__ = ["Lowered", "Lowering"]


@dataclass(frozen=True)
class Lowered:
    """A model that a backend can build.

    Attributes:
        model: The serialised ``ModelProto``; external weights stay external.
        digest: Identifies it among the lowerings of one prepared model, cheaper than `sha256`.
        params: Scale and zero point of every quantised activation.
        asked: Name of a node that must compute in less than FP32 → the precision asked of it.
        owners: Name of each node, added ones too → key of the group that it belongs to.
        parts: Group key → digest of its nodes and constants.
        shifts: Name of an INT8 node → what its bias is shifted by.
    """

    model: bytes
    digest: str
    params: Mapping[str, QuantParams]
    asked: Mapping[str, Precision]
    owners: Mapping[str, str]
    parts: Mapping[str, str]
    shifts: Shifts = field(default_factory=dict)

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the bytes, as hex."""
        return hashlib.sha256(self.model).hexdigest()


class Lowering:
    """Lowers assignments of one prepared model; caches its converted weights.

    Args:
        graph: The prepared model.
        space: Its groups.
        scheme: The backend's quantisation.
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
        self._hashes: dict[bytes, bytes] = {b"": b""}

    def lower(self, assignment: Assignment) -> Lowered:
        """The model for a canonical assignment.

        Raises:
            OptionError: The assignment is outside of the space, or asks for a precision that has
                no form in a graph.
            ModelError: A tensor to quantise was not calibrated.
            PlanError: A plan's scales do not fit.
        """
        layout = self.context.layout(assignment)
        floats = self._float_nodes(assignment, layout)
        self._check_casts(assignment, floats)
        formats = {i: p.spec.format for i, p in floats.items()}
        packed = self.context.packed(assignment)
        emitter = Emitter(
            self.graph,
            layout,
            {} if self.form.annotated else formats,
            self.scheme,
            self.context.around,
            self._cache,
            float_weights=self.form.annotated,
            packed=packed,
        )
        forms = engine_forms(self.graph, layout, self.scheme)
        forms = replace(forms, split=forms.split | self._gemms(packed))
        if self.form.guard_products:
            islands = fp32_islands(self.graph, layout, formats)
            forms = replace(forms, guarded=forms.guarded | islands)
        spans: list[tuple[str, int]] = []
        for node in self.graph.nodes:
            write_node(emitter, node, forms)
            spans.append((self._groups.get(node.key, node.key), len(emitter.nodes)))
        for output in self.graph.outputs:
            if self.graph.is_float(output.name):
                emitter.read(output.name, FLOAT32)
            elif output.name in self.graph.weights:
                emitter.weight(output.name, FLOAT32)
            maker = self.graph.producer.get(output.name)
            key = "" if maker is None else self._groups.get(maker.key, maker.key)
            spans.append((key, len(emitter.nodes)))
        quantized = sorted((*layout.active, *layout.passive))
        asked = {self.graph.nodes[i].key: layout.nodes[i] for i in quantized}
        asked |= {self.graph.nodes[i].key: p for i, p in floats.items() if i not in quantized}
        asked |= {self.graph.nodes[i].key: assignment[self._group(i)] for i in sorted(packed)}
        notes = self._annotation(emitter, spans, assignment, floats, layout.written)
        lowered = self._assemble(emitter, spans, layout.params, asked, notes)
        shifts = {self.graph.nodes[i].key: shift for i, shift in layout.shifts.items()}
        return replace(lowered, shifts=shifts) if shifts else lowered

    def _group(self, index: int) -> str:
        return self._groups[self.graph.nodes[index].key]

    def _gemms(self, indices: Iterable[int]) -> frozenset[int]:
        return frozenset(i for i in indices if self.graph.nodes[i].is_op("Gemm"))

    def _annotation(
        self,
        emitter: Emitter,
        spans: Iterable[tuple[str, int]],
        assignment: Assignment,
        floats: Mapping[int, Precision],
        quantised: Iterable[str],
    ) -> Annotation:
        if not self.form.annotated or not assignment.entries:
            return Annotation()
        owners: dict[str, Precision] = {}
        start = 0
        for key, end in spans:
            owners |= {node.name: assignment[key] for node in emitter.nodes[start:end]}
            start = end
        return annotate(self.graph, emitter.nodes, owners, floats, quantised)

    def _float_nodes(self, assignment: Assignment, layout: QuantLayout) -> dict[int, Precision]:
        """Index of each node that computes in another float precision than the model's → it."""
        active, found = frozenset(layout.active), {}
        for node in self.graph.nodes:
            wanted = self.form.float_of(assignment[self._groups.get(node.key, "")])
            takes = node.index in active and wanted.spec.encoding is Encoding.CAST
            if takes or self.context.takes(node, wanted):
                found[node.index] = wanted
        for index in self._fine_nodes(layout):
            found.pop(index, None)
        wide = self._wide_nodes(assignment, layout.spared, found)
        return {i: p for i, p in found.items() if i not in wide}

    def _check_casts(self, assignment: Assignment, floats: Mapping[int, Precision]) -> None:
        """Raise `OptionError` if no operator of a group has a form in what it is asked for."""
        written = {(self._groups.get(self.graph.nodes[i].key, ""), p) for i, p in floats.items()}
        for key, precision in assignment.entries:
            if precision.spec.encoding is Encoding.CAST and (key, precision) not in written:
                raise OptionError(
                    f"group {key!r}: none of its operators has a form in {precision} in operator "
                    f"set {self.graph.opsets.get('', 1)}"
                )

    def _fine_nodes(self, layout: QuantLayout) -> frozenset[int]:
        """Products on quantised tensors that read one whose scale FP16 does not hold.

        All of their operands are dequantised with FP32 scales, without a Cast, and they compute in
        FP32 what is not quantised: with scales of unlike types TensorRT cannot build a MatMul.
        """
        nodes = self.graph.nodes
        return frozenset(
            i
            for i in layout.active
            if reads_fine_scale(nodes[i], self.graph, layout.params, layout.nodes[i])
        )

    def _wide_nodes(
        self, assignment: Assignment, spared: Iterable[str], floats: Collection[int]
    ) -> frozenset[int]:
        """Nodes of INT8 groups that hand dequantised values to readers in FP32.

        Those may be beyond FP16's largest number, as what DequantizeLinear itself gives to FP32.
        """
        graph = self.graph
        makers = (
            graph.producer[t]
            for t in spared
            if t in graph.output_names or any(n.index not in floats for n in graph.users(t))
        )
        groups = self._groups
        return frozenset(
            n.index
            for n in makers
            if assignment[groups.get(n.key, "")].spec.encoding is Encoding.QDQ
        )

    def _assemble(
        self,
        emitter: Emitter,
        spans: Iterable[tuple[str, int]],
        params: Mapping[str, QuantParams],
        asked: Mapping[str, Precision],
        notes: Annotation,
    ) -> Lowered:
        said = {node: p.value.encode() for p, nodes in notes.asked.items() for node in nodes}
        said |= dict.fromkeys(notes.free, b"free")
        owners: dict[str, str] = {}
        pieces: dict[str, list[bytes]] = {}
        start = 0
        for key, end in spans:
            part = pieces.setdefault(key, [])
            for node in emitter.nodes[start:end]:
                owners[node.name] = key
                part.append(node.SerializeToString(deterministic=True))
                part += [self._hash(emitter.weights.get(t, b"")) for t in node.input]
                part.append(said.get(node.name, b""))
            start = end
        parts = {k: hashlib.sha256(b"".join(p)).hexdigest()[:16] for k, p in pieces.items()}
        skeleton = skeleton_of(
            self.graph,
            emitter.nodes,
            self.graph.inputs,
            self.graph.outputs,
            {METADATA_KEY: notes.to_json()} if notes else {},
        )
        digest = hashlib.sha256(skeleton.body)
        for key, short in sorted(parts.items()):
            digest.update(f"{key}={short}\n".encode())
        model = skeleton.with_weights(emitter.weights.values())
        return Lowered(model, digest.hexdigest(), params, asked, owners, parts)

    def _hash(self, constant: bytes) -> bytes:
        """Of a serialised constant, made once a model; it is the same object in every trial."""
        if constant not in self._hashes:
            self._hashes[constant] = hashlib.sha256(constant).digest()
        return self._hashes[constant]
