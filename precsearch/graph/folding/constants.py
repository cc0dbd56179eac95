"""Constant folding: nodes that read constants alone become initializers.

Exporters write a weight as Transpose, Reshape, Cast or Identity of an initializer, as the
arithmetic of weight normalization, or as a shape that is computed from static ones. Only a constant
can be quantized per channel, so these are evaluated before anything looks at the graph. See
docs/adr/0012-constant-folding.md.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from precsearch.graph.folding.arithmetic import ARITHMETIC
from precsearch.graph.folding.call import Array, Call, Unfoldable
from precsearch.graph.folding.layout import LAYOUT, SIZES, new_shape
from precsearch.graph.folding.shapes import Dims, Shapes
from precsearch.graph.folding.stored import keeps_quantized
from precsearch.graph.operators import MEASURING, RESHAPING

__all__ = ["FOLDED", "fold_constants"]

FOLDED = {**ARITHMETIC, **LAYOUT}
"""Operator → what evaluates it, where its inputs are constants."""

_GROWTH = 1 << 18
"""Elements that one result may have beyond the largest input: 1 MiB of FP32."""

_TOTAL_GROWTH = 1 << 24
"""The same for all results of a model: 64 MiB of FP32."""

_MOST_BYTES = 1 << 30
_MESSAGE = (1 << 31) - (1 << 28)
"""What a model may hold inside its own file: a message is limited to 2 GiB, with room for nodes."""

_MALFORMED = (ValueError, TypeError, LookupError, ArithmeticError, RecursionError)


def fold_constants(graph: ir.Graph) -> int:
    """Evaluate the nodes of a graph that read constants alone, and remove them.

    A result may be little larger than what it is made from, so that no small node makes a large
    model. A weight in an external file stays there if it is only renamed or reshaped; it is read if
    its values change.

    Args:
        graph: In topological order, Constant nodes lifted; changed in place.

    Returns:
        How many nodes are gone.
    """
    folder = _Folder(graph)
    with np.errstate(all="ignore"):
        for node in graph:
            folder.visit(node)
    return folder.finish()


class _Folder:
    def __init__(self, graph: ir.Graph) -> None:
        self.graph = graph
        self.opset = graph.opset_imports.get("", graph.opset_imports.get("ai.onnx", 1))
        self.shapes = Shapes(graph)
        self.inputs = set(graph.inputs)
        self.known: dict[ir.Value, ir.TensorProtocol] = {}
        self.partial: dict[ir.Value, Dims] = {}
        self.aliases: dict[ir.Value, ir.Value] = {}
        self.kept: dict[ir.Value, ir.Value] = {}
        self.folded: list[ir.Node] = []
        self.readers: dict[ir.Value, int] = {}
        inside = (v.const_value for v in graph.initializers.values())
        held = sum(t.nbytes for t in inside if t and not isinstance(t, ir.ExternalTensor))
        self.room = max(0, min(_MOST_BYTES, _MESSAGE - held))
        self.growth = _TOTAL_GROWTH

    # What is known.

    def tensor(self, value: ir.Value) -> ir.TensorProtocol | None:
        """The constant that a value is, ``None`` if it is none."""
        tensor = self.known.get(value)
        if tensor is None and value.const_value is not None and value not in self.inputs:
            return value.const_value if value.producer() is None else None
        return tensor

    def visit(self, node: ir.Node) -> None:
        """Evaluate a node if that is possible."""
        self.shapes.pass_on(node)
        if node.domain not in ("", "ai.onnx") or node.op_type not in FOLDED:
            return
        if any(o.is_graph_output() for o in node.outputs):
            return
        try:
            results = self._results(node)
        except (Unfoldable, *_MALFORMED):
            return  # the node stays; whoever runs the model judges it
        if results is not None and len(results) >= len(node.outputs):
            self._take(node, results)

    def _results(self, node: ir.Node) -> Sequence[ir.TensorProtocol] | None:
        values = [None if v is None else self.tensor(v) for v in node.inputs]
        if any(t is None and v is not None for t, v in zip(values, node.inputs, strict=True)):
            return self._from_shape(node)
        if node.op_type == "DequantizeLinear" and keeps_quantized(node.outputs[0]):
            return None
        if any(t is not None and t.dtype is ir.DataType.STRING for t in values):
            return None
        call = Call(node, self.opset, tuple(values))
        if node.op_type in RESHAPING and (moved := self._moved(call)) is not None:
            return [moved]
        self._check_size(call)
        arrays = FOLDED[node.op_type](call)
        return [_tensor(a) for a in arrays]

    def _moved(self, call: Call) -> ir.TensorProtocol | None:
        """The same data under another name or, where it is external, in another shape."""
        tensor = call.tensor(0)
        if call.node.op_type == "Identity":
            return tensor
        if not isinstance(tensor, ir.ExternalTensor):
            return None
        shape = ir.Shape(new_shape(call))
        return ir.ExternalTensor(
            tensor.location,
            tensor.offset,
            tensor.length,
            tensor.dtype,
            shape=shape,
            name=tensor.name or "",
            base_dir=tensor.base_dir,
        )

    def _from_shape(self, node: ir.Node) -> Sequence[ir.TensorProtocol] | None:
        """The result of Shape, or of what picks static sizes out of one."""
        source = node.inputs[0]
        if source is None:
            return None
        if node.op_type in MEASURING:
            return self._shape_of(node, self.shapes[source])
        sizes = self.partial.get(source)
        rest = [None if v is None else self.tensor(v) for v in node.inputs[1:]]
        if sizes is None or node.op_type not in ("Gather", "Slice") or None in rest:
            return None
        marked = np.array([-1 if d is None else d for d in sizes], np.int64)
        call = Call(node, self.opset, (ir.Tensor(marked), *rest))
        (picked,) = FOLDED[node.op_type](call)
        if picked.size and int(picked.min()) < 0:
            return None
        return [_tensor(picked)]

    def _shape_of(self, node: ir.Node, dims: Dims | None) -> Sequence[ir.TensorProtocol] | None:
        if dims is None:
            return None
        if node.op_type == "Size":
            dims = (None,) if None in dims else (int(np.prod([d or 0 for d in dims])),)
        else:
            start, end = (node.attributes.get(n) for n in ("start", "end"))
            first = 0 if start is None else start.as_int()
            dims = dims[first : None if end is None else end.as_int()]
        if None in dims:
            if node.op_type == "Shape":
                self.partial[node.outputs[0]] = dims
            return None
        array = np.array([d or 0 for d in dims], np.int64)
        return [_tensor(array.reshape(()) if node.op_type == "Size" else array)]

    # How much it may be.

    def _check_size(self, call: Call) -> None:
        if max((t.nbytes for t in call.tensors if t is not None), default=0) > self.room:
            raise Unfoldable("the model's constants are too large to be written into one file")
        shapes = [tuple(call.shape(i)) for i in range(len(call.tensors)) if call.has(i)]
        largest = max((_count(s) for s in shapes), default=0)
        rule = SIZES.get(call.node.op_type)
        if rule is not None:
            size = rule(call)
        elif call.node.op_type in ARITHMETIC:
            size = _broadcast(shapes, call.node.op_type)
        else:
            size = sum(map(_count, shapes))
            # What is joined is no larger than its parts, each counted once.
            parts = {id(t): t.size for t in call.tensors if t is not None}
            largest = sum(parts.values())
        widest = max((t.dtype.itemsize for t in call.tensors if t is not None), default=8)
        if size * widest > self.room:
            raise Unfoldable("its result is too large to be written into the model")
        if size - largest > min(_GROWTH, self.growth):
            raise Unfoldable("its result is much larger than what it is made from")

    def _take(self, node: ir.Node, results: Sequence[ir.TensorProtocol]) -> None:
        largest = max((t.size for v in node.inputs if v and (t := self.tensor(v))), default=0)
        size = 0 if node.op_type == "Identity" else sum(map(_held, results))
        if size > self.room:
            return
        self.growth -= max(0, max(t.size for t in results) - largest)
        self.room -= size
        source = node.inputs[0] if node.inputs else None
        for output, tensor in zip(node.outputs, results, strict=False):
            self.known[output] = tensor
            self.readers[output] = len(output.uses())
        if node.op_type == "Identity" and source is not None:
            self.aliases[node.outputs[0]] = self.aliases.get(source, source)
        self.folded.append(node)
        for value in node.inputs:
            self._read(value)

    def _read(self, value: ir.Value | None) -> None:
        """Give back the room of a result that only folded nodes have read."""
        if value is None or value not in self.readers:
            return
        self.readers[value] -= 1
        if self.readers[value] == 0:
            self.room += 0 if value in self.aliases else _held(self.known[value])

    # What is changed.

    def finish(self) -> int:
        """Make initializers of what is still read, and drop the evaluated nodes."""
        gone = set(self.folded)
        for node in self.folded:
            for output in node.outputs:
                if all(use.node in gone for use in output.uses()):
                    continue
                value = self._kept(output)
                ir.convenience.replace_all_uses_with(output, value)
        for node in reversed(self.folded):
            self.graph.remove(node, safe=True)
        return len(self.folded)

    def _kept(self, output: ir.Value) -> ir.Value:
        source = self.aliases.get(output, output)
        if source.producer() is None:
            return source
        if source not in self.kept:
            self.kept[source] = self._initializer(source)
        return self.kept[source]

    def _initializer(self, output: ir.Value) -> ir.Value:
        name, tensor = output.name or "", self.known[output]
        output.name = f"{name}//folded"
        value = ir.Value(name=name, const_value=tensor)
        value.shape, value.dtype = ir.Shape(tuple(tensor.shape.numpy())), tensor.dtype
        tensor.name = name
        self.graph.register_initializer(value)
        return value


def _held(tensor: ir.TensorProtocol) -> int:
    """Bytes inside of the model's own file."""
    return 0 if isinstance(tensor, ir.ExternalTensor) else tensor.nbytes


def _tensor(array: Array) -> ir.TensorProtocol:
    return ir.Tensor(np.array(array, order="C"))


def _count(shape: Sequence[int]) -> int:
    return int(np.prod(shape, dtype=np.int64))


def _broadcast(shapes: Sequence[tuple[int, ...]], op_type: str) -> int:
    if op_type == "DequantizeLinear" or op_type.startswith("Reduce") or op_type == "Cast":
        return _count(shapes[0])
    return _count(np.broadcast_shapes(*shapes))
