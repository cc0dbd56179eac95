"""A read-only, name-based view of a prepared ONNX graph: what grouping and lowering work on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir

__all__ = ["Dim", "GraphView", "NodeView", "Weight"]

Dim = int | None
"""A dimension; ``None`` where it is dynamic."""


_SMALL = 1 << 16
"""Elements of a tensor that is read rather than mapped: a map takes ten times as long to make."""


@dataclass(frozen=True, eq=False)
class Weight:
    """A constant tensor.

    Attributes:
        name: Its tensor name.
        elem_type: ONNX element type (``onnx.TensorProto.FLOAT`` …).
        shape: Its shape.
        tensor: The data; external data is read only when asked for.
        proto_bytes: The serialized ``TensorProto``, name included.
    """

    name: str
    elem_type: int
    shape: tuple[int, ...]
    tensor: ir.TensorProtocol = field(repr=False)

    @cached_property
    def array(self) -> npt.NDArray[np.generic]:
        """The values, not to be changed."""
        if self._file is not None and self.size <= _SMALL:
            return self._read(self._file)
        values: npt.NDArray[np.generic] = np.asarray(self.tensor.numpy())
        return values

    def load(self) -> npt.NDArray[np.generic]:
        """The values for one use: those of a large tensor are read anew and not kept.

        `array` stays; over all weights that is the whole model once more.
        """
        if self._file is not None:
            return self._read(self._file)
        return self.array if self.size <= _SMALL else np.asarray(self.tensor.numpy())

    @property
    def _file(self) -> ir.ExternalTensor | None:
        """Where an FP32 tensor lies outside of the model."""
        tensor = self.tensor
        if not isinstance(tensor, ir.ExternalTensor) or self.elem_type != onnx.TensorProto.FLOAT:
            return None
        return tensor

    def _read(self, tensor: ir.ExternalTensor) -> npt.NDArray[np.generic]:
        start = int(tensor.offset or 0)
        return np.fromfile(tensor.path, "<f4", self.size, offset=start).reshape(self.shape)

    @cached_property
    def proto_bytes(self) -> bytes:
        """The serialized ``TensorProto`` named `name`; external data stays external."""
        proto = ir.serde.serialize_tensor(self.tensor)
        proto.name = self.name
        proto.ClearField("doc_string")
        return bytes(proto.SerializeToString(deterministic=True))

    @property
    def size(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape, dtype=np.int64))


@dataclass(frozen=True, eq=False)
class NodeView:
    """One node of the main graph.

    Attributes:
        index: Position in graph order.
        key: Its first non-empty output tensor in the original model's naming.
        op_type, domain: The operator; ``domain`` is "" for the default one.
        inputs, outputs: Tensor names, "" where absent.
        attributes: Its attributes (not graphs) as Python values; tensors as ``ir.TensorProtocol``.
        captures: Tensors of the main graph that its subgraphs use.
        proto: The node as a protobuf message, to be copied and never changed.
    """

    index: int
    key: str
    op_type: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, object]
    captures: frozenset[str]
    proto: onnx.NodeProto

    def is_op(self, *op_types: str) -> bool:
        """Whether it is one of these operators of the default domain."""
        return self.domain == "" and self.op_type in op_types

    def int_attribute(self, name: str, default: int) -> int:
        """An integer attribute or its default."""
        value = self.attributes.get(name, default)
        return value if isinstance(value, int) else default

    def float_attribute(self, name: str, default: float) -> float:
        """A float attribute or its default."""
        value = self.attributes.get(name, default)
        return float(value) if isinstance(value, (int, float)) else default


@dataclass(frozen=True, eq=False)
class GraphView:
    """The main graph after preparation (`precsearch.graph.prepare`).

    Attributes:
        nodes: In topological order.
        weights: Constants by tensor name; only those that something uses.
        inputs, outputs: The graph's own, initializers not among the inputs.
        elem_types: ONNX element type by tensor name where it is known.
        shapes: Shape by tensor name where the rank is known.
        opsets: Operator-set version by domain.
        ir_version: ONNX IR version.
        functions: Serialized model-local functions.
        name: The graph's name.
        memo: What others have found out about this graph and ask again, by their own names.
    """

    nodes: tuple[NodeView, ...]
    weights: Mapping[str, Weight]
    inputs: tuple[onnx.ValueInfoProto, ...]
    outputs: tuple[onnx.ValueInfoProto, ...]
    elem_types: Mapping[str, int]
    shapes: Mapping[str, tuple[Dim, ...]]
    opsets: Mapping[str, int]
    ir_version: int
    functions: tuple[onnx.FunctionProto, ...]
    name: str
    memo: dict[str, object] = field(default_factory=dict, init=False, repr=False)

    @cached_property
    def producer(self) -> dict[str, NodeView]:
        """The node that writes a tensor; graph inputs and weights have none."""
        return {t: n for n in self.nodes for t in n.outputs if t}

    @cached_property
    def consumers(self) -> dict[str, tuple[tuple[NodeView, int], ...]]:
        """(node, input slot) pairs that read a tensor, in graph order; -1 for a subgraph's use."""
        readers: dict[str, list[tuple[NodeView, int]]] = {}
        for node in self.nodes:
            for slot, tensor in enumerate(node.inputs):
                if tensor:
                    readers.setdefault(tensor, []).append((node, slot))
            for tensor in sorted(node.captures):
                readers.setdefault(tensor, []).append((node, -1))
        return {t: tuple(uses) for t, uses in readers.items()}

    @cached_property
    def names(self) -> frozenset[str]:
        """Every tensor name that is taken, those of subgraphs included."""
        names = {v.name for v in self.inputs} | self.weights.keys()
        pending = [n.proto for n in self.nodes]
        while pending:
            node = pending.pop()
            names |= {t for t in node.output if t}
            for attribute in node.attribute:
                inner = [attribute.g] if attribute.HasField("g") else []
                for body in (*inner, *attribute.graphs):
                    names |= {v.name for v in (*body.input, *body.initializer)}
                    pending += body.node
        return frozenset(names)

    def free_name(self, name: str) -> str:
        """``name``, with underscores behind it as long as a tensor has it."""
        while name in self.names:
            name += "_"
        return name

    @cached_property
    def output_names(self) -> frozenset[str]:
        """Names of the graph's outputs."""
        return frozenset(o.name for o in self.outputs)

    @cached_property
    def by_key(self) -> dict[str, NodeView]:
        """Nodes by key."""
        return {n.key: n for n in self.nodes}

    def users(self, tensor: str) -> tuple[NodeView, ...]:
        """The nodes that read ``tensor``, in graph order, each once."""
        return tuple(dict.fromkeys(n for n, _ in self.consumers.get(tensor, ())))

    def only_user(self, tensor: str) -> NodeView | None:
        """The single node that reads ``tensor`` if there is just one and it is no graph output."""
        users = self.users(tensor)
        if len(users) != 1 or tensor in self.output_names or tensor in users[0].captures:
            return None
        return users[0]

    def is_float(self, tensor: str) -> bool:
        """Whether a tensor is known to be FP32."""
        return self.elem_types.get(tensor) == onnx.TensorProto.FLOAT

    def rank(self, tensor: str) -> int | None:
        """Number of dimensions, ``None`` where it is unknown."""
        shape = self.shapes.get(tensor)
        return None if shape is None else len(shape)

    def float_tensors(self) -> Iterator[str]:
        """FP32 tensors that are not constants: graph inputs first, then in graph order."""
        for value in self.inputs:
            if self.is_float(value.name):
                yield value.name
        for node in self.nodes:
            for tensor in node.outputs:
                if tensor and self.is_float(tensor):
                    yield tensor
