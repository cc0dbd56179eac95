"""Einsum as MatMul: what an equation of two operands needs is at most a transposition of each.

Engines run MatMul in INT8 and fuse it with what is around it; most know no such form of Einsum. The
sums are those of the equation, added up in the order of the engine's MatMul.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

__all__ = ["as_matmul", "rewrite_einsums"]


@dataclass(frozen=True)
class Product:
    """A product of matrices in the letters of an Einsum equation.

    Attributes:
        left, right: Letters of the operands, ``right`` being the constant one if there is one.
        out: Letters of the result.
        swapped: Whether ``left`` is the second operand.
        batch: Letters in all three, in the order of ``out``.
        rows: Letters of ``left`` and ``out``.
        columns: Letters of ``right`` and ``out``.
        summed: Letters of ``left`` and ``right``.
    """

    left: str
    right: str
    out: str
    swapped: bool
    batch: str
    rows: str
    columns: str
    summed: str


def as_matmul(equation: str, operands: int, weight: Sequence[bool]) -> Product | str:
    """The product that an equation is, or why it is none, as the end of a sentence.

    Args:
        equation: The attribute of that name.
        operands: How many inputs the node has.
        weight: Which of them are constants.
    """
    text = equation.replace(" ", "")
    if "." in text:
        return "its equation has an ellipsis"
    terms, arrow, out = text.partition("->")
    parts = terms.split(",")
    if operands != 2 or len(parts) != 2:
        return f"it has {operands} operand{'s' * (operands != 1)}, and a product has two"
    if not arrow:
        out = "".join(sorted(c for c in set(terms) - {","} if terms.count(c) == 1))
    if any(len(set(p)) != len(p) for p in (*parts, out)):
        return "an index stands twice in one operand"
    swapped = weight[0] and not weight[1]
    left, right = reversed(parts) if swapped else parts
    shared = [c for c in left if c in right]
    summed = "".join(c for c in shared if c not in out)
    if not set(out) <= {*left, *right}:  # no valid equation
        return "an index of its result stands in no operand"
    if any(c not in out and c not in shared for c in left + right):
        return "an operand is summed over an index of its own"
    if not summed:
        return "it sums over no index of both operands"
    product = Product(
        left,
        right,
        out,
        swapped,
        batch="".join(c for c in out if c in shared),
        rows="".join(c for c in out if c in left and c not in shared),
        columns="".join(c for c in out if c in right and c not in shared),
        summed=summed,
    )
    return _writable(product, any(weight))


def _writable(product: Product, constant: bool) -> Product | str:
    if constant and not product.batch:
        return product
    if len(product.summed) > 1:
        return "it sums over several indices, and neither operand is a constant matrix"
    if len(product.columns) > 1:
        return "several indices of its second operand are in its result"
    return product


def rewrite_einsums(graph: ir.Graph) -> int:
    """Write every Einsum that is a product of two matrices as MatMul, in place.

    Returns:
        How many there were.
    """
    done = 0
    for node in list(graph):
        if node.domain not in ("", "ai.onnx") or node.op_type != "Einsum":
            continue
        if any(v is None for v in node.inputs):
            continue
        equation = node.attributes.get("equation")
        weight = [_constant_shape(v) is not None for v in node.inputs]
        text = "" if equation is None else equation.as_string()
        product = as_matmul(text, len(node.inputs), weight)
        if isinstance(product, Product) and _ranks_fit(node, product):
            _Writer(graph, node, product).write()
            done += 1
    return done


def _constant_shape(value: ir.Value | None) -> tuple[int, ...] | None:
    if value is None or value.const_value is None or value.is_graph_input():
        return None
    return tuple(int(d) for d in value.const_value.shape.numpy())


def _ranks_fit(node: ir.Node, product: Product) -> bool:
    letters = (product.right, product.left) if product.swapped else (product.left, product.right)
    for value, term in zip(node.inputs, letters, strict=True):
        shape = _constant_shape(value)
        if shape is not None and len(shape) != len(term):
            return False
    return True


class _Writer:
    """Writes one product in place of its Einsum."""

    def __init__(self, graph: ir.Graph, node: ir.Node, product: Product) -> None:
        self.graph = graph
        self.node = node
        self.product = product
        self.stem = (node.outputs[0].name or "").rstrip("/")
        self.taken = {v.name for n in graph for v in n.outputs} | set(graph.initializers)

    def write(self) -> None:
        """Insert the nodes and remove the Einsum."""
        p = self.product
        left, right = self.node.inputs
        if p.swapped:
            left, right = right, left
        assert left is not None  # the caller has looked
        assert right is not None
        shape = _constant_shape(right)
        if shape is not None and not p.batch:
            value, letters = self._by_matrix(left, right, shape)
        else:
            value, letters = self._batched(left, right)
        value = self._arranged(value, letters, p.out, "out")
        self._take_over(value)

    def _by_matrix(
        self, left: ir.Value, right: ir.Value, shape: tuple[int, ...]
    ) -> tuple[ir.Value, str]:
        """By a constant of two axes: all summed indices, and all columns."""
        p = self.product
        size = dict(zip(p.right, shape, strict=True))
        rows = "".join(c for c in p.left if c in p.rows)
        left = self._arranged(left, p.left, rows + p.summed, "left")
        inner = int(np.prod([size[c] for c in p.summed], dtype=np.int64))
        outer = int(np.prod([size[c] for c in p.columns], dtype=np.int64))
        if len(p.summed) > 1:
            left = self._reshaped(left, [*[0] * len(rows), inner], "left")
        right = self._arranged(right, p.right, p.summed + p.columns, "right")
        if len(p.summed) > 1 or len(p.columns) != 1:
            right = self._reshaped(right, [inner, outer], "right")
        value = self._made("MatMul", [left, right], "product")
        if len(p.columns) != 1:
            value = self._reshaped(
                value, [*[0] * len(rows), *(size[c] for c in p.columns)], "columns"
            )
        return value, rows + p.columns

    def _batched(self, left: ir.Value, right: ir.Value) -> tuple[ir.Value, str]:
        """By a tensor with the same leading axes; rows but the last become leading axes, too."""
        p = self.product
        rows = "".join(c for c in p.left if c in p.rows)
        left = self._arranged(left, p.left, rows[:-1] + p.batch + rows[-1:] + p.summed, "left")
        right = self._arranged(right, p.right, p.batch + p.summed + p.columns, "right")
        letters = rows[:-1] + p.batch + rows[-1:] + p.columns
        rank = len(p.left)
        if not rows:
            left = self._axes("Unsqueeze", left, rank - 1, "left")
        if not p.columns:
            right = self._axes("Unsqueeze", right, len(p.right), "right")
        value = self._made("MatMul", [left, right], "product")
        if not p.columns:
            value = self._axes("Squeeze", value, -1, "columns")
        if not rows:
            value = self._axes("Squeeze", value, -1 if not p.columns else -2, "rows")
        return value, letters

    # One node each.

    def _arranged(self, value: ir.Value, letters: str, target: str, part: str) -> ir.Value:
        if letters == target:
            return value
        perm = [letters.index(c) for c in target]
        return self._made("Transpose", [value], f"{part} transposed", perm=perm)

    def _reshaped(self, value: ir.Value, shape: Sequence[int], part: str) -> ir.Value:
        sizes = self._constant(np.array(shape, np.int64), f"{part} shape")
        return self._made("Reshape", [value, sizes], f"{part} reshaped")

    def _axes(self, op_type: str, value: ir.Value, axis: int, part: str) -> ir.Value:
        axes = self._constant(np.array([axis], np.int64), f"{part} axis")
        return self._made(op_type, [value, axes], f"{part} {op_type.lower()}d")

    def _made(
        self, op_type: str, inputs: Sequence[ir.Value], part: str, perm: Sequence[int] = ()
    ) -> ir.Value:
        attributes = [ir.AttrInt64s("perm", perm)] if perm else []
        node = ir.Node("", op_type, inputs, attributes)
        node.outputs[0].name = self._name(part)
        self.graph.insert_before(self.node, node)
        return node.outputs[0]

    def _constant(self, array: np.ndarray, part: str) -> ir.Value:
        name = self._name(part)
        value = ir.Value(name=name, const_value=ir.Tensor(array, name=name))
        value.shape, value.dtype = ir.Shape(array.shape), ir.DataType.INT64
        self.graph.register_initializer(value)
        return value

    def _name(self, part: str) -> str:
        stem = f"{self.stem}/{part.replace(' ', '_')}"
        unique, count = stem, 1
        while unique in self.taken:
            count += 1
            unique = f"{stem}_{count}"
        self.taken.add(unique)
        return unique

    def _take_over(self, value: ir.Value) -> None:
        """Let the product stand wherever the Einsum stood, under its name."""
        old = self.node.outputs[0]
        name, value.shape, value.type = old.name, old.shape, old.type
        ir.convenience.replace_all_uses_with(old, value, replace_graph_outputs=True)
        old.name = f"{name}//replaced"
        value.name = name
        self.graph.remove(self.node, safe=True)
